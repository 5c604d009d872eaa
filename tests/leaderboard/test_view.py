"""What a board says as plain data: one order, letters and rank intervals from the engine, and reasons in words."""

import json
import pickle
import re
from dataclasses import replace

import numpy as np
import pytest

from admbench.errors import UsageError
from admbench.leaderboard import build_site, read_runs
from admbench.leaderboard.boards import make_boards
from admbench.leaderboard.comparison import compare_views, to_json
from admbench.leaderboard.comparison_text import to_markdown, to_tsv
from admbench.leaderboard.inference.influence import Influence
from admbench.leaderboard.per_caption import PER_CAPTION, read_per_caption, write_per_caption
from admbench.leaderboard.versus import versus
from admbench.leaderboard.view import default_score, view_board, view_boards
from admbench.leaderboard.view_words import headline, judges_sentences, model_sentences, paragraph

from .conftest import difference
from .written_results import write_results

N = 96
NOISE = {"fp32": 0.0, "naive@w8a8": 0.05, "ptq4adm@w4a8": 0.1, "naive@w4a8": 0.4}
MODELS = ("tiny-audioldm", "tiny-tango")


@pytest.fixture
def run(make_run, make_record):
    """Two models, full precision and three methods, with per-caption results of known nearness."""
    folder = make_run([make_record(model, spec, n=N) for model in MODELS for spec in NOISE])
    write_results(folder, NOISE, N)
    return folder


def view_of(run, by=None):
    (view,) = view_boards(read_runs([run]), by)
    return view


def specs(model):
    return [own.spec for own in model.rows]


def row_of(view, spec, model=0):
    return next(own for own in view.models[model].rows if own.spec == spec)


def test_the_order_is_the_engines_with_full_precision_above_it(run):
    view = view_of(run)
    assert (view.score, view.second) == ("fd_vs_baseline", "fd")
    assert [model.name for model in view.models] == list(MODELS)
    for model in view.models:
        assert specs(model) == ["fp32", "naive@w8a8", "ptq4adm@w4a8", "naive@w4a8"]
        assert tuple(specs(model)[1:]) == model.conclusions[view.score].pairs.order
    assert [own.rows[0] for model in view.models for own in model.rows] == view.board.rows
    places = [own.standings[view.score] for own in view.models[0].rows[1:]]
    assert [(place.rank, place.letters) for place in places] == [("1", "a"), ("2", "b"), ("3", "c")]
    assert row_of(view, "fp32").missing == {"fd_vs_baseline": "this is full precision"}
    assert row_of(view, "fp32").verdicts == {}


def test_another_score_makes_another_order_and_has_full_precision_in_it(run):
    view = view_of(run, "fd")
    assert (view.score, view.second) == ("fd", "fd_vs_baseline")
    assert row_of(view, "fp32").standings["fd"].first == 1
    with pytest.raises(UsageError, match=r'"fdd".*Did you mean "fd"'):
        view_of(run, "fdd")


def test_verdicts_are_those_of_the_engine(run):
    words = {key: one.word for key, one in row_of(view_of(run), "naive@w4a8").verdicts.items()}
    assert words["clap"] == words["fd"] == "worse"
    assert row_of(view_of(run), "naive@w8a8").verdicts["fd_vs_baseline"].word == "no worse"


def test_a_wide_interval_takes_no_rank_from_cells_that_are_nearer(make_run, make_record, changed):
    """The board used to rank by the records' marginal intervals: naive@w4a8 shared rank 1, as its interval is wide."""
    wide = changed(make_record(spec="naive@w4a8", n=N, loss=4.0), scores__fd__difference=difference(1.0, 9.0))
    records = [make_record(spec="fp32", n=N, loss=0.0), make_record(spec="ptq4adm@w4a8", n=N, loss=0.4), wide]
    folder = make_run(records)
    write_results(folder, NOISE, N)
    view = view_of(folder)
    near, far = (row_of(view, spec) for spec in ("ptq4adm@w4a8", "naive@w4a8"))
    assert far.standings[view.score].value > 10 * near.standings[view.score].value
    assert specs(view.models[0]) == ["fp32", "ptq4adm@w4a8", "naive@w4a8"]
    assert [own.standings[view.score].rank for own in (near, far)] == ["1", "2"]


