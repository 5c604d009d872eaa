"""Learned step sizes: how wide the steps are that inputs are rounded to (LSQ, Esser et al., arXiv 1902.08153)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from admbench.methods.core.layers.quantized import QuantizedLayer
from admbench.methods.core.numbers.quantizer import Quantizer, fake_quantize
from admbench.methods.core.numbers.timesteps import TimestepTable
from admbench.methods.core.reconstruction.objective import BlockReport, BlockTask, Effort, Learner, learn, mix

SMALLEST_FACTOR = 0.01
"""A step size shrinks no further, relative to where it started."""


class LearnedStep(Quantizer):
    """A quantizer of inputs whose step size is learned, relative to where it started; the zero point stays.

    Relative, because one learning rate is to fit step sizes that differ by orders of magnitude; Q-Diffusion's released
    code learns the step sizes themselves.

    Args:
        start: where it starts.
        drop: probability that a number stays as it is.
        generator: draws which.
    """

    def __init__(self, start: Quantizer, drop: float, generator: torch.Generator) -> None:
        super().__init__(start.scheme, start.scale, start.zero_point)
        self.factor = nn.Parameter(torch.ones_like(start.scale))
        self._drop = drop
        self._generator = generator

    def fake_quantize(self, values: Tensor) -> Tensor:
        """Return `values` rounded, with a gradient for the step size; some stay as they are if inputs are dropped."""
        rounded = fake_quantize(values, self.scheme, self._learned_scale(), self.zero_point)
        return rounded if self._drop == 0 else mix(values, rounded, self._drop, self._generator)

    def fitted(self) -> Quantizer:
        """Return a quantizer with the step size learned so far."""
        return Quantizer(self.scheme, self._learned_scale().detach().clone(), self.zero_point)

    def _learned_scale(self) -> Tensor:
        return self.scale * self.factor.clamp(min=SMALLEST_FACTOR)


class LearnedTable(TimestepTable):
    """A table over timesteps whose step sizes are learned, each relative to where it started; see `LearnedStep`."""

    def __init__(self, start: TimestepTable, drop: float, generator: torch.Generator) -> None:
        super().__init__(start.scheme, start.scale, start.zero_point, start.timesteps, start.clock)
        self.factor = nn.Parameter(torch.ones_like(start.scale))
        self._start, self._drop, self._generator = start.scale, drop, generator

    def fake_quantize(self, values: Tensor) -> Tensor:
        """See `LearnedStep`."""
        self.scale = self._learned_scale()
        rounded = super().fake_quantize(values)
        return rounded if self._drop == 0 else mix(values, rounded, self._drop, self._generator)

    def fitted(self) -> TimestepTable:
        """Return a table with the step sizes learned so far."""
        scale = self._learned_scale().detach().clone()
        return TimestepTable(self.scheme, scale, self.zero_point, self.timesteps, self.clock)

    def _learned_scale(self) -> Tensor:
        return self._start * self.factor.clamp(min=SMALLEST_FACTOR)


class StepSizes(Learner):
    """The step sizes of the inputs of some layers, by Adam, its rate falling to 0 along a cosine.

    Args:
        layers: quantized layers by name; those whose input is not rounded, or to a dynamic scheme, are passed over.
        effort: how many of the numbers are dropped.
        learning_rate: of the step sizes, relative to where they start.
        generator: draws which numbers are dropped.
    """

    learned = "activations"

    def __init__(
        self, layers: Mapping[str, QuantizedLayer], effort: Effort, learning_rate: float, generator: torch.Generator
    ) -> None:
        quantizers = ((layer, layer.activation_quantizer) for layer in layers.values())
        self._starts = [(layer, start) for layer, start in quantizers if start is not None and not start.scheme.dynamic]
        self._steps = [
            LearnedTable(start, effort.drop, generator)
            if isinstance(start, TimestepTable)
            else LearnedStep(start, effort.drop, generator)
            for _, start in self._starts
        ]
        self._optimizer = None if self.idle else torch.optim.Adam(self.parameters, lr=learning_rate)
        self._rate = learning_rate

    @property
    def idle(self) -> bool:
        """See `Learner`."""
        return not self._steps

    @property
    def parameters(self) -> Sequence[nn.Parameter]:
        """One factor a layer."""
        return [step.factor for step in self._steps]

    def prepare(self) -> None:
        """See `Learner`."""
        for (layer, _), step in zip(self._starts, self._steps, strict=True):
            layer.activation_quantizer = step
            step.factor.grad = None

    def step(self, progress: float) -> None:
        """See `Learner`."""
        if self._optimizer is not None:
            self._optimizer.param_groups[0]["lr"] = self._rate * (1 + math.cos(math.pi * progress)) / 2
            self._optimizer.step()

    def finish(self) -> None:
        """See `Learner`."""
        for (layer, _), step in zip(self._starts, self._steps, strict=True):
            layer.activation_quantizer = step.fitted()

    def undo(self) -> None:
        """See `Learner`."""
        for layer, start in self._starts:
            layer.activation_quantizer = start


def learn_steps(task: BlockTask, effort: Effort, generator: torch.Generator) -> BlockReport:
    """Learn the step sizes of the inputs of a block's layers.

    Args:
        task: a block whose layers' inputs have quantizers.
        effort: how.
        generator: draws the samples of a step, and what is dropped.

    Raises:
        DataError: the objective is not finite; names the block.
    """
    return learn(task, [StepSizes(task.layers, effort, effort.learning_rate, generator)], effort, generator)
