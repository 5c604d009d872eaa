"""What makes two records the same cell, and what a board makes of those that are not."""

from pathlib import Path

import pytest

from admbench.leaderboard import parse_record, read_record, read_runs
from admbench.leaderboard.boards import make_boards
from admbench.leaderboard.identity import identity, machine

TEXT_ENCODER = {"method__components": ["text_encoder"], "size__components": None}
LATER = {"provenance__started": "2026-04-01T10:00:00+00:00"}


def names(*runs):
    (board,) = make_boards(read_runs(runs))
    return [row.name for row in board.rows], board


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({}, []),
        ({"generation__batch_size": 2}, []),
        ({"environment__cpu": "Another"}, []),
        ({"provenance__submitter": "Another"}, []),
        ({"model__name": "another"}, ["model"]),
        ({"method__repeat": 1}, ["repeat"]),
        ({"model__weights_sha256": "00" * 32}, ["weights"]),
        ({"method__version": "2"}, ["version"]),
        (TEXT_ENCODER, ["components"]),
        ({"method__config": {"weights": "channel"}}, ["config.calibration"]),
        ({"method__config__weights": "tensor"}, ["config.weights"]),
        ({"method__simulated": False, "latency": {"kernel": None, "reason": "none"}}, ["arithmetic"]),
        ({"suite__sha256": "00" * 32}, ["suite_sha256"]),
        ({"suite__split": "train"}, ["split"]),
        ({"generation__seed": 1, "generation__steps": 5}, ["sampling.seed", "sampling.steps"]),
        ({"scores__fd__backbone_sha256": "00" * 32}, ["judges.fd"]),
        ({"scores__fd__version": "2"}, ["metrics.fd"]),
    ],
)
def test_all_that_a_number_follows_from_tells_cells_apart(make_record, changed, changes, parts):
    first, second = parse_record(make_record()), parse_record(changed(make_record(), **changes))
    one, other = identity(first), identity(second)
    assert one.parts_apart(other) == parts
    assert one.agrees(other) is (not parts)
    assert (one == other) is (hash(one) == hash(other)) is (not parts)
    assert [text.split(":")[0] for text in one.differences(other)] == parts


def test_differences_are_readable(make_record, changed):
    first, second = make_record(), changed(make_record(), method__config__weights="x" * 200, **TEXT_ENCODER)
    components, config = identity(parse_record(first)).differences(identity(parse_record(second)))
    assert components == "components: backbone, text_encoder"
    assert config.startswith('config.weights: "channel", "xxx')
    assert len(config) < 100


def test_what_a_record_does_not_know_disagrees_with_nothing(make_record, make_failed):
    known = parse_record(make_record(spec="naive@w2a4"))
    failed = make_failed()
    failed["method"] = {"name": "naive", "spec": "naive@w2a4"}
    failed["suite"] = {"name": "/elsewhere/foley"}
    assert identity(parse_record(failed)).agrees(identity(known))
    assert machine(parse_record(failed)) is None
    old = read_record(Path(__file__).with_name("records") / "version-1-fp32.json")
    assert identity(old).metrics == ()


def test_a_text_encoders_cell_never_replaces_a_backbones(make_run, make_record, changed):
    backbone = make_run([make_record(spec="fp32", loss=0), make_record()], "a")
    other = make_run([changed(make_record(), **TEXT_ENCODER, **LATER)], "b")
    found, board = names(backbone, other)
    assert sorted(found) == ["fp32", "naive@w4a8", "naive@w4a8 (text_encoder)"]
    assert board.replaced == []
    assert board.rows[found.index("naive@w4a8")].record.method.components == ["backbone"]


def test_cells_of_two_machines_stand_side_by_side(make_run, make_record, changed):
    first = make_run([make_record()], "a")
    second = make_run([changed(make_record(), environment__cpu="A Faster One", **LATER)], "b")
    found, board = names(first, second)
    assert sorted(found) == ["naive@w4a8", "naive@w4a8 (on A Processor 3000)"]
    assert board.replaced == []


def test_nobodys_record_replaces_that_of_somebody_who_is_named(make_run, make_record, changed):
    first = make_run([changed(make_record(), provenance__submitter="Ada")], "a")
    second = make_run([changed(make_record(), **LATER)], "b")
    found, board = names(first, second)
    assert sorted(found) == ["naive@w4a8", "naive@w4a8 (by Ada)"]
    assert board.replaced == []
    again = make_run([changed(make_record(), provenance__submitter="Ada", **LATER)], "c")
    found, board = names(first, again)
    assert (found, [one.run for one in board.replaced]) == (["naive@w4a8"], [first])


def test_another_version_of_a_method_is_another_cell_and_of_a_metric_another_board(make_run, make_record, changed):
    run = make_run([make_record()], "a")
    newer = make_run([changed(make_record(), method__version="2", **LATER)], "b")
    assert sorted(names(run, newer)[0]) == ["naive@w4a8", "naive@w4a8 (version 1)"]
    rescored = make_run([changed(make_record(), scores__fd__version="2", **LATER)], "c")
    assert len(make_boards(read_runs([run, rescored]))) == 2


def test_the_latest_of_a_cell_counts(make_run, make_record, changed):
    first = make_run([make_record()], "a")
    second = make_run([changed(make_record(), generation__batch_size=2, **LATER)], "b")
    found, board = names(first, second)
    assert found == ["naive@w4a8"]
    assert board.rows[0].loaded.run == second
    assert [loaded.run for loaded in board.replaced] == [first]
