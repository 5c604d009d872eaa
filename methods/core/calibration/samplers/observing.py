"""Run full-precision trajectories once, record every pair of prompt and step, and measure what layers see of each.

A sampler that chooses by activations does not run the trajectories again: it measures while they run, and takes its
choice from what was recorded. Of activations only the measured numbers are kept; they, and the recorded inputs, are on
disk where they are more than a `RowBuffer` holds in memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from admbench.errors import DataError
from admbench.methods.core.calibration.calibration_set import CalibrationSet
from admbench.methods.core.calibration.row_buffer import RowBuffer
from admbench.methods.core.calibration.samplers.drawing import Counts, Drawing
from admbench.methods.protocol import BackboneCall

Measure = Callable[[nn.Module, Tensor], Tensor]
"""A module and what it takes or returns, (rows, ...) -> float32 (rows, k): numbers of which the larger one counts."""


@dataclass(frozen=True)
class Observed:
    """All pairs of the trajectories, with what was measured of each."""

    pool: CalibrationSet
    """Every pair, recorded once."""
    prompt: NDArray[np.int64]
    """(pairs,), the pair's prompt."""
    step: NDArray[np.int64]
    """(pairs,), the pair's step."""
    measured: Mapping[str, Tensor]
    """Of each module, float32 (pairs, k): the larger one of the numbers of guidance's halves."""
    steps: int
    stepwise: bool
    """False for a network that is not called step by step: there is nothing to choose, and nothing is measured."""

    def choose(self, pairs: NDArray[np.int64], measured: Mapping[str, float]) -> CalibrationSet:
        """Return some pairs as a set, with what is said of the choice."""
        counts = np.zeros((len(self.pool.prompts), self.steps), dtype=np.int64)
        np.add.at(counts, (self.prompt[pairs], self.step[pairs]), 1)
        return self.take(counts, measured)

    def take(self, counts: Counts, measured: Mapping[str, float]) -> CalibrationSet:
        """Return the pairs as often as `counts` says, in the order in which they were recorded."""
        times = counts[self.pool.prompt_index.numpy(), self.pool.step.numpy()]
        rows = torch.from_numpy(np.repeat(np.arange(len(times)), times))
        return replace(self.pool.take(rows), measured=dict(measured))


def observe(
    drawing: Drawing, modules: Mapping[str, nn.Module], measure: Measure, of: Literal["input", "output"] = "input"
) -> Observed:
    """Run a drawing's trajectories with modules of the backbone watched.

    Modules that do not run are not in the answer.

    Raises:
        DataError: the trajectories do not call the backbone once for every step, or what was measured is not finite;
            names the module.
    """
    statistics = RowBuffer()
    labels: tuple[list[int], list[int]] = ([], [])  # prompts, steps
    with _watched(drawing.model.backbone, modules, measure, of) as finished:
        calls, stepwise = drawing.calls()

        def watched(calls: Iterator[BackboneCall]) -> Iterator[BackboneCall]:
            waiting: deque[BackboneCall] = deque()
            for call in calls:
                if call.step < drawing.steps:
                    yield call
                if stepwise:
                    waiting.append(call)
                    _settle(waiting, finished, drawing.steps, statistics, labels)
            _settle(waiting, finished, drawing.steps, statistics, labels)
            if stepwise and (waiting or finished):
                raise DataError(f"{drawing.model.name}: its trajectories do not call the backbone once for every step")

        pool = drawing.stack(watched(calls))
    return Observed(
        pool=pool,
        prompt=np.array(labels[0], dtype=np.int64),
        step=np.array(labels[1], dtype=np.int64),
        measured=statistics.close(),
        steps=drawing.steps,
        stepwise=stepwise,
    )


def _settle(
    waiting: deque[BackboneCall],
    finished: deque[dict[str, Tensor]],
    steps: int,
    statistics: RowBuffer,
    labels: tuple[list[int], list[int]],
) -> None:
    """Keep the numbers of those calls that were yielded and have run: the backbone may run before or after a yield."""
    while waiting and finished:
        call, numbers = waiting.popleft(), finished.popleft()
        if call.step >= steps:
            continue
        halves = 2 if call.guided else 1
        rows = len(call.prompt_indices) * halves
        for name, values in numbers.items():
            if len(values) % rows and len(values) != 1:
                raise DataError(f"{name}: it has {len(values)} rows in a call of {rows}")
            if not bool(torch.isfinite(values).all()):
                raise DataError(f"{name}: what it sees at step {call.step} is NaN or infinite")
            each = values.expand(rows, -1) if len(values) == 1 else values.view(rows, -1, values.shape[1]).amax(1)
            statistics.add(name, each.view(halves, -1, values.shape[1]).amax(0))
        labels[0].extend(call.prompt_indices)
        labels[1].extend([call.step] * len(call.prompt_indices))


@contextmanager
def _watched(
    backbone: nn.Module, modules: Mapping[str, nn.Module], measure: Measure, of: Literal["input", "output"]
) -> Iterator[deque[dict[str, Tensor]]]:
    """Give what was measured in each finished call of the backbone, in the order of the calls."""
    finished: deque[dict[str, Tensor]] = deque()
    running: dict[str, Tensor] = {}

    def see(name: str, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        seen = args[0] if of == "input" else output if isinstance(output, Tensor) else output[0]
        values = measure(module, seen.detach().float())
        running[name] = torch.maximum(running[name], values) if name in running else values

    def finish(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        finished.append(dict(running))
        running.clear()

    hooks = [module.register_forward_hook(partial(see, name)) for name, module in modules.items()]
    hooks.append(backbone.register_forward_hook(finish))
    try:
        yield finished
    finally:
        for hook in hooks:
            hook.remove()
