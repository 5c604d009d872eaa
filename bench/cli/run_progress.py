"""What a run shows while it works: on a terminal a bar of jobs and a line a worker, elsewhere a line a finished cell.

At its end, in both, how its cells ended, and how long it took beside what was expected.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from admbench.bench.cli.durations import duration
from admbench.bench.cli.tables import megabytes, print_table
from admbench.bench.run.executors.base import Outcome
from admbench.bench.run.expecting import Expected
from admbench.bench.run.jobs import CellJob, Job, QuantizeJob
from admbench.bench.run.plan import Plan
from admbench.bench.run.runner import CellResult, Events

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from admbench.leaderboard.view import BoardView, ModelView, ViewRow

FACTOR = 1.5
"""Within which an expectation counts as met."""


class RunProgress:
    """Shows the events of a run; a context manager, because a bar has to be taken off the terminal again."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._at_work: dict[str, TaskID] = {}
        """A line a worker: key of its job -> the line."""
        self._expected: Mapping[str, Expected] = {}
        self._compared: list[tuple[float, float]] = []
        """Of each job that is done: the seconds that were expected, and those that it took."""
        self._began = time.monotonic()
        self.events = Events(planned=self._planned, stage=self._stage, ended=self._ended)

    def __enter__(self) -> RunProgress:
        if sys.stderr.isatty() and not self._quiet:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

            self._bar = Progress(
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.description}{task.fields[expected]}", markup=False),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._bar.add_task("checking models, methods and captions", total=None, expected="")
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _planned(self, plan: Plan) -> None:
        finished = len(plan.cells) - sum(isinstance(job, CellJob) for job in plan.jobs) - len(plan.skipped)
        self._expected = plan.expected
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, description="jobs", total=len(plan.jobs))
        for warning in plan.warnings:
            self._warn(warning)
        self._line(f"{len(plan.cells)} cells, {finished} of them already done")
        if plan.once:
            self._line(f"run once, as they depend on no calibration draw: {', '.join(plan.once)}")
        for cell in plan.cells:
            if cell.key in plan.skipped:
                self._line(f"skipped {cell.name}: {plan.skipped[cell.key]}")

    def _stage(self, job: Job, stage: str) -> None:
        if self._bar is None:
            return
        if job.key not in self._at_work:
            expected = self._expected.get(job.key)
            told = "" if expected is None else f" (expected {duration(expected.seconds)})"
            self._at_work[job.key] = self._bar.add_task(job.name, total=None, expected=told)
        self._bar.update(self._at_work[job.key], description=f"{job.name}: {stage}")

    def _ended(self, outcome: Outcome) -> None:
        job, expected = outcome.job, self._expected.get(outcome.job.key)
        line = self._at_work.pop(job.key, None)
        if self._bar is not None and self._task is not None:
            self._bar.advance(self._task)
            if line is not None:
                self._bar.remove_task(line)
        if expected is not None and not outcome.failed:
            self._compared.append((expected.seconds, outcome.own_seconds))
        if isinstance(job, QuantizeJob):
            return  # its cell says it
        state = "failed" if outcome.failed else "done"
        reason = f": {outcome.reason}" if outcome.failed else ""
        self._line(f"{state} {job.name} ({outcome.seconds:.1f} s){reason}")

    def summary(self, results: Sequence[CellResult]) -> str:
        """Return one line on how the cells of the run ended, and on its time beside what was expected."""
        counted = Counter(_state(result) for result in results)
        parts = [f"{len(results)} cells", *(f"{number} {state}" for state, number in counted.items())]
        line = f"{', '.join(parts)}; {duration(time.monotonic() - self._began)}"
        if not self._compared:
            return line
        near = sum(expected / FACTOR <= taken <= expected * FACTOR for expected, taken in self._compared)
        whole, took = (sum(column) for column in zip(*self._compared, strict=True))
        return (
            f"{line}; {len(self._compared)} jobs took {duration(took)} of {duration(whole)} expected,"
            f" {near} of them within a factor of {FACTOR:g}"
        )

    def _warn(self, text: str) -> None:
        if self._bar is not None:
            self._bar.console.print(f"warning: {text}", markup=False, highlight=False, soft_wrap=True)
        else:
            print(f"warning: {text}", file=sys.stderr, flush=True)

    def _line(self, text: str) -> None:
        if self._quiet:
            return
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, flush=True)


def _state(result: CellResult) -> str:
    if result.skipped:
        return "skipped"
    if result.reason is not None:
        return "failed"
    return "already done" if result.resumed else "done"


def print_summary(results: list[CellResult]) -> None:
    """Print a conclusion in words, then a row per cell in the order of the board, with its verdict by FD."""
    from admbench.leaderboard.reading import LoadedRecord, read_record
    from admbench.leaderboard.view import view_boards
    from admbench.leaderboard.view_words import paragraph

    done = [result.job.target for result in results if not result.reason]
    records = [LoadedRecord(read_record(target.record), target.record, target.path) for target in done]
    for view in view_boards(records):
        print(paragraph(view))
        rows = [_summary_row(view, model, own) for model in view.models for own in model.rows]
        print_table(("model", "method", "rank", "letters", view.score, "fd", "no worse?", "checkpoint"), rows)


def _summary_row(view: BoardView, model: ModelView, own: ViewRow) -> tuple[str, ...]:
    from admbench.leaderboard.view_words import NO_WORSE_BY, short_verdict

    place, verdict = own.standings.get(view.score), own.verdicts.get(NO_WORSE_BY)
    fd = own.drawn.get("fd") or own.record.scores.get("fd")
    size = own.record.size.checkpoint_bytes if own.record.size else None
    return (
        model.name,
        own.spec,
        place.rank if place else "-",
        place.letters if place else f"- {own.missing[view.score]}",
        f"{place.value:.3g} [{place.low:.3g}, {place.high:.3g}]" if place else "-",
        "-" if fd is None or fd.value is None else f"{fd.value:.3f}",
        short_verdict(verdict) if verdict else "-",
        megabytes(size) if size else "-",
    )
