"""From the records of a run to its conclusions."""

from dataclasses import replace

import numpy as np
import pytest

from admbench.leaderboard import read_runs
from admbench.leaderboard.inference.board import against_rounding, conclude, report
from admbench.leaderboard.inference.influence import Influence
from admbench.leaderboard.inference.scores import KINDS
from admbench.leaderboard.inference.simulate import squared_distance
from admbench.leaderboard.per_caption import (
    HEALTH,
    PER_CAPTION,
    CaptionScore,
    PerCaption,
    read_per_caption,
    write_per_caption,
)

N = 96
NOISE = {"fp32": 0.0, "naive@w8a8": 0.05, "ptq4adm@w4a8": 0.1, "naive@w4a8": 0.4}
MODELS = ("tiny-audioldm", "tiny-tango")


@pytest.fixture
def run(make_run, make_record):
    """Two models, full precision and three methods, with per-caption results of known nearness."""
    folder = make_run([make_record(model, spec, n=N) for model in MODELS for spec in NOISE])
    rows = np.arange(N)
    rng = np.random.default_rng(0)
    reference, common = rng.normal(size=(2, N, 12))
    for model in MODELS:
        full = 0.8 + common + 0.2 * rng.normal(size=(N, 12))
        for loaded in read_runs([folder]):
            if loaded.record.model.name != model:
                continue
            noise = NOISE[loaded.record.method.spec]
            own = full + noise * (0.5 + rng.normal(size=(N, 12)))
            scores = {
                "fd": CaptionScore(KINDS["fd"], rows, squared_distance(own, reference)),
                "fd_vs_baseline": CaptionScore(KINDS["fd"], rows, squared_distance(own, full)),
                "clap": CaptionScore.of_clips(KINDS["clap"], rows, 0.5 - noise / 6 + 0.1 * np.tanh(common[:, 0])),
            }
            content = PerCaption(
                tuple(f"foley-{k:03d}" for k in rows),
                tuple(f"{k:064x}" for k in rows),
                {fault: np.zeros(N, dtype=bool) for fault in HEALTH},
                scores,
            )
            write_per_caption(loaded.cell / PER_CAPTION, content)
    return folder


def test_one_order_and_one_set_of_letters(run):
    for one in conclude(read_runs([run])):
        assert one.pairs.order == ("naive@w8a8", "ptq4adm@w4a8", "naive@w4a8")  # full precision is the origin
        assert one.pairs.letters == {"naive@w8a8": "a", "ptq4adm@w4a8": "b", "naive@w4a8": "c"}
        assert one.pairs.ranks == {"naive@w8a8": (1, 1), "ptq4adm@w4a8": (2, 2), "naive@w4a8": (3, 3)}
        assert one.left_out == {}


def test_every_cell_is_judged_by_every_score_it_has(run):
    found = conclude(read_runs([run]))[0].verdicts
    assert set(found) == set(NOISE)
    assert all(set(own) == {"fd", "clap", "fd_vs_baseline"} for own in found.values())
    assert {spec: own["clap"].word for spec, own in found.items()} == {
        "fp32": "no worse",
        "naive@w8a8": "no worse",
        "ptq4adm@w4a8": "worse",
        "naive@w4a8": "worse",
    }
    assert found["naive@w4a8"]["fd"].word == "worse"
    assert found["naive@w8a8"]["fd_vs_baseline"].word == "no worse"


def test_an_order_by_distance_to_real_audio_has_full_precision_in_it(run):
    assert "fp32" in conclude(read_runs([run]), "fd")[0].pairs.values


def test_methods_are_held_against_rounding_at_the_same_bits(run):
    found = against_rounding(conclude(read_runs([run])))
    assert [(one.cell, one.versus, one.better) for one in found] == [("ptq4adm@w4a8", "naive@w4a8", 2)]
    assert found[0].crossed is not None


def cell_of(run, spec):
    return next(one.cell for one in read_runs([run]) if one.record.method.spec == spec)


def test_a_bad_or_missing_file_leaves_one_cell_out_with_its_reason(run):
    (cell_of(run, "naive@w8a8") / PER_CAPTION).write_bytes(b"damaged")
    (cell_of(run, "naive@w4a8") / PER_CAPTION).unlink()
    one, other = conclude(read_runs([run]))
    assert one.pairs.order == ("ptq4adm@w4a8",)
    assert "not a safetensors file" in one.left_out["naive@w8a8"]
    assert "cannot be read" in one.left_out["naive@w4a8"]
    assert len(other.pairs.order) == 3


def test_a_cell_over_other_captions_is_left_out(run):
    path = cell_of(run, "naive@w8a8") / PER_CAPTION
    rows = np.arange(N)
    rng = np.random.default_rng(1)
    distance = squared_distance(*rng.normal(size=(2, N, 12)))
    flags = {fault: np.zeros(N, dtype=bool) for fault in HEALTH}
    hashes = tuple(f"{k:064x}" for k in rows)
    others = PerCaption(
        tuple(f"other-{k}" for k in rows), hashes, flags, {"fd_vs_baseline": CaptionScore(KINDS["fd"], rows, distance)}
    )
    write_per_caption(path, others)
    one = conclude(read_runs([run]))[0]
    assert "naive@w8a8" not in one.pairs.values
    assert "not over 96 of the captions" in one.left_out["naive@w8a8"]


def rewrite(path, change):
    """Write the scores of a cell again after `change(score)`, for a score of a set."""
    own = read_per_caption(path.parent, path)
    scores = {key: one if one.clips is not None else change(one) for key, one in own.scores.items()}
    write_per_caption(path, replace(own, scores=scores))


def test_one_cells_odd_pairs_do_not_stop_the_others(run):
    def odd(score):
        one = score.influence
        return replace(score, influence=Influence(one.value, one.first, one.second, (5 * one.pairs) % N))

    def backwards(score):
        one = score.influence
        return replace(score, influence=Influence(one.value, one.first, one.second[::-1], one.pairs[::-1, ::-1]))

    rewrite(cell_of(run, "naive@w8a8") / PER_CAPTION, odd)
    rewrite(cell_of(run, "naive@w4a8") / PER_CAPTION, backwards)
    one = conclude(read_runs([run]))[0]
    assert one.pairs.order == ("ptq4adm@w4a8", "naive@w4a8")
    assert "other pairs of captions" in one.left_out["naive@w8a8"]


def test_numbers_that_no_arithmetic_stands_leave_one_cell_out(run):
    def absurd(score):
        one = score.influence
        return replace(score, influence=Influence(5e-324, 1e90 * np.sign(one.first), one.second, one.pairs))

    rewrite(cell_of(run, "naive@w8a8") / PER_CAPTION, absurd)
    one = conclude(read_runs([run]))[0]
    assert one.pairs.order == ("ptq4adm@w4a8", "naive@w4a8")
    assert "finite" in one.left_out["naive@w8a8"]
    assert "\n".join(report([one]))


def test_a_cell_that_failed_is_left_out(make_run, make_failed):
    one = conclude(read_runs([make_run([make_failed()])]))[0]
    assert one.pairs is None
    assert one.left_out == {"naive@w2a4": "failed: out of memory"}
    assert "nothing can be ordered" in "\n".join(report([one]))


def test_the_report_says_it_in_words(run):
    text = "\n".join(report(conclude(read_runs([run]))))
    assert "tiny-tango: at 4-bit weights ptq4adm@w4a8 comes first, told apart from naive@w4a8." in text
    assert "ptq4adm@w4a8 is shown to be better than naive@w4a8 on 2 of 2 models" in text
    assert "Caution" not in text