def test_a_record_that_claims_to_beat_full_precision_takes_no_rank_by_it(make_run, make_record, changed):
    liar = changed(make_record(spec="naive@w4a8", n=N), scores__fd__value=500.0, scores__fd__ci95=[480.0, 520.0])
    liar = changed(liar, scores__fd__difference=difference(-60.0, 5.0))
    folder = make_run([make_record(spec=spec, n=N) for spec in ("fp32", "naive@w8a8", "ptq4adm@w4a8")] + [liar])
    write_results(folder, NOISE, N)
    for score in ("fd_vs_baseline", "fd"):
        view = view_of(folder, score)
        assert specs(view.models[0])[-1] == "naive@w4a8"
        assert row_of(view, "naive@w4a8").standings[score].last == len(view.models[0].conclusions[score].pairs.order)
    cell = next(one.cell for one in read_runs([folder]) if one.record.method.spec == "naive@w4a8")
    (cell / PER_CAPTION).unlink()
    bare = row_of(view_of(folder), "naive@w4a8")
    assert bare.standings == {}
    assert set(bare.missing.values()) == {"no per-caption results beside the record"}


def test_what_has_no_place_says_why_and_stands_last(make_run, make_record, make_failed, changed):
    untrained = changed(make_record(spec="bf16", n=N), model__random_weights=True)
    folder = make_run([*(make_record(spec=spec, n=N) for spec in NOISE), untrained, make_failed(n=N)])
    write_results(folder, NOISE | {"bf16": 0.0}, N)
    for one in read_runs([folder]):
        if one.record.method.spec == "naive@w8a8":
            (one.cell / PER_CAPTION).write_bytes(b"damaged")
    view = view_of(folder)
    assert specs(view.models[0]) == ["fp32", "ptq4adm@w4a8", "naive@w4a8", "bf16", "naive@w8a8", "naive@w2a4"]
    why = {own.spec: own.missing[view.score] for own in view.models[0].rows if own.missing}
    assert why["bf16"] == "random weights are not ranked"
    assert why["naive@w2a4"] == "failed: out of memory"
    assert why["naive@w8a8"].startswith("per-caption results: not a safetensors file")
    assert "2 cells have no place in the order" in headline(view)[-1]


def test_what_other_processes_conclude_is_the_same(run):
    def elsewhere(conclude, *arguments):
        sent = pickle.loads(pickle.dumps(conclude))
        return [pickle.loads(pickle.dumps(sent(*each))) for each in zip(*arguments, strict=True)]

    board = make_boards(read_runs([run]))[0]
    here, there = (to_tsv(compare_views([view_board(board, mapped=mapped)])) for mapped in (map, elsewhere))
    assert here == there


@pytest.mark.slow
def test_several_processes_conclude_what_one_does(run):
    records = read_runs([run])
    one, two = (to_tsv(compare_views(view_boards(records, processes=count))) for count in (1, 2))
    assert one == two


def test_more_cells_than_the_engine_compares_are_listed_without_a_rank(run, monkeypatch):
    monkeypatch.setattr("admbench.leaderboard.inference.board.MAXIMUM_CELLS", 2)
    view = view_of(run)
    assert len(view.models[0].rows) == len(NOISE)
    assert row_of(view, "naive@w8a8").missing["fd_vs_baseline"] == "one of 3 cells; up to 2 of a model are ordered"
    assert headline(view)[0].startswith("Nothing can be ordered by fd_vs_baseline: one of 3 cells")


def test_without_per_caption_results_nothing_is_ordered(make_run, make_record):
    view = view_of(make_run([make_record(spec=spec, n=N) for spec in ("fp32", "naive@w8a8", "naive@w4a8")]))
    assert all(own.standings == {} for own in view.models[0].rows)
    assert paragraph(view) == "Nothing can be ordered by fd_vs_baseline: no per-caption results beside the record."


def test_the_order_is_by_what_there_is(make_run, make_record, changed):
    def scored(*keys):
        value = make_record()
        of = {True: value["scores"]["fd_vs_baseline"], False: value["scores"]["fd"]} | value["scores"]
        value = changed(value, scores={key: of.get(key, of[key.endswith("_vs_baseline")]) for key in keys})
        (board,) = make_boards(read_runs([make_run([value], "-".join(keys))]))
        return default_score(board)

    assert scored("fd", "lmd_vs_baseline", "fd_vs_baseline") == "fd_vs_baseline"
    assert scored("fd", "lmd_vs_baseline") == "lmd_vs_baseline"
    assert scored("clap") == "clap"


