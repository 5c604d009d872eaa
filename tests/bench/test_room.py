"""What jobs on one machine share: a device each, and no more memory than there is."""

from __future__ import annotations

import pytest

from admbench.bench.run.executors.base import Resources
from admbench.bench.run.executors.room import Place, Room

ON_DEVICE = Resources(cpus=1, gpus=1)


def test_a_device_is_one_jobs_alone() -> None:
    room = Room(["0", "GPU-1"])
    first, second = room.take(ON_DEVICE), room.take(ON_DEVICE)
    assert first is not None
    assert second is not None
    assert [first.environment, second.environment] == [
        {"CUDA_VISIBLE_DEVICES": "0"},
        {"CUDA_VISIBLE_DEVICES": "GPU-1"},
    ]
    assert room.take(ON_DEVICE) is None
    assert room.take(Resources(cpus=1)) == Place(), "without one there is room"
    room.give_back(second)
    assert room.take(ON_DEVICE) == second


def test_where_no_device_is_known_none_is_given_and_none_is_waited_for() -> None:
    room = Room()
    places = [room.take(ON_DEVICE), room.take(ON_DEVICE)]
    assert places == [Place(), Place()]
    assert Place().environment == {}


def test_two_jobs_that_do_not_fit_into_memory_do_not_run_together() -> None:
    room = Room(memory_bytes=10)
    large = room.take(Resources(memory_bytes=7))
    assert large is not None
    assert room.take(Resources(memory_bytes=4)) is None
    assert room.take(Resources(memory_bytes=3)) is not None
    assert room.take(Resources(memory_bytes=None)) is not None, "nobody knows what it needs"
    room.give_back(large)
    assert room.take(Resources(memory_bytes=7)) is not None


def test_a_job_that_needs_more_memory_than_there_is_runs_alone() -> None:
    room = Room(memory_bytes=10)
    place = room.take(Resources(memory_bytes=11))
    assert place is not None
    assert room.take(Resources(memory_bytes=1)) is None


@pytest.mark.parametrize(("visible", "expected"), [("2,3", ["2", "3"]), ("GPU-a", ["GPU-a"]), ("", [])])
def test_devices_are_those_that_this_process_sees(
    visible: str, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    room = Room.of_this_machine("cuda")
    taken = [room.take(ON_DEVICE) for _ in expected]
    assert [place.device for place in taken if place is not None] == expected
    assert (room.take(ON_DEVICE) is None) == bool(expected)
    assert Room.of_this_machine("cpu").take(ON_DEVICE) == Place()
