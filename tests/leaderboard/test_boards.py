"""Which records share a table, which one of a cell counts, and how ranks tie."""

import pytest

from admbench.leaderboard import read_runs
from admbench.leaderboard.boards import make_boards


@pytest.fixture
def board_of(make_run):
    def make(*records):
        (board,) = make_boards(read_runs([make_run(list(records))]))
        return board

    return make


def ranks(board):
    return {row.record.method.spec: (row.place.rank, row.place.tied) for row in board.rows}


def test_methods_whose_difference_holds_zero_tie_with_full_precision(board_of, make_record):
    losses = {"fp32": 0.0, "bf16": 0.3, "naive@w8a8": 0.9, "naive@w4a8": 7.0, "naive@w3a8": 7.5, "naive@w2a8": 30.0}
    board = board_of(*(make_record(spec=spec, loss=loss) for spec, loss in losses.items()))
    assert ranks(board) == {
        "fp32": (1, True),
        "bf16": (1, True),
        "naive@w8a8": (1, True),
        "naive@w4a8": (4, True),  # 7.0 and 7.5, each within 1.2: their intervals overlap
        "naive@w3a8": (4, True),
        "naive@w2a8": (6, False),
    }
    assert [row.record.method.spec for row in board.rows] == list(losses)


def test_a_method_can_rank_above_full_precision(board_of, make_record):
    board = board_of(make_record(spec="fp32", loss=0), make_record(loss=-5.0))
    assert ranks(board) == {"naive@w4a8": (1, False), "fp32": (2, False)}


def test_what_real_audio_cannot_tell_apart_is_ordered_by_closeness_to_full_precision(board_of, make_record):
    losses = {
        "fp32": 0.0,
        "naive@w4a8": 1.0,
        "naive@w8a8": 0.3,
        "bf16": 0.32,
    }  # each within 1.2 of fp32
    board = board_of(*(make_record(spec=spec, loss=loss) for spec, loss in losses.items()))
    assert all((row.place.rank, row.place.tied) == (1, True) for row in board.rows)
    places = {row.record.method.spec: row.closeness for row in board.rows}
    assert list(places) == ["fp32", "naive@w8a8", "bf16", "naive@w4a8"]
    assert (places["naive@w8a8"].rank, places["bf16"].rank, places["naive@w4a8"].rank) == (1, 1, 3)
    assert (places["bf16"].tied, places["naive@w4a8"].tied) == (True, False)
    assert places["fp32"].unranked == "this is full precision"


def test_ranks_are_given_per_model(board_of, make_record):
    board = board_of(
        make_record("a", "fp32", loss=0), make_record("a"), make_record("b", "fp32", loss=0), make_record("b")
    )
    assert [(row.group, row.place.rank) for row in board.rows] == [("a", 1), ("a", 2), ("b", 1), ("b", 2)]


def test_what_cannot_be_ranked_says_why_and_stands_last(board_of, make_record, make_failed, changed):
    untrained = changed(make_record(spec="naive@w8a8"), model__random_weights=True)
    silent = changed(make_record(spec="bf16"), scores__fd={"value": None, "reason": "one clip"})
    lone = changed(make_record(spec="naive@w3a8"), scores__fd__difference=None)
    board = board_of(make_record(spec="fp32", loss=0), untrained, silent, lone, make_failed())
    why = {row.record.method.spec: row.place.unranked for row in board.rows if row.place.rank is None}
    assert why == {
        "naive@w8a8": "random weights are not ranked",
        "bf16": "no FD",
        "naive@w3a8": "no paired difference to full precision",
        "naive@w2a4": "failed",
    }
    assert board.rows[0].place.rank == 1


def test_suites_and_sizes_and_networks_are_not_mixed(make_run, make_record, changed):
    other_network = changed(make_record(spec="naive@w3a8"), scores__fd__backbone_sha256="f" * 64)
    records = [make_record(n=4), make_record("m", n=8), changed(make_record("k"), suite__name="mine"), other_network]
    boards = make_boards(read_runs([make_run(records)]))
    assert [(board.suite, board.n, len(board.rows)) for board in boards] == [
        ("foley", 8, 1),
        ("foley", 4, 1),
        ("foley", 4, 1),
        ("mine", 4, 1),
    ]


def test_a_failed_cell_that_knows_only_its_suites_name_joins_its_table(board_of, make_record, make_failed, changed):
    done = changed(make_record(), suite__name="mine.csv")
    board = board_of(done, changed(make_failed(), suite={"name": "/somewhere/mine.csv"}))
    assert (board.suite, len(board.rows)) == ("mine.csv", 2)


def test_of_a_cell_in_two_runs_the_latest_counts(make_run, make_record, make_failed, changed):
    old = make_run([make_record(loss=3.0), make_failed(spec="naive@w3a8")], "old")
    new = make_run(
        [
            changed(make_record(loss=9.0), provenance__started="2026-03-02T00:00:00+09:00"),
            changed(make_record(spec="naive@w3a8"), provenance__started="2026-03-02T00:00:00+09:00"),
        ],
        "new",
    )
    (board,) = make_boards(read_runs([old, new]))
    assert [row.loaded.run for row in board.rows] == [new, new]
    assert [loaded.run for loaded in board.replaced] == [old, old]


def test_other_sampling_settings_are_another_group_not_another_run(make_run, make_record, changed):
    slow = make_run([make_record(spec="fp32", loss=0), make_record()], "slow")
    fast = make_run([changed(make_record(), generation__steps=10)], "fast")
    wide = make_run([changed(make_record(), generation__batch_size=64)], "wide")
    (board,) = make_boards(read_runs([slow, fast, wide]))
    assert board.groups == ["tiny-tango, steps 10", "tiny-tango, steps 25"]
    assert len(board.replaced) == 1  # the batch size does not make another cell


def test_scores_have_a_fixed_order(board_of, make_record):
    assert board_of(make_record()).metrics == ["fd", "kl", "is", "clap", "fd_vs_baseline"]


def test_every_calibration_draw_of_a_method_has_its_row(board_of, make_record, make_failed, changed):
    draws = [changed(make_record(), method__repeat=repeat) for repeat in range(2)]
    lost = changed(make_failed(spec="naive@w4a8"), method__repeat=2)
    board = board_of(make_record(spec="fp32", loss=0.0), *draws, lost)
    assert sorted(row.record.method.repeat for row in board.rows if row.record.method.name == "naive") == [0, 1, 2]
    assert not board.replaced
