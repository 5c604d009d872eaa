"""Runs of the fake model without child processes, which is quick, and with the judges of the test distribution."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence

from admbench.bench.run.executors.base import Outcome, Task, blocked
from admbench.bench.run.jobs import CellJob, Job
from admbench.bench.run.program import explain, run_job
from admbench.bench.scoring.spec import JudgeSpec

JUDGES = JudgeSpec(tagger="band-tagger", clap="band-clap")


class Here:
    """Runs jobs in this process, one after the other."""

    def __init__(self, interrupt_at: str | None = None) -> None:
        self.interrupt_at = interrupt_at

    def run(self, tasks: Sequence[Task], on_stage: Callable[[Job, str], None]) -> Generator[Outcome, None, None]:
        failed: dict[str, Outcome] = {}
        for task in tasks:
            if isinstance(task.job, CellJob) and task.job.method == self.interrupt_at:
                raise KeyboardInterrupt
            blocker = next((failed[key] for key in task.after if key in failed), None)
            outcome = Outcome(task.job, None, 0.1) if blocker is None else blocked(task, blocker)
            try:
                if blocker is None:
                    run_job(task.job)
            except Exception as error:
                outcome = Outcome(task.job, explain(error), 0.1)
            if outcome.failed:
                failed[task.job.key] = outcome
            yield outcome
