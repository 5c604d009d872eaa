"""What the gate says of the embedded models: good cells pass, bad ones fail, and what could not be told is told later.

And the A/A test: full precision is not told apart from itself with other noise.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

import admbench
from admbench.bench.cli.app import main
from admbench.bench.run.layout import RunLayout
from admbench.bench.scoring.clips import read_clips, write_clips
from admbench.bench.scoring.influences import influence_of
from admbench.leaderboard.gate import Gate, GatedCell, gate
from admbench.leaderboard.inference.pairs import all_pairs
from admbench.leaderboard.inference.scores import KINDS
from admbench.leaderboard.reading import read_runs
from admbench.metrics.features import Features
from admbench.metrics.frechet import PairedFrechet
from admbench.metrics.intervals import Replicates

from .embedded_run import CAPTIONS, MODELS

pytestmark = pytest.mark.slow(400)

MODEL = "tiny-tango"


@pytest.fixture(scope="module")
def found(embedded_run: Path) -> Gate:
    return gate(read_runs([embedded_run]), ["fd=+5%"])


def cell(found: Gate, model: str, method: str) -> GatedCell:
    return next(one for one in found.cells if (one.model, one.method) == (model, method))


@pytest.mark.parametrize("model", MODELS)
def test_full_precision_and_bf16_pass(found: Gate, model: str) -> None:
    assert [cell(found, model, method).word for method in ("fp32", "bf16")] == ["no worse"] * 2


@pytest.mark.parametrize("model", ["tiny-audioldm", "tiny-tango"])
def test_rounding_to_three_bits_does_not_pass(found: Gate, model: str) -> None:
    assert not found.passes(cell(found, model, "naive@w3a8"))


def test_what_is_undecided_says_how_many_captions_it_needs(found: Gate) -> None:
    undecided = [one for one in found.cells if one.word == "cannot be told"]
    assert undecided
    for one in undecided:
        verdict = one.verdicts["fd"]
        assert (verdict.captions_needed or 0) > CAPTIONS or "too near to it" in str(verdict.reason), one


def test_the_command_fails_the_grid(embedded_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gate", str(embedded_run), "--max", "fd=+5%"]) == 1
    line = next(one for one in capsys.readouterr().out.splitlines() if f"\t{MODEL}\tnaive@w3a8\t" in one)
    assert "fd: test-" in line
    assert "(" in line.split("\t")[-2]  # what the worst clip's caption says


def test_white_noise_in_place_of_a_models_clips_fails(embedded_run: Path, tmp_path: Path) -> None:
    layout = RunLayout(embedded_run)
    clips = read_clips(layout.baseline(MODEL).path)
    rng = np.random.default_rng(0)
    noise = [0.3 * rng.standard_normal(40_960).astype(np.float32) for _ in clips]
    captions = [clip.caption or "" for clip in clips]
    write_clips(tmp_path / "noise", [clip.id for clip in clips], captions, range(len(clips)), noise, 16_000)
    found = admbench.gate_folders(
        tmp_path / "noise", layout.baseline(MODEL).path, layout.reference("foley").path, margins=["fd=+5%"]
    )
    assert not found.passed
    assert found.cells[0].word == "worse"


def test_what_could_not_be_told_is_told_with_as_many_captions_as_were_asked_for(tmp_path: Path) -> None:
    """Few captions, few steps and a wide margin, so that as many captions as are asked for are soon made."""
    few, margin = 12, "fd=+15%"

    def judged(captions: int) -> GatedCell:
        run = tmp_path / str(captions)
        grid = ["--models", MODEL, "--methods", "fp32,naive@w4a8", "--limit", str(captions), "--steps", "10"]
        assert main(["run", *grid, "--metrics", "fd", "--out", str(run), "--quiet"]) == 0
        return cell(gate(read_runs([run]), [margin]), MODEL, "naive@w4a8")

    first = judged(few)
    assert first.word == "cannot be told"
    needed = first.verdicts["fd"].captions_needed
    assert needed is not None
    assert few < needed <= 60
    assert judged(needed).word != "cannot be told"


def test_full_precision_is_not_told_apart_from_itself_with_other_noise(embedded_run: Path, tmp_path: Path) -> None:
    """A/A: cells whose every clip is of one noise or another, by a coin for each caption and cell, 200 times."""
    other = ["--models", MODEL, "--methods", "fp32", "--limit", str(CAPTIONS), "--seed", "1", "--metrics", "fd"]
    assert main(["run", *other, "--out", str(tmp_path / "run"), "--quiet"]) == 0
    folders = [RunLayout(run).cell(MODEL, "fp32") for run in (embedded_run, tmp_path / "run")]
    noises = [Features.load(folder.features) for folder in folders]
    ids = noises[0].ids
    both = np.stack([one.match(ids)["embedding"] for one in noises])
    assert np.abs(both[0] - both[1]).max() > 0.1
    real = Features.load(RunLayout(embedded_run).reference("foley").features).match(ids)["embedding"]
    rng = np.random.default_rng(0)
    trials, wrong = 200, 0
    for _ in range(trials):
        coins = rng.integers(2, size=(3, len(ids)))
        cells = {
            f"cell {k}": influence_of(Replicates.of(PairedFrechet(both[coin, np.arange(len(ids))], real)))
            for k, coin in enumerate(coins)
        }
        wrong += any(pair.told_apart for pair in all_pairs(cells, KINDS["fd"]).pairs)
    assert wrong <= binom.ppf(0.999, trials, 0.05)
