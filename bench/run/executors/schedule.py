"""Which task is next: tasks in their order, each when those before it have ended, in time linear in their number."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from admbench.bench.run.executors.base import Outcome, Task, blocked


class Schedule:
    """Tasks that are still to be started.

    Args:
        tasks: in the order in which they should start; a prerequisite comes before what needs it.

    Raises:
        ValueError: a task waits for one that is not there.
    """

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._tasks = tasks
        self._then: dict[str, list[int]] = {task.job.key: [] for task in tasks}
        """Key of a task -> places of those that wait for it."""
        self._missing = [len(set(task.after)) for task in tasks]
        """How many tasks each still waits for."""
        self._settled = [False] * len(tasks)
        """Whether each was handed out, or failed with another."""
        self._ready = [place for place, missing in enumerate(self._missing) if not missing]
        for place, task in enumerate(tasks):
            for key in set(task.after):
                if key not in self._then:
                    raise ValueError(f"{task.job.name} waits for {key}, which is no task")
                self._then[key].append(place)

    @property
    def has_ready(self) -> bool:
        """Whether a task can be started."""
        return bool(self._ready)

    def next(self) -> Task | None:
        """Return the first task that can be started, as a task that is started; None if all others have to wait."""
        if not self._ready:
            return None
        place = heapq.heappop(self._ready)
        self._settled[place] = True
        return self._tasks[place]

    def ended(self, outcome: Outcome) -> list[Outcome]:
        """Note how a task ended, and return it with the outcomes of those that never will be: they needed it."""
        outcomes = [outcome]
        for one in outcomes:  # grows while it is walked through
            for place in self._then[one.job.key]:
                self._missing[place] -= 1
                if one.failed and not self._settled[place]:
                    self._settled[place] = True
                    outcomes.append(blocked(self._tasks[place], one))
                elif not self._missing[place] and not self._settled[place]:
                    heapq.heappush(self._ready, place)
        return outcomes
