"""Captions' conditioning is encoded once for all cells of a model, and the cells' clips are the same to the bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from admbench.bench.models import load_model
from admbench.bench.models import texts as module
from admbench.bench.models.base import AudioDiffusionModel
from admbench.bench.models.pipelines import tango, tangoflux
from admbench.bench.models.texts import keep_texts, known_texts
from admbench.bench.run.grid import GridSpec
from admbench.bench.run.layout import RunLayout
from admbench.bench.run.runner import run_grid
from admbench.bench.suites import load_suite
from admbench.files import read_json

from . import test_tangoflux
from .in_process import JUDGES, Here
from .test_gradients import FAMILIES, small_model, write_small

CAPTIONS = ["a dog barks", "rain", "loud rain falls", "a bell", "wind"]
SEEDS = [3, 1, 4, 1, 5]
BATCH = 2
"""Captions of a batch, in every test here."""
NAIVE = "naive@w4a8[prompts=2,timesteps=2,steps=2]"


@contextmanager
def counted(model: Any) -> Iterator[list[list[str]]]:
    """Give the batches that a model encodes inside of the block."""
    seen: list[list[str]] = []
    own = model.encode_text

    def encode_text(prompts: Sequence[str], *, guided: bool) -> Any:
        seen.append(list(prompts))
        return own(prompts, guided=guided)

    model.encode_text = encode_text
    try:
        yield seen
    finally:
        model.encode_text = own


@pytest.mark.parametrize("family", FAMILIES)
def test_of_every_family_latents_are_the_same_to_the_bit(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADMBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(tangoflux, "VAE", test_tangoflux.VAE)
    monkeypatch.setattr(tango, "LATENT_FRAMES", 16)
    write_small(family, tmp_path / family)
    model, file = small_model(family, tmp_path / family), tmp_path / "texts.safetensors"
    for guidance in (3.0, 1.0):
        asked: dict[str, Any] = {"steps": 2, "guidance": guidance, "batch_size": BATCH}
        own = model.latents(CAPTIONS, SEEDS, **asked)
        encoded = model.encode_text(CAPTIONS[:2], guided=guidance != 1)
        assert all(tensor.is_contiguous() for tensor in encoded.values()), "as what is read is"
        texts = keep_texts(model, CAPTIONS, guided=guidance != 1, batch_size=BATCH, path=file)
        assert texts.captions == 5
        with counted(model) as seen, known_texts(model, texts) as known:
            assert torch.equal(model.latents(CAPTIONS, SEEDS, **asked), own)
        assert seen == [CAPTIONS[:2]], "the first batch is held against what was kept"
        assert known is not None
        assert known.spared == pytest.approx(3 / 5 * texts.seconds)


def test_equal_rows_are_written_once_and_what_is_too_much_is_encoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, file = load_model("tiny-tango"), tmp_path / "texts.safetensors"
    one = sum(tensor[0].nbytes for tensor in model.encode_text(["rain"], guided=False).values())
    keep_texts(model, CAPTIONS, guided=True, batch_size=BATCH, path=file)
    content = file.read_bytes()
    keep_texts(model, CAPTIONS, guided=True, batch_size=BATCH, path=file)
    assert file.read_bytes() == content
    # the rows of five captions, and that of the empty one
    assert 6 * one <= file.stat().st_size < 6 * one + 4096
    monkeypatch.setattr(module, "MOST_BYTES", 4 * one)
    texts = keep_texts(model, CAPTIONS, guided=True, batch_size=BATCH, path=file)
    assert texts.captions == 4
    with counted(model) as seen, known_texts(model, texts):
        for start in (0, 2, 4):
            model.encode_text(CAPTIONS[start : start + 2], guided=True)
    assert seen == [CAPTIONS[:2], CAPTIONS[4:]]
    monkeypatch.setattr(module, "MOST_BYTES", 0)
    assert keep_texts(model, CAPTIONS, guided=True, batch_size=BATCH, path=file).captions == 0


def test_a_model_that_encodes_otherwise_than_the_baseline_encodes_all_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, file = load_model("tiny-audioldm"), tmp_path / "texts.safetensors"
    texts = keep_texts(model, CAPTIONS, guided=False, batch_size=BATCH, path=file)
    with torch.no_grad():
        next(parameter for parameter in model.components["text_encoder"].parameters() if parameter.ndim == 2).mul_(1.5)
    with counted(model) as seen, known_texts(model, texts) as known:
        for batch in (CAPTIONS[:2], CAPTIONS[2:4], CAPTIONS[4:]):
            changed = model.encode_text(batch, guided=False)
    assert seen == [CAPTIONS[:2], CAPTIONS[2:4], CAPTIONS[4:]]
    own = model.encode_text(CAPTIONS[4:], guided=False)
    assert all(torch.equal(changed[name], own[name]) for name in own)
    assert known is not None
    assert known.spared == 0
    assert "encoded to other bits than the baseline's" in capsys.readouterr().out


def test_a_model_without_encode_text_generates_as_it_does(tmp_path: Path) -> None:
    class Own:
        name = "own"

    texts = keep_texts(Own(), CAPTIONS, guided=True, batch_size=BATCH, path=tmp_path / "texts.safetensors")
    assert texts.captions == 0
    with known_texts(Own(), texts) as known:
        assert known is None


@pytest.mark.usefixtures("check_specs_here")
def test_the_cells_of_a_run_read_what_their_baseline_encoded(
    make_grid: Callable[..., GridSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_suite = {item.caption for item in load_suite(make_grid().suite).take(4)}
    encoded: list[list[str]] = []
    encode = AudioDiffusionModel.encode_text

    def noted(self: AudioDiffusionModel, prompts: Sequence[str], *, guided: bool) -> Any:
        if len(prompts) == BATCH and set(prompts) <= of_suite:  # methods are calibrated on other captions
            encoded.append(list(prompts))
        return encode(self, prompts, guided=guided)

    def clips(run: str) -> list[str]:
        out = tmp_path / run
        grid = make_grid(models=["tiny-tango"], methods=["fp32", NAIVE], limit=4, out=out)
        encoded.clear()
        results = run_grid(grid, command="", judges=JUDGES, executor=Here())
        assert [result.reason for result in results] == [None, None]
        cells = [RunLayout(out).cell("tiny-tango", method) for method in ("fp32", NAIVE)]
        return [read_json(cell.stage("generate"))["facts"]["sha256"] for cell in cells]

    monkeypatch.setattr(AudioDiffusionModel, "encode_text", noted)
    shared = clips("shared")
    assert len(encoded) == 2 + 1 + 1, "both batches once, and the first by whoever generates: fp32's are the baseline's"
    monkeypatch.setattr(module, "MOST_BYTES", 0)
    assert clips("alone") == shared
    assert len(encoded) == 2 + 2, "nothing is kept, and both are encoded by whoever generates"


@pytest.mark.usefixtures("check_specs_here")
def test_a_quantized_text_encoder_encodes_for_itself(make_grid: Callable[..., GridSpec]) -> None:
    clips = []
    for components in (["backbone"], ["backbone", "text_encoder"]):
        out = make_grid().out / "-".join(components)
        grid = make_grid(models=["tiny-tango"], methods=["naive@w3a8"], limit=4, components=components, out=out)
        (result,) = run_grid(grid, command="", judges=JUDGES, executor=Here())
        assert result.reason is None
        clips.append(read_json(RunLayout(out).cell("tiny-tango", "naive@w3a8").stage("generate"))["facts"]["sha256"])
    assert clips[0] != clips[1]