def test_calibration_draws_are_one_row_with_their_share_of_the_variance(make_run, make_record, changed):
    records = [make_record("tiny-tango", spec, n=N) for spec in ("fp32", "naive@w8a8")]
    draws = [changed(make_record("tiny-tango", "naive@w4a8", n=N), method__repeat=repeat) for repeat in range(3)]
    folder = make_run([*records, *draws])
    write_results(folder, NOISE, N)
    view = view_of(folder)
    own = row_of(view, "naive@w4a8")
    assert len(own.rows) == 3
    place = own.standings["fd_vs_baseline"]
    assert place.draws == 3
    assert own.draws == f"3 ({100 * place.share_draws:.0f} %)"
    assert own.drawn["fd_vs_baseline"].value == place.value
    assert own.drawn["clap"].low < own.drawn["clap"].value < own.drawn["clap"].high
    of_draws = own.drawn["clap"].crossed.of_draws
    assert sorted(of_draws, reverse=True) == list(of_draws)  # later draws are worse
    assert own.drawn["clap"].value == pytest.approx(sum(of_draws) / 3)
    assert row_of(view, "naive@w8a8").draws == "1"
    assert view.cautions == [
        "naive@w8a8 is compared by 1 calibration draw, others by 3: its interval knows nothing of other draws"
    ]
    (comparison,) = compare_views([view])
    text = to_markdown([comparison])
    assert "and, of a method that was run with several, calibration draws." in text
    assert f"| {own.draws} |" in text
    assert "draws (of the variance)" in text
    line = to_json([comparison])[0]["models"][0]["rows"][-1]
    assert (line["draws"], line["share_draws"]) == (3, place.share_draws)
    assert line["scores"]["clap"]["value"] == own.drawn["clap"].value
    header, *lines = [line.split("\t") for line in to_tsv([comparison]).splitlines()]
    assert [one[header.index("draws")] for one in lines] == ["", "1", "3"]


def test_what_can_be_told_is_said_in_two_sentences(run, make_run, make_record):
    nearest, no_worse = headline(view_of(run))
    assert nearest == (
        "At 4-bit weights ptq4adm@w4a8 stays nearest to full precision on both models "
        "(told apart from all other 4-bit cells); "
        "ptq4adm@w4a8 is shown to beat rounding at the same nominal bits on both models."
    )
    assert no_worse.startswith("With the margin fd=+5%, ")
    assert view_of(run).cautions == []
    alone = make_run([make_record(spec=spec, n=12) for spec in NOISE], "alone")
    write_results(alone, NOISE, 12)
    view = view_of(alone)
    assert headline(view)[0] == model_sentences(view, view.models[0])[0]
    assert paragraph(view).endswith("Caution: only 12 captions: below 96 intervals can be too short.")


def test_of_many_methods_some_are_named_and_of_the_others_there_is_a_number(run, make_run, make_record):
    """However many cells there are, the answer has a few names, and says on how many models rounding is beaten."""
    further = [f"{name}@w4a8" for name in ("gptq", "hqq", "q-diffusion", "svdquant", "smoothquant", "quarot", "awq")]
    noise = {"fp32": 0.0, "naive@w4a8": 0.4} | dict.fromkeys(further, 0.1)
    third = "tiny-dit"
    folder = make_run([make_record(model, spec, n=N) for model in (*MODELS, third) for spec in noise], "many")
    write_results(folder, noise, N)
    (view,) = view_boards(read_runs([folder]))
    same = "at the same nominal bits on"
    assert re.search(
        rf"; (\S+, ){{3}}\S+ and 3 more are shown to beat rounding {same} all 3 models\.$", headline(view)[0]
    )
    on = dict(zip(further, (3, 3, 2, 2, 1, 0, 0), strict=True))
    fewer = tuple(
        replace(
            one,
            models={name: replace(own, better=k < on[one.cell]) for k, (name, own) in enumerate(one.models.items())},
        )
        for one in view.across
    )
    (told,) = (one.partition("; ")[2] for one in headline(replace(view, across=fewer))[:1])
    assert re.sub(r"(gptq|hqq|q-diffusion|svdquant)@w4a8", "X", told) == (
        f"X and X are shown to beat rounding {same} all 3 models, X and X on 2 of 3, 1 more on 1 of 3, 2 more on none."
    )
    none = tuple(replace(one, models={k: replace(own, better=None) for k, own in one.models.items()}) for one in fewer)
    assert headline(replace(view, across=none))[0].endswith(
        f"; none of 7 methods is shown to beat rounding {same} any model."
    )


