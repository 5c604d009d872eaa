"""`bench validate --rescore`: clips that give their record's scores, and those that do not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from admbench.bench.cli.app import main
from admbench.files import slug
from admbench.leaderboard import gather
from admbench.leaderboard.per_caption import PER_CAPTION, write_per_caption
from admbench.leaderboard.states import State, validation_state

from .scored_run import METHOD, make_scored_run

pytestmark = pytest.mark.slow  # the judges listen for seconds


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_scored_run(tmp_path_factory.mktemp("rescore") / "run")


@pytest.fixture
def run(good: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(good, tmp_path / "run"))


def states(run: Path) -> dict[str, State]:
    return {one.name: validation_state(one) for one in gather([run]).records}


def edit(run: Path, change: Any) -> None:
    path = run / "cells" / "tiny-tango" / slug(METHOD) / "result.json"
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def test_clips_that_give_their_scores_are_re_scored_until_something_changes(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert states(run) == {"fp32": "checked", METHOD: "checked"}
    assert main(["validate", str(run), "--rescore"]) == 0, capsys.readouterr().err
    assert capsys.readouterr().out == "2 records, 0 with problems, 2 re-scored\n"
    assert states(run) == {"fp32": "re-scored", METHOD: "re-scored"}
    edit(run, lambda value: value["provenance"].update(command="another"))
    assert states(run) == {"fp32": "re-scored", METHOD: "checked"}
    (run / "cells" / "tiny-tango" / "fp32" / PER_CAPTION).unlink()
    assert states(run)["fp32"] == "self-reported"


def test_another_clip_with_its_own_hash_is_caught_by_ear(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Who changes a clip can change its hash: per-caption results and record agree, only the judges know better."""
    from dataclasses import replace

    from admbench.hashing import sha256_file
    from admbench.leaderboard.per_caption import read_per_caption

    cell = run / "cells" / "tiny-tango" / slug(METHOD)
    clean = run / "cells" / "tiny-tango" / "fp32" / "audio"
    for path in clean.glob("*.wav"):
        shutil.copy(path, cell / "audio" / path.name)
    own = read_per_caption(run, cell / PER_CAPTION)
    hashes = tuple(sha256_file(cell / "audio" / f"{name}.wav") for name in own.captions)
    write_per_caption(cell / PER_CAPTION, replace(own, clip_sha256=hashes))
    assert main(["validate", str(run)]) == 0
    assert main(["validate", str(run), "--rescore"]) == 2
    said = capsys.readouterr().err
    assert f"{cell / 'result.json'}: scores.lmd_vs_baseline.value: " in said
    assert "from the clips: 0" in said
    assert states(run) == {"fp32": "re-scored", METHOD: "checked"}


def test_a_record_that_names_other_weights_or_another_suite_is_not_re_scored(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(
        run,
        lambda value: [one.update(backbone_sha256="00" * 32) for one in value["scores"].values() if one["backbone"]],
    )
    assert main(["validate", str(run), "--rescore"]) == 2
    assert "has other weights" in capsys.readouterr().err
    edit(run, lambda value: value["suite"].update(sha256="00" * 32))
    assert main(["validate", str(run), "--rescore"]) == 2
    assert "not re-scored: " in capsys.readouterr().err


def test_a_note_that_is_damaged_counts_not(run: Path) -> None:
    (run / "validation.json").write_text("[")
    assert states(run) == {"fp32": "checked", METHOD: "checked"}
