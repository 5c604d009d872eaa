"""Which records share a table, and which one of a cell counts."""

import pytest

from admbench.leaderboard import read_runs
from admbench.leaderboard.boards import make_boards
from admbench.leaderboard.site.summary import head


@pytest.fixture
def board_of(make_run):
    def make(*records):
        (board,) = make_boards(read_runs([make_run(list(records))]))
        return board

    return make


def specs(board):
    return [row.record.method.spec for row in board.rows]


def test_rows_are_in_no_order_of_scores(board_of, make_record, make_failed):
    losses = {"naive@w8a8": 0.1, "bf16": 30.0, "fp32": 0.0}
    done = [make_record(spec=spec, loss=loss) for spec, loss in losses.items()]
    board = board_of(make_failed(spec="awq@w4a8"), *done)
    assert specs(board) == ["fp32", "bf16", "naive@w8a8", "awq@w4a8"]


def test_a_model_is_a_group(board_of, make_record):
    board = board_of(
        make_record("b", "fp32", loss=0), make_record("b"), make_record("a", "fp32", loss=0), make_record("a")
    )
    assert [(row.group, row.record.method.spec) for row in board.rows] == [
        ("a", "fp32"),
        ("a", "naive@w4a8"),
        ("b", "fp32"),
        ("b", "naive@w4a8"),
    ]


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


def test_of_several_ways_to_sample_each_is_named_with_its_models(board_of, make_run, make_record, changed):
    own = changed(make_record(), model__name="tiny-dit", generation__sampler=None, generation__steps=8)
    (alone,) = head(make_boards(read_runs([make_run([make_record()], "alone")]))).sampling
    assert "(" not in alone
    several = head([board_of(make_record(), own)]).sampling
    assert len(several) == 2
    assert f"{alone} (tiny-tango)" in several
    assert any("8 steps" in told and told.endswith(" (tiny-dit)") for told in several)


def test_scores_have_a_fixed_order(board_of, make_record):
    assert board_of(make_record()).metrics == ["fd", "kl", "is", "clap", "fd_vs_baseline"]


def test_every_calibration_draw_of_a_method_has_its_row(board_of, make_record, make_failed, changed):
    draws = [changed(make_record(), method__repeat=repeat) for repeat in range(2)]
    lost = changed(make_failed(spec="naive@w4a8"), method__repeat=2)
    board = board_of(make_record(spec="fp32", loss=0.0), *draws, lost)
    assert sorted(row.record.method.repeat for row in board.rows if row.record.method.name == "naive") == [0, 1, 2]
    assert not board.replaced
