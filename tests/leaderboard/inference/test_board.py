"""From the records of a run to its conclusions."""

from dataclasses import replace

import numpy as np
import pytest

from admbench.leaderboard import forge, read_runs, results_page
from admbench.leaderboard.inference import board
from admbench.leaderboard.inference.board import against_rounding, conclude, conclude_model, report
from admbench.leaderboard.inference.closed_forms import squared_distance
from admbench.leaderboard.inference.influence import Influence
from admbench.leaderboard.inference.repeats import read_results
from admbench.leaderboard.inference.scores import KINDS
from admbench.leaderboard.per_caption import (
    HEALTH,
    PER_CAPTION,
    CaptionScore,
    PerCaption,
    read_per_caption,
    write_per_caption,
)

from ..written_results import write_results

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


@pytest.fixture
def repeated(make_run, make_record, changed):
    """Full precision, three methods of three calibration draws, one of which was run once, and bf16, which has none."""
    specs = {"fp32": 1, "bf16": 1, "naive@w8a8": 1, "naive@w4a8": 3, "q-diffusion@w4a8": 3, "ptq4adm@w4a8": 3}
    records = [
        changed(make_record("tiny-tango", spec, n=N), method__repeat=repeat)
        for spec, draws in specs.items()
        for repeat in range(draws)
    ]
    folder = make_run(records)
    noise = {"fp32": 0.0, "bf16": 0.01, "naive@w8a8": 0.05, "ptq4adm@w4a8": 0.1, "q-diffusion@w4a8": 0.2}
    write_results(folder, noise | {"naive@w4a8": 0.9}, N)
    return folder


def test_calibration_draws_are_one_entry_over_draws_and_captions(repeated):
    (one,) = conclude(read_runs([repeated]))
    assert one.pairs.order == ("bf16", "naive@w8a8", "ptq4adm@w4a8", "q-diffusion@w4a8", "naive@w4a8")
    assert one.left_out == {}
    assert len(one.cells["naive@w4a8"]) == 3
    values = [draw.value for draw in one.cells["naive@w4a8"]]
    assert one.pairs.values["naive@w4a8"] == pytest.approx(np.exp(np.log(values).mean()))  # ratios are compared
    assert set(one.crossed) == {"naive@w4a8", "q-diffusion@w4a8", "ptq4adm@w4a8"}
    assert all(0 <= own.share_draws <= 1 for own in one.crossed.values())
    pair = one.pairs.pair("q-diffusion@w4a8", "naive@w4a8")
    assert pair.contrast.crossed.draws == 3
    assert pair.told_apart
    assert one.verdicts["naive@w4a8"]["fd"].draws == 3
    assert one.verdicts["bf16"]["fd"].draws == 1
    assert one.cautions == (
        "naive@w8a8 is compared by 1 calibration draw, others by 3: its interval knows nothing of other draws",
    )
    text = "\n".join(report([one]))
    assert "| no worse by FD? | draws (of the variance) |" in text
    assert "Over 3 calibration draws and 96 captions, draws bring " in text
    assert "Caution: naive@w8a8 is compared by 1 calibration draw" in text


def test_methods_are_compared_by_the_same_draws(repeated):
    kept = [one for one in read_runs([repeated]) if (one.record.method.name, one.record.method.repeat) != ("naive", 2)]
    (one,) = conclude(kept)
    assert isinstance(one.cells["naive@w4a8"], Influence)  # two of three: by the first alone, and said
    assert any("naive@w4a8 is compared by 1 calibration draw" in own for own in one.cautions)
    assert one.verdicts["naive@w4a8"]["fd"].draws == 2  # full precision has none: all there are


def test_a_method_is_not_judged_by_those_of_its_draws_that_went_well(repeated):
    lost = next(one for one in read_runs([repeated]) if one.record.method.repeat == 1)
    (lost.cell / PER_CAPTION).unlink()
    (one,) = conclude(read_runs([repeated]))
    assert one.left_out[lost.record.method.spec].startswith("repeat 1: ")
    assert lost.record.method.spec not in one.verdicts


def test_two_records_of_one_draw_are_a_mistake_of_the_caller(run):
    cells = [one for one in read_runs([run]) if one.record.model.name == MODELS[0]]
    with pytest.raises(ValueError, match="two records of one method and draw, "):
        conclude_model(MODELS[0], read_results([*cells, cells[0]]))


def test_the_report_says_it_in_words(run):
    text = "\n".join(report(conclude(read_runs([run]))))
    assert "tiny-tango: at 4-bit weights ptq4adm@w4a8 comes first, told apart from naive@w4a8." in text
    assert "ptq4adm@w4a8 is shown to be better than naive@w4a8 on 2 of 2 models" in text
    assert "Caution" not in text


@pytest.mark.parametrize("main", [board.main, forge.main, results_page.main])
def test_a_command_says_in_one_line_that_no_run_is_there(main, tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text("<!-- a: begin -->\n<!-- a: end -->\n")
    given = {board.main: ["NOWHERE"], forge.main: ["NOWHERE", "OUT"], results_page.main: [str(page), "a=NOWHERE"]}
    assert main([one.replace("NOWHERE", str(tmp_path / "none")) for one in given[main]]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"error: {tmp_path / 'none'}: no such ")
    assert said.err.count("\n") == 1
