"""The gate on records: words, what passes, who is refused, and texts that no name in a record breaks."""

from __future__ import annotations

import json
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from admbench.errors import DataError, UsageError
from admbench.leaderboard import read_runs
from admbench.leaderboard.gate import Gate, GatedCell, gate
from admbench.leaderboard.gate_text import rows, summary, to_json, to_junit, to_markdown
from admbench.leaderboard.inference.scores import KINDS, ScoreKind
from admbench.leaderboard.per_caption import PER_CAPTION, CaptionScore, read_per_caption, write_per_caption

from .written_results import agree, captions, content, write_results

N = 96
NOISE = {"fp32": 0.0, "bf16": 0.001, "naive@w4a8": 0.05, "naive@w3a8": 0.6}


@pytest.fixture
def run(make_run, make_record):
    folder = make_run([make_record(spec=spec, n=N) for spec in NOISE])
    write_results(folder, NOISE, N)
    agree(folder)
    return folder


def words(found: Gate) -> dict[str, str]:
    return {cell.method: cell.word for cell in found.cells}


def cell_of(found: Gate, spec: str) -> GatedCell:
    return next(cell for cell in found.cells if cell.method == spec)


def place_of(run, spec):
    return next(one.cell for one in read_runs([run]) if one.record.method.spec == spec)


def test_full_precision_and_what_is_as_good_pass_and_coarse_rounding_fails(run):
    found = gate(read_runs([run]))
    assert words(found)["fp32"] == words(found)["bf16"] == "no worse"
    assert words(found)["naive@w3a8"] == "worse"
    assert not found.passed
    assert [found.passes(cell) for cell in found.cells] == [cell.word == "no worse" for cell in found.cells]


def test_undecided_is_no_pass_and_says_how_many_captions_would_tell(make_run, make_record):
    folder = make_run([make_record(spec=spec, n=12) for spec in ("fp32", "naive@w4a8")])
    write_results(folder, NOISE, 12)
    agree(folder)
    found = gate(read_runs([folder]), ["fd=+3%"])
    verdict = cell_of(found, "naive@w4a8").verdicts["fd"]
    assert verdict.word == "cannot be told"
    assert verdict.captions_needed > 12
    assert not found.passed
    assert gate(read_runs([folder]), ["fd=+3%"], allow_undecided=True).passed
    assert found.cautions == ["only 12 captions: below 96 intervals can be too short"]
    assert f"{verdict.captions_needed:,}" in rows(found)[1]
    assert f"{verdict.captions_needed:,} captions would tell" in to_junit(found)
    assert "Caution: only 12 captions" in to_markdown(found)


def test_a_cell_keeps_every_margin_or_none(run):
    found = gate(read_runs([run]), ["fd=+500%", "clap=-0.01"])
    cell = cell_of(found, "naive@w3a8")
    assert {key: one.word for key, one in cell.verdicts.items()} == {"fd": "no worse", "clap": "worse"}
    assert cell.word == "worse"
    undecided = GatedCell("m", "x", {"a": replace(cell.verdicts["fd"], word="cannot be told"), **cell.verdicts}, {})
    assert undecided.word == "worse"


def test_the_worst_clips_are_those_that_lost_most_against_full_precision(run):
    worst = cell_of(gate(read_runs([run]), ["clap=-0.01"]), "naive@w3a8").worst["clap"]
    assert worst[0] == ("foley-007", pytest.approx(-0.6 / 6 - 0.2 * 0.6), None)
    assert len(worst) == 3


def test_the_worst_clips_are_named_by_what_their_captions_say(run):
    captions = [
        {"id": f"foley-{k:03d}", "caption": f"a | <b>bell</b> rings {k} times {'and again ' * 20}"} for k in range(N)
    ]
    (place_of(run, "naive@w3a8") / "captions.json").write_text(json.dumps(captions))
    found = gate(read_runs([run]), ["clap=-0.01"])
    assert cell_of(found, "naive@w3a8").worst["clap"][0].caption == captions[7]["caption"]
    said = "foley-007 (a | <b>bell</b> rings 7 times and again and again and ...)"
    assert any(said in row[-2] for row in rows(found))
    assert said in [one.text for one in ElementTree.fromstring(to_junit(found)).iter("failure")][-1]
    markdown = next(line for line in to_markdown(found).splitlines() if "naive@w3a8" in line)
    assert r"`foley-007` (a \| \<b\>bell" in markdown
    assert markdown.replace(r"\|", "").count("|") == 10


def test_a_record_that_says_something_else_than_its_results_stops_the_gate(run):
    """The forged record that claims to be full precision's equal does not pass on the strength of its claim."""
    path = place_of(run, "naive@w3a8") / "result.json"
    value = json.loads(path.read_text())
    value["scores"]["fd"] |= {"value": 1.0, "ci95": [0.9, 1.1], "difference": None}
    path.write_text(json.dumps(value))
    with pytest.raises(DataError, match=rf"{path}: not what per-caption.safetensors gives: scores.fd.value: 1, per"):
        gate(read_runs([run]))


