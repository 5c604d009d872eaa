"""`bench zoo train` from an empty folder to checkpoints that load: every stage, with a step or a few of training."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from admbench import children
from admbench.bench.models import load_model
from admbench.bench.models.checkpoints import shipped
from admbench.bench.models.families.embedded import DIT, PINGPONG
from admbench.bench.zoo import train as zoo
from admbench.bench.zoo.architectures import BLUEPRINTS
from admbench.errors import UsageError
from admbench.metrics.embedders import registry as judges

SCALE = "0.001"


def rebuild(work: Path) -> subprocess.Popen[bytes]:
    command = children.command("admbench", "zoo", "train", "--out", str(work), "--scale", SCALE)
    # a group of its own: killing it ends the stages too, as a power cut would
    return subprocess.Popen(command, env=children.environment(threads=1), start_new_session=True)


def test_a_folder_begun_at_another_scale_is_refused(tmp_path: Path) -> None:
    (tmp_path / "scale.json").write_text('{"scale": 0.01}')
    with pytest.raises(UsageError, match=r"begun at scale 0\.01"):
        zoo.train([], tmp_path)
    with pytest.raises(UsageError, match="1 to install"):
        zoo.train([], tmp_path / "other", scale=0.01, install=True)


@pytest.mark.slow(270)
def test_the_whole_chain_runs_from_nothing_and_after_a_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = tmp_path / "zoo"
    first = rebuild(work)
    while not (work / "vae-64" / "done.json").exists():  # what comes first; others are under way
        assert first.poll() is None
        time.sleep(0.2)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    kept = {path: path.read_bytes() for path in work.glob("*/done.json")}
    assert 0 < len(kept) < len(zoo.stages())

    assert rebuild(work).wait() == 0
    assert all(zoo.is_done(work, name) for name in zoo.stages())
    assert all(path.read_bytes() == content for path, content in kept.items()), "a finished stage was done again"

    exported = work / "export" / "shipped"
    monkeypatch.setattr(shipped, "CHECKPOINTS", exported / "checkpoints")
    shipped.manifest.cache_clear()
    try:
        for model in (*map(load_model, BLUEPRINTS), DIT.load(), PINGPONG.load()):  # each verifies its files
            audio = model.generate(["a dog barks"], [3], steps=1)
            assert audio.shape == (1, round(model.seconds * model.sample_rate))
            assert np.isfinite(audio).all()
    finally:
        shipped.manifest.cache_clear()
    noise = np.random.default_rng(0).normal(0, 0.1, (2, 16_000)).astype(np.float32)
    for name in ("tiny-tagger", "tiny-clap"):
        judge = judges.get(name).load(str(exported / "judges" / name))
        assert np.isfinite(judge.embed_audio(noise).embedding).all()