def test_a_method_whose_weights_have_more_bits_than_it_says_is_named_with_them(make_run, make_record, changed):
    mixed = [
        changed(
            make_record(model, "ptq4adm@w4a8", n=N),
            size__effective_bits_per_weight=bits,
            size__checkpoint_bytes=(size := round(bits * 5_600_000 / 8)),
            size__components={"backbone": size},
            size__reduction=1 - size / 22_441_000,
        )
        for model, bits in zip(MODELS, (6.2, 6.3), strict=True)
    ]
    rest = [make_record(model, spec, n=N) for model in MODELS for spec in NOISE if spec != "ptq4adm@w4a8"]
    folder = make_run([*mixed, *rest])
    write_results(folder, NOISE, N)
    assert "ptq4adm@w4a8 (6.2 to 6.3 bits a weight) stays nearest" in headline(view_of(folder))[0]


def test_methods_are_put_together_over_models(run):
    view = view_of(run)
    assert [(one.cell, one.versus, one.better) for one in view.across] == [("ptq4adm@w4a8", "naive@w4a8", 2)]
    assert {one.cell for one in view.across_full} == set(NOISE) - {"fp32"}
    assert {one.versus for one in view.across_full} == {"fp32"}


def test_further_judges_are_held_against_the_order(make_run, make_record, changed):
    """By a second judge of FD and by a published measure, both over the same captions."""
    names = ("fd[laion-clap]_vs_baseline", "zimtohrli_vs_baseline")
    records = []
    for spec in NOISE:
        value = make_record(spec=spec, n=N)
        more = dict.fromkeys(names, value["scores"]["fd_vs_baseline"])
        if spec != "fp32":
            more[names[1]] = more[names[1]] | {"value": 0.02, "ci95": [0.01, 0.03]}
        records.append(changed(value, scores=value["scores"] | more))
    folder = make_run(records)
    write_results(folder, NOISE, N)
    for one in read_runs([folder]):
        own = read_per_caption(one.run, one.cell / PER_CAPTION)
        if near := own.scores.get("fd_vs_baseline"):
            write_per_caption(one.cell / PER_CAPTION, replace(own, scores=own.scores | dict.fromkeys(names, near)))
    view = view_of(folder)
    (model,) = view.models
    assert [found.judges for found in model.agreements] == [
        ("tiny-tagger", "laion-clap"),
        ("tiny-tagger", "zimtohrli"),
    ]
    assert all((found.tau, found.word, found.contradictions) == (1.0, "agree", ()) for found in model.agreements)
    assert model.conclusions[names[0]].pairs.letters == model.conclusions["fd_vs_baseline"].pairs.letters
    assert "tiny-tagger and laion-clap agree on the order of 3 cells" in judges_sentences(view)[0]


def of_size(score, value, error):
    """A score of a set with another value and error; a mean over clips as it is."""
    if score.clips is not None:
        return score
    one = score.influence
    return replace(score, influence=Influence(value, error * np.sign(one.first), 0 * one.second, one.pairs))


@pytest.mark.parametrize(("size", "error"), [(5e-324, 1e90), (1e90, 1e89), (0.0, 0.0)])
def test_numbers_of_any_size_stop_neither_page_nor_table(run, tmp_path, size, error):
    for one in read_runs([run]):
        if one.record.method.spec == "naive@w8a8":
            own = read_per_caption(one.run, one.cell / PER_CAPTION)
            scores = {key: of_size(score, size, error) for key, score in own.scores.items()}
            write_per_caption(one.cell / PER_CAPTION, replace(own, scores=scores))
    views = view_boards(read_runs([run]))
    assert {own.spec for own in views[0].models[0].rows} == set(NOISE)
    assert build_site(read_runs([run]), tmp_path / "site").index.is_file()
    comparisons = compare_views(views)
    assert to_markdown(comparisons)
    json.dumps([to_json(comparisons), [vars(one) for one in versus(views, "naive@w8a8")]], allow_nan=False)
