"""What goes to one node of a cluster, and what a node may say."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from admbench.bench.run.executors.at_node import carry_out
from admbench.bench.run.executors.base import Outcome, Resources, Stage, Task
from admbench.bench.run.executors.batches import Batch, Lost, group, make_batch, say, understand
from admbench.bench.run.executors.remote import RemoteExecutor, SubmissionError
from admbench.bench.run.grid import GenerationSpec
from admbench.bench.run.jobs import CellJob, QuantizeJob
from admbench.bench.run.made_by import MadeBy
from admbench.bench.scoring.spec import JudgeSpec

SHARED = {"run": Path("run"), "seed": 0, "device": "cpu", "threads": 1, "made_by": MadeBy()}
OF_MODEL = {"model": "m", "model_sha256": "f" * 64}


def quantization(name: str) -> QuantizeJob:
    return QuantizeJob(key=f"q-{name}", method=name, **SHARED, **OF_MODEL)


def cell(name: str, checkpoint: str | None = None) -> CellJob:
    return CellJob(
        key=f"c-{name}",
        suite="s",
        suite_name="s",
        limit=None,
        generation=GenerationSpec(),
        judges=JudgeSpec(),
        extractors=(),
        method=name,
        metrics=("fd",),
        checkpoint=checkpoint or f"q-{name}",
        command="bench run",
        **SHARED,
        **OF_MODEL,
    )


def keys(groups: list[list[Task]]) -> list[list[str]]:
    return [[task.job.key for task in one] for one in groups]


def chain(name: str, *after: str) -> list[Task]:
    return [Task(quantization(name)), Task(cell(name), (*after, f"q-{name}"))]


def test_a_cell_goes_with_its_quantization_and_so_many_of_them_as_fit() -> None:
    tasks = [*chain("a"), *chain("b"), *chain("c")]
    assert keys(group(tasks, (), 1, 9)) == [["q-a", "c-a"], ["q-b", "c-b"], ["q-c", "c-c"]]
    assert keys(group(tasks, (), 2, 9)) == [["q-a", "c-a", "q-b", "c-b"], ["q-c", "c-c"]]
    assert keys(group(tasks, (), 1, 2)) == [["q-a", "c-a"], ["q-b", "c-b"]], "no more than are wanted"


def test_a_cell_that_waits_for_more_than_its_quantization_waits() -> None:
    tasks = chain("a", "baseline")
    assert keys(group(tasks, (), 1, 9)) == [["q-a"]]
    assert keys(group(tasks, ("baseline",), 1, 9)) == [["q-a", "c-a"]]
    assert keys(group(tasks[1:], ("baseline",), 1, 9)) == [], "its quantization is at work elsewhere"


def test_cells_of_other_needs_are_not_put_together() -> None:
    needs = (Resources(cpus=1), Resources(cpus=1, gpus=1), Resources(cpus=1))
    tasks = [Task(quantization(name), (), need) for name, need in zip("abc", needs, strict=True)]
    assert keys(group(tasks, (), 5, 9)) == [["q-a", "q-c"], ["q-b"]]


def test_a_batch_asks_for_the_most_that_a_task_of_it_needs_and_two_never_share_an_id() -> None:
    tasks = [Task(quantization(str(size)), (), Resources(2, 1, size)) for size in (3, 7)]
    tasks.append(Task(quantization("unknown"), (), Resources(4)))
    batch = make_batch(tasks, 1, 60.0, "program")
    assert (batch.cpus, batch.gpus, batch.memory_bytes) == (4, 1, 7)
    assert make_batch(tasks[2:], 1, 60.0, "program").memory_bytes is None
    assert make_batch(tasks, 1, 60.0, "program").id != batch.id
    assert Batch.model_validate_json(batch.model_dump_json()) == batch


def test_what_a_node_says_arrives() -> None:
    task = Task(quantization("a"))
    batch = make_batch([task], 1, 60.0, "program")
    for report in (Stage(task.job, "generate"), Outcome(task.job, None, 1.5), Outcome(task.job, "it broke", 0.5)):
        assert understand(say(report), batch) == report


def test_a_batch_that_goes_on_does_not_do_again_what_ended_and_blocks_what_waits_for_what_failed() -> None:
    first, second = chain("a")
    batch = make_batch([first, second], 1, 60.0, "no_such_program")
    failed = Outcome(first.job, "the scale is not finite", 2.0)
    (line,) = carry_out(batch.model_dump_json(), {"q-a": failed})
    assert understand(line, batch) == Outcome(second.job, "the scale is not finite", 0.0)
    assert list(carry_out(batch.model_dump_json(), {"q-a": failed, "c-a": Outcome(second.job, None, 1.0)})) == []


class Forgetful:
    """A scheduler that loses every batch, after it said that the first task of it began."""

    def __init__(self) -> None:
        self.submitted: list[Batch] = []
        self.closed = False

    def submit(self, batches: Sequence[Batch]) -> None:
        self.submitted.extend(batches)

    def reports(self) -> Iterator[Stage | Outcome | Lost]:
        batch = self.submitted[-1]
        yield Stage(batch.tasks[0].job, "start")
        yield Lost(batch.id, "job 1")

    def close(self) -> None:
        self.closed = True


def test_only_what_was_at_work_when_a_batch_was_lost_has_had_an_attempt() -> None:
    backend = Forgetful()
    tasks = [Task(quantization("a")), Task(quantization("b"))]
    executor = RemoteExecutor(backend, 1, 60.0, attempts=2, cells_per_batch=2)
    ended = list(executor.run(tasks, lambda job, stage: None))
    assert [outcome.job.key for outcome in ended] == ["q-a", "q-b"]
    assert str(ended[0].reason).startswith("lost 2 times, at last as job 1; its log ends: ")
    placed = [[task.job.key for task in batch.tasks] for batch in backend.submitted]
    assert placed == [["q-a", "q-b"], ["q-a", "q-b"], ["q-b"], ["q-b"]]
    assert backend.closed


class HalfDone(Forgetful):
    """A scheduler whose batch is lost after its first task failed, before a word of what that blocks."""

    def reports(self) -> Iterator[Stage | Outcome | Lost]:
        batch = self.submitted[-1]
        yield Outcome(batch.tasks[0].job, "the scale is not finite", 1.0)
        yield Lost(batch.id, "job 1")


def test_what_waits_for_a_failed_job_is_not_tried_again_when_their_batch_is_lost() -> None:
    backend = HalfDone()
    ended = list(RemoteExecutor(backend, 1, 60.0, attempts=2).run(chain("a"), lambda job, stage: None))
    assert [outcome.reason for outcome in ended] == ["the scale is not finite"] * 2
    assert len(backend.submitted) == 1


class Refusing(Forgetful):
    """A scheduler that takes nothing."""

    def submit(self, batches: Sequence[Batch]) -> None:
        raise SubmissionError("no such partition", batches)


def test_what_a_scheduler_does_not_take_fails_with_its_reason_and_so_does_what_waits_for_it() -> None:
    tasks = [Task(quantization("a")), Task(cell("a"), ("q-a", "c-b")), Task(cell("b"), ())]
    ended = list(RemoteExecutor(Refusing(), 5, 60.0, attempts=2).run(tasks, lambda job, stage: None))
    assert {outcome.job.key: outcome.reason for outcome in ended} == {
        "q-a": "cannot be submitted: no such partition",
        "c-b": "cannot be submitted: no such partition",
        "c-a": "cannot be submitted: no such partition",
    }


@pytest.mark.attack("answer of a child process")
@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\xff\xfe",
        b"[" * 100_000,
        b"null",
        b'{"key": "q-a", "more": 1}',
        b'{"key": "q-b", "seconds": 1}',
        b'{"key": "q-a", "seconds": -1}',
        b'{"key": "q-a", "seconds": 1e999}',
        b'{"key": ["q-a"]}',
    ],
    ids=["empty", "no text", "deep", "null", "unknown key", "another's job", "negative", "infinite", "no key"],
)
def test_what_is_no_report_says_nothing(line: bytes) -> None:
    assert understand(line, make_batch([Task(quantization("a"))], 1, 60.0, "program")) is None


@pytest.mark.attack("answer of a child process")
def test_what_is_shown_of_a_report_is_one_line() -> None:
    batch = make_batch([Task(quantization("a"))], 1, 60.0, "program")
    said = understand(json.dumps({"key": "q-a", "reason": "two\nlines\x1b[31m" + "x" * 9000}), batch)
    assert isinstance(said, Outcome)
    assert said.reason is not None
    assert said.reason.isprintable()
    assert len(said.reason) < 2100
