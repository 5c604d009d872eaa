"""One method against all others of its model: the same pairs as the letters."""

import pytest

from admbench.errors import UsageError
from admbench.leaderboard import read_runs
from admbench.leaderboard.per_caption import PER_CAPTION
from admbench.leaderboard.versus import versus
from admbench.leaderboard.view import view_boards

from .written_results import write_results

N = 96
NOISE = {"fp32": 0.0, "naive@w8a8": 0.05, "ptq4adm@w4a8": 0.1, "awq@w4a8": 0.4, "naive@w4a8": 0.41}


@pytest.fixture
def run(make_run, make_record):
    folder = make_run([make_record(spec=spec, n=N) for spec in NOISE])
    write_results(folder, NOISE, N)
    return folder


def statements(run, name, by=None):
    return {one.method: one for one in versus(view_boards(read_runs([run]), by), name)}


def test_a_name_is_held_against_others_at_its_bits(run):
    found = statements(run, "naive")
    assert set(found) == {"ptq4adm@w4a8", "awq@w4a8"}
    one = found["ptq4adm@w4a8"]
    assert (one.versus, one.word, one.scale, one.n) == ("naive@w4a8", "better", "ratio", N)
    assert one.low < one.estimate < one.high < 1


def test_a_number_format_is_held_against_integers_of_as_many_bits(make_run, make_record):
    specs = {"fp32": 0.0, "naive@q4_0": 0.2, "naive@w4a16": 0.4, "awq@w4a16": 0.3}
    records = [make_record(spec=spec, n=N) for spec in specs]
    for record in records:
        if record["method"]["spec"] == "naive@q4_0":
            record["method"]["bits"] = {"weight": 4, "activation": 16}
    folder = make_run(records)
    write_results(folder, specs, N)
    found = statements(folder, "naive")
    assert {one.method: one.versus for one in found.values()} == dict.fromkeys(
        ["naive@q4_0", "awq@w4a16"], "naive@w4a16"
    )


def test_a_spec_is_held_against_all_bits_and_worse_is_said(run):
    found = statements(run, "naive@w8a8")
    assert set(found) == set(NOISE) - {"fp32", "naive@w8a8"}
    assert all(one.word == "worse" and 1 < one.low < one.estimate < one.high for one in found.values())
    assert statements(run, "naive@w4a8")["naive@w8a8"].word == "better"


@pytest.mark.parametrize("score", ["fd_vs_baseline", "fd", "clap"])
def test_statements_and_letters_never_contradict_each_other(run, score):
    (view,) = view_boards(read_runs([run]), score)
    letters = view.models[0].conclusions[score].pairs.letters
    for name in set(NOISE) - {"fp32"}:
        for one in versus([view], name):
            shared = set(letters[one.method]) & set(letters[name])
            assert (one.word == "not told apart") == bool(shared), one
            neutral = 1 if one.scale == "ratio" else 0
            assert (one.low <= neutral <= one.high) == bool(shared), one


def test_two_statements_of_one_pair_are_each_others_inverse(run):
    for score in ("fd_vs_baseline", "clap"):
        one, other = statements(run, "naive@w4a8", score)["ptq4adm@w4a8"], statements(run, "ptq4adm@w4a8", score)
        back = other["naive@w4a8"]
        assert (one.word, back.word) == ("better", "worse")
        turned = (lambda x: 1 / x) if one.scale == "ratio" else (lambda x: -x)
        assert [turned(x) for x in (back.estimate, back.high, back.low)] == pytest.approx(
            [one.estimate, one.low, one.high]
        )


def test_a_cell_without_results_is_not_compared(run):
    for loaded in read_runs([run]):
        if loaded.record.method.spec == "awq@w4a8":
            (loaded.cell / PER_CAPTION).unlink()
    one = statements(run, "naive")["awq@w4a8"]
    assert (one.word, one.estimate) == ("not compared", None)
    assert one.reason == "awq@w4a8: no per-caption results beside the record"


def test_a_method_that_is_not_there_is_refused(run):
    with pytest.raises(UsageError, match=r'method "naife"\. Did you mean "naive"'):
        statements(run, "naife")
    with pytest.raises(UsageError, match=r'method "naive@w5a8"'):
        statements(run, "naive@w5a8")
