"""The cheapest cell that is shown to be no worse: what is chosen, what is next, and what could not be told."""

from __future__ import annotations

import json

import pytest

from admbench.errors import UsageError
from admbench.leaderboard import read_runs
from admbench.leaderboard.choice import choose, to_json

from .written_results import agree, write_results

N = 96
NOISE = {"fp32": 0.0, "bf16": 0.001, "naive@w8a8": 0.01, "naive@w4a8": 0.02, "naive@w3a8": 0.6}
TIMES = {"fp32": 40.0, "bf16": 30.0, "naive@w8a8": 20.0}


def timed(changed, value, median, cpu="A Processor 3000"):
    step = {"median": median, "p10": median, "p90": median, "values": [median]}
    latency = {"kernel": "eager", "step_ms": step, "reason": None}
    return changed(value, latency=latency, environment__cpu=cpu, method__simulated=False)


@pytest.fixture
def runs(make_run, make_record):
    folder = make_run([make_record(model, spec, n=N) for model in ("tiny-audioldm", "tiny-tango") for spec in NOISE])
    write_results(folder, NOISE, N)
    agree(folder)
    return read_runs([folder])


def test_the_smallest_that_is_no_worse_is_chosen_for_each_model(runs):
    found = choose(runs)
    assert [one.model for one in found] == ["tiny-audioldm", "tiny-tango"]
    for one in found:
        assert (one.chosen.method, one.next.method) == ("naive@w4a8", "naive@w8a8")
        assert [own.method for own in one.worse] == ["naive@w3a8"]
        assert one.undecided == ()
        assert one.cost_of == "bytes of the whole pipeline"
        assert one.chosen.cost.value < one.next.cost.value < one.full.value
        assert one.saved(one.chosen) == pytest.approx(1 - one.chosen.cost.value / one.full.value)
        assert one.caution is None


def test_of_all_margins_each_has_to_be_kept(runs):
    one = choose(runs, ["fd=+5%", "clap=-0.001"])[0]
    assert one.chosen.method == "bf16"
    assert one.next is None
    assert {own.method for own in one.worse} == {"naive@w8a8", "naive@w4a8", "naive@w3a8"}


def test_what_cannot_be_told_is_not_chosen_but_listed_with_the_captions_that_would_tell(make_run, make_record):
    folder = make_run([make_record(spec=spec, n=12) for spec in ("fp32", "bf16", "naive@w4a8")])
    write_results(folder, NOISE | {"naive@w4a8": 0.05}, 12)
    agree(folder)
    one = choose(read_runs([folder]), ["fd=+3%"])[0]
    assert one.chosen.method == "bf16"
    assert [(own.method, own.captions_needed > 12) for own in one.undecided] == [("naive@w4a8", True)]
    assert one.caution == "only 12 captions: below 96 intervals can be too short"


def test_by_latency_and_what_was_never_timed(make_run, make_record, changed):
    records = [timed(changed, make_record(spec=spec, n=N), ms) for spec, ms in TIMES.items()]
    folder = make_run([*records, make_record(spec="naive@w4a8", n=N)])
    write_results(folder, NOISE, N)
    agree(folder)
    one = choose(read_runs([folder]), by="latency")[0]
    assert (one.chosen.method, one.chosen.cost.value, one.full.value) == ("naive@w8a8", 20.0, 40.0)
    assert [(own.method, own.cost.reason) for own in one.unpriced] == [("naive@w4a8", "simulated")]


def test_times_of_two_machines_are_not_compared(make_run, make_record, changed):
    machines = {"fp32": "One", "bf16": "Two"}
    folder = make_run(
        [timed(changed, make_record(spec=spec, n=N), TIMES[spec], machine) for spec, machine in machines.items()]
    )
    write_results(folder, NOISE, N)
    agree(folder)
    with pytest.raises(UsageError, match="several machines is not compared: One, 2 threads; Two, 2 threads"):
        choose(read_runs([folder]), by="latency")


def test_by_memory(runs, make_run, make_record, changed):
    folder = make_run(
        [changed(make_record(spec=spec, n=N), memory__peak_bytes=k) for k, spec in enumerate(NOISE, start=5)], "memory"
    )
    write_results(folder, NOISE, N)
    agree(folder)
    assert choose(read_runs([folder]), by="memory")[0].chosen.method == "bf16"


def test_no_cell_that_is_no_worse_is_no_choice(make_run, make_record):
    folder = make_run([make_record(spec=spec, n=N) for spec in ("fp32", "naive@w3a8")])
    write_results(folder, NOISE, N)
    agree(folder)
    one = choose(read_runs([folder]))[0]
    assert one.chosen is None
    assert [own.method for own in one.worse] == ["naive@w3a8"]


def test_json_says_all_of_it(runs):
    value = json.loads(json.dumps(to_json(choose(runs)), allow_nan=False))[0]
    assert value["chosen"]["method"] == "naive@w4a8"
    assert value["chosen"]["scores"]["fd"]["word"] == "no worse"
    assert value["worse"][0]["method"] == "naive@w3a8"


def test_calibration_draws_of_a_method_are_one_candidate_at_their_usual_cost(make_run, make_record, changed):
    sizes = (3_000_000, 5_000_000, 4_000_000)
    draws = [
        changed(
            make_record(spec="naive@w4a8", n=N),
            method__repeat=repeat,
            size__checkpoint_bytes=size,
            size__effective_bits_per_weight=8 * size / 5_600_000,
            size__reduction=1 - size / 22_441_000,
            size__components={"backbone": size, "vae": 3_000_000},
        )
        for repeat, size in enumerate(sizes)
    ]
    folder = make_run([make_record(spec="fp32", n=N), *draws])
    write_results(folder, NOISE, N)
    agree(folder)
    (one,) = choose(read_runs([folder]))
    assert (one.chosen.method, one.chosen.cost.value, one.next) == ("naive@w4a8", 7_000_000, None)
    assert one.chosen.verdicts["fd"].draws == 3