def test_calibration_draws_are_one_cell_judged_over_draws_and_captions(make_run, make_record, changed, make_failed):
    draws = [changed(make_record(spec="naive@w4a8", n=N), method__repeat=repeat) for repeat in range(3)]
    folder = make_run([make_record(spec="fp32", n=N), *draws])
    write_results(folder, NOISE, N)
    agree(folder)
    found = gate(read_runs([folder]), ["fd=+5%", "clap=-0.01"])
    assert [cell.method for cell in found.cells] == ["fp32", "naive@w4a8"]
    verdict = cell_of(found, "naive@w4a8").verdicts["clap"]
    assert (verdict.draws, cell_of(found, "fp32").verdicts["clap"].share_draws) == (3, None)
    assert 0.9 < verdict.share_draws <= 1  # clap is off by the same on every caption, and by more with every draw
    assert verdict.estimate == pytest.approx(-(0.05 / 6 + 0.01 / N) * 1.1, rel=1e-6)
    assert " over 3 draws (" in next(row for row in rows(found) if row[2] == "naive@w4a8")[3]
    scores = to_json(found)["cells"][1]["scores"]["clap"]
    assert (scores["draws"], scores["share_draws"]) == (3, pytest.approx(verdict.share_draws))
    gone = changed(make_failed(spec="naive@w4a8"), method__repeat=1, suite__n=N)
    lost = make_run([make_record(spec="fp32", n=N), draws[0], gone], "lost")
    write_results(lost, NOISE, N)
    agree(lost)
    cell = cell_of(gate(read_runs([lost]), allow_undecided=True), "naive@w4a8")
    assert cell.failed == "repeat 1 failed: out of memory"


def test_a_baseline_of_several_draws_is_held_draw_by_draw(make_run, make_record, changed):
    specs = ("naive@w4a8", "naive@w3a8")
    folder = make_run([changed(make_record(spec=spec, n=N), method__repeat=r) for spec in specs for r in range(3)])
    write_results(folder, NOISE, N)
    agree(folder)
    found = gate(read_runs([folder]), baseline="naive@w4a8")
    assert cell_of(found, "naive@w4a8").verdicts["fd"].estimate == 1.0
    assert cell_of(found, "naive@w3a8").verdicts["fd"].draws == 3


def test_full_precision_has_no_distance_to_itself_and_is_no_line_there(run):
    assert set(words(gate(read_runs([run]), ["fd_vs_baseline=5%"]))) == set(NOISE) - {"fp32"}


def test_another_baseline_may_be_named_but_not_for_distances_to_full_precision(run):
    assert words(gate(read_runs([run]), baseline="naive@w3a8"))["fp32"] == "no worse"
    with pytest.raises(UsageError, match="says nothing of the baseline bf16"):
        gate(read_runs([run]), ["fd_vs_baseline=5%"], baseline="bf16")


def test_a_missing_baseline_is_refused_with_the_nearest(run):
    with pytest.raises(UsageError, match=r'tiny-tango has no finished cell fp23\. Did you mean "fp32"'):
        gate(read_runs([run]), baseline="fp23")
    alone = read_runs([place_of(run, "naive@w4a8") / "result.json"])
    with pytest.raises(UsageError, match="has no finished cell fp32"):
        gate(alone)
    assert len(gate(alone, ["fd_vs_baseline=3"]).cells) == 1  # in its own unit: full precision is not read


def test_a_gate_of_the_baseline_alone_does_not_pass(run):
    with pytest.raises(UsageError, match="nothing to hold against it"):
        gate(read_runs([place_of(run, "fp32") / "result.json"]))


@pytest.mark.parametrize(
    ("margins", "message"),
    [
        (["fdd=+5%"], 'no cell has the score "fdd" caption by caption. Did you mean "fd"'),
        (["fd"], "is no margin"),
        (["fd=-5%"], "begins with +"),
        (["fd=+5%", "fd=+6%"], "two margins of fd"),
        ([], "no margin"),
    ],
)
def test_a_margin_that_is_none_is_refused(run, margins, message):
    with pytest.raises(UsageError) as error:
        gate(read_runs([run]), margins)
    assert message in str(error.value)


def test_results_that_are_missing_or_damaged_stop_the_gate(run):
    path = place_of(run, "bf16") / PER_CAPTION
    path.write_bytes(b"damaged")
    with pytest.raises(DataError, match="not a safetensors file"):
        gate(read_runs([run]))
    path.unlink()
    with pytest.raises(DataError, match="no per-caption results beside this record of schema"):
        gate(read_runs([run]))


def test_a_cell_that_failed_never_passes(make_run, make_record, make_failed):
    folder = make_run([make_record(spec="fp32", n=N), make_failed()])
    write_results(folder, NOISE, N)
    agree(folder)
    found = gate(read_runs([folder]), allow_undecided=True)
    assert not found.passed
    assert cell_of(found, "naive@w2a4").word == "cannot be told"
    assert any("failed: out of memory" in row for row in rows(found))
    assert "failed: out of memory" in to_markdown(found)
    assert 'type="no results"' in to_junit(found)


