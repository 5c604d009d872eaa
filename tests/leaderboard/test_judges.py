"""Whether judges agree, from records: in the view, in the table's sentences, on the page; nothing where one judges."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from admbench.leaderboard import build_site, read_runs
from admbench.leaderboard.comparison import compare
from admbench.leaderboard.inference.scores import KINDS
from admbench.leaderboard.per_caption import PER_CAPTION, CaptionScore, read_per_caption, write_per_caption
from admbench.leaderboard.view import view_boards
from admbench.leaderboard.view_words import judges_sentences

from .conftest import score
from .written_results import of_distance, write_results

N = 96
NOISE = {"fp32": 0.0, "naive@w8a8": 0.05, "ptq4adm@w4a8": 0.1, "naive@w4a8": 0.4}
NEAR = "fd[tiny-clap]_vs_baseline"


@pytest.fixture
def run(make_run: Callable[..., Path], make_record: Callable[..., Any]) -> Path:
    """One model, judged once."""
    folder = make_run([make_record("tiny-tango", spec, n=N) for spec in NOISE])
    write_results(folder, NOISE, N)
    return folder


def add(run: Path, key: str, made: Callable[[float, np.random.Generator], CaptionScore], network: str | None) -> None:
    """Let another judge say of every cell what is made of its noise."""
    rng = np.random.default_rng(1)
    for loaded in read_runs([run]):
        spec = loaded.record.method.spec
        if spec == "fp32":
            continue
        own = made(NOISE[spec], rng)
        content = read_per_caption(loaded.run, loaded.cell / PER_CAPTION)
        write_per_caption(loaded.cell / PER_CAPTION, replace(content, scores={**content.scores, key: own}))
        record = json.loads(loaded.path.read_text())
        value = own.influence.value
        record["scores"][key] = score(value, value / 2, N, network or "tiny-tagger", against="baseline")
        if network is None:
            record["scores"][key] |= {"backbone": None, "backbone_sha256": None}
        loaded.path.write_text(json.dumps(record))


def nearness(noise: float, rng: np.random.Generator) -> CaptionScore:
    full = rng.normal(size=(N, 12))
    return of_distance(full + noise * (0.5 + rng.normal(size=(N, 12))), full)


def farness(noise: float, rng: np.random.Generator) -> CaptionScore:
    return nearness(0.5 - noise, rng)


def test_with_one_judge_there_is_nothing_to_agree_on(run: Path) -> None:
    (view,) = view_boards(read_runs([run]))
    assert view.models[0].agreements == ()
    assert judges_sentences(view) == []


def test_a_further_judge_is_held_against_the_first_on_table_and_page(run: Path, tmp_path: Path) -> None:
    add(run, NEAR, nearness, "tiny-clap")
    records = read_runs([run])
    (view,) = view_boards(records)
    (found,) = view.models[0].agreements
    assert (found.judges, found.word, found.tau) == (("tiny-tagger", "tiny-clap"), "agree", 1.0)
    assert found.cells == ("naive@w8a8", "ptq4adm@w4a8", "naive@w4a8")
    sentence = (
        "tiny-tango: tiny-tagger and tiny-clap agree on the order of 3 cells (Kendall's tau 1.00 [1.00, 1.00]);"
        " of 3 pairs both tell 3 apart, all the same way."
    )
    assert judges_sentences(view) == [sentence]
    assert compare(records)[0].judges == [sentence]
    page = build_site(records, tmp_path / "site").index.read_text()
    assert sentence.replace("'", "&#39;") in page
    (by_the_other,) = view_boards(records, NEAR)
    assert by_the_other.models[0].agreements == ()
    assert by_the_other.models[0].conclusions[NEAR].pairs is not None


def test_judges_that_contradict_each_other_are_said_to(run: Path) -> None:
    add(run, NEAR, farness, "tiny-clap")
    (view,) = view_boards(read_runs([run]))
    (sentence,) = judges_sentences(view)
    assert "tiny-tagger and tiny-clap disagree on the order of 3 cells (Kendall's tau -1.00" in sentence
    assert "contradicting each other on naive@w8a8/naive@w4a8 and ptq4adm@w4a8/naive@w4a8." in sentence


def test_a_measure_of_hearing_is_a_judge_of_nearness_too(run: Path) -> None:
    def heard(noise: float, rng: np.random.Generator) -> CaptionScore:
        clips = 0.01 * noise * (1 + 0.1 * rng.random(N))
        return CaptionScore.of_clips(KINDS["lmd"], np.arange(N), clips)

    add(run, "zimtohrli_vs_baseline", heard, None)
    (view,) = view_boards(read_runs([run]))
    (found,) = view.models[0].agreements
    assert (found.judges, found.word) == (("tiny-tagger", "zimtohrli"), "agree")


def test_a_judge_of_other_captions_or_of_one_cell_is_left_out(run: Path) -> None:
    def of_half(noise: float, rng: np.random.Generator) -> CaptionScore:
        full = rng.normal(size=(N // 2, 12))
        own = of_distance(full + noise * rng.normal(size=(N // 2, 12)), full)
        return replace(own, rows=np.arange(N // 2))

    add(run, NEAR, of_half, "tiny-clap")
    (view,) = view_boards(read_runs([run]))
    assert view.models[0].agreements == ()