def test_other_captions_than_full_precisions_cannot_be_told(run):
    path = place_of(run, "bf16") / PER_CAPTION
    own = read_per_caption(path.parent, path)
    write_per_caption(path, replace(own, captions=tuple(f"other-{name}" for name in captions(N))))
    verdict = cell_of(gate(read_runs([run])), "bf16").verdicts["fd"]
    assert verdict.word == "cannot be told"
    assert "not over 96 of the captions" in verdict.reason


def test_a_file_that_turns_a_score_around_is_no_pass(run):
    path = place_of(run, "naive@w3a8") / PER_CAPTION
    own = read_per_caption(path.parent, path)
    turned = replace(own.scores["fd"], kind=ScoreKind(higher_is_better=True))
    write_per_caption(path, replace(own, scores={**own.scores, "fd": turned}))
    agree(run)
    assert words(gate(read_runs([run])))["naive@w3a8"] == "worse"


def test_a_score_that_one_cell_lacks_cannot_be_told(run):
    path = place_of(run, "bf16") / PER_CAPTION
    own = read_per_caption(path.parent, path)
    write_per_caption(path, replace(own, scores={"fd": own.scores["fd"]}))
    agree(run)
    verdict = cell_of(gate(read_runs([run]), ["clap=-0.01"]), "bf16").verdicts["clap"]
    assert (verdict.word, verdict.reason) == ("cannot be told", "the cell has no clap")


def test_a_plug_ins_score_is_judged_by_the_kind_that_its_file_names(run):
    for spec in NOISE:
        path = place_of(run, spec) / PER_CAPTION
        one = CaptionScore.of_clips(KINDS["lmd"], np.arange(N), 1 + NOISE[spec] + np.linspace(0, 1, N))
        write_per_caption(path, content({"my-score": one}, captions(N)))
    agree(run)
    assert words(gate(read_runs([run]), ["my-score=+0.1"]))["naive@w3a8"] == "worse"
    with pytest.raises(UsageError, match="better when lower"):
        gate(read_runs([run]), ["my-score=-0.1"])


def test_several_runs_are_one_gate(make_run, make_record):
    first = make_run([make_record("tiny-tango", spec, n=N) for spec in ("fp32", "bf16")], "first")
    second = make_run([make_record("tiny-tango", "naive@w3a8", n=N)], "second")
    third = make_run([make_record("tiny-audioldm", spec, n=N) for spec in ("fp32", "bf16")], "third")
    for folder in (first, second, third):
        write_results(folder, NOISE, N)
        agree(folder)
    found = gate(read_runs([first, second, third]))
    assert sorted((cell.model, cell.method, cell.word) for cell in found.cells) == [
        ("tiny-audioldm", "bf16", "no worse"),
        ("tiny-audioldm", "fp32", "no worse"),
        ("tiny-tango", "bf16", "no worse"),
        ("tiny-tango", "fp32", "no worse"),
        ("tiny-tango", "naive@w3a8", "worse"),
    ]
    assert summary(found) == "failed: 4 no worse, 1 worse"


HOSTILE = "x|y`</testcase><script>&\"']]>"


def test_no_name_in_a_record_breaks_markdown_or_xml(run):
    found = gate(read_runs([run]))
    hostile = replace(found.cells[-1], model=HOSTILE + "\x00\ud800", method=HOSTILE)
    bad = replace(found, cells=(hostile, GatedCell(HOSTILE, HOSTILE, {}, {}, f"failed: {HOSTILE}\n| next |")))
    root = ElementTree.fromstring(to_junit(bad))
    assert [case.get("name").partition(" ")[0] for case in root.iter("testcase")] == [HOSTILE.partition(" ")[0]] * 2
    assert root.find("testsuite").get("name") == HOSTILE + "\N{REPLACEMENT CHARACTER}" * 2
    to_junit(bad).encode("utf-8")
    lines = [line for line in to_markdown(replace(bad, cells=bad.cells[1:])).splitlines() if line.startswith("|")]
    assert len(lines) == 3
    assert all(line.replace(r"\|", "").count("|") == 10 for line in lines), lines
    assert r"\<script\>" in lines[-1]  # the reason is text; names are in code spans, which end where they should
    assert lines[-1].replace(r"\`", "").count("`") == 4


def test_json_has_every_number(run):
    value = json.loads(json.dumps(to_json(gate(read_runs([run]), ["fd=+5%", "clap=-0.01"])), allow_nan=False))
    assert value["margins"] == ["fd=+5%", "clap=-0.01"]
    assert value["passed"] is False
    cell = next(one for one in value["cells"] if one["method"] == "naive@w3a8")
    assert (cell["word"], cell["passes"], cell["scores"]["fd"]["limit"]) == ("worse", False, pytest.approx(1.05))
    low, high = cell["scores"]["fd"]["ci95"]
    assert low < cell["scores"]["fd"]["estimate"] < high
    assert (cell["worst"]["clap"][0]["id"], cell["worst"]["clap"][0]["caption"]) == ("foley-007", None)
