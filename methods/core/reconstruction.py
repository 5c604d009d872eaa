"""Block reconstruction: choose roundings and step sizes so that each block's output stays what it was.

Blocks are taken in the order in which they run. The input of a block is what the blocks before it, as quantized so far,
make of the calibration samples; its target is what it returns in full precision (asymmetric reconstruction, AdaRound,
arXiv 2004.10568, section 4; blocks as in BRECQ, arXiv 2102.05426). The samples' inputs and targets of one block are in
memory at a time.

What is learned:

- `AdaRound` of weights: down or up, for every weight, instead of to the nearest;
- `LearnedStep` of inputs: the step size of each layer's input (LSQ, arXiv 1902.08153).

Learning fits a block to the samples it sees. A layer behind a timestep or a caption embedding sees few distinct inputs,
and hundreds of roundings can be fitted to them that are worse than nearest on any other. So some samples are held out,
and a block whose objective is not lower afterwards, on the samples learned from and on those held out, keeps what it
had: the nearest roundings, the initial step sizes. The papers have no such guard.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from admcore.errors import DataError
from methods.core.blocks import Block, BlockInputs
from methods.core.layers import QuantizableLayer, QuantizedLayer
from methods.core.quantizer import Quantizer, along, fake_quantize

EVALUATED_AT_ONCE = 32  # samples in one call of a block outside of learning
ZETA, GAMMA = 1.1, -0.1
"""Ends of the rectified sigmoid (AdaRound, eq. 23): it reaches 0 and 1 at finite arguments."""


@dataclass(frozen=True)
class Effort:
    """How a block is reconstructed. Defaults are those of Q-Diffusion's released code."""

    iterations: int
    """Steps of gradient descent; 0 leaves everything at nearest."""
    batch_size: int = 8
    """Samples in a step."""
    learning_rate: float = 1e-3
    """Of Adam; constant for weights, falling to 0 along a cosine for step sizes."""
    round_weight: float = 0.01
    """Weight of the term that drives soft roundings to 0 or 1."""
    warm_up: float = 0.2
    """Share of the iterations without that term."""
    beta: tuple[float, float] = (20.0, 2.0)
    """Its exponent at the end of the warm-up and at the end, linear in between."""
    power: float = 2.0
    """p of the objective sum |error|**p."""
    drop: float = 0.0
    """Probability that an input number stays in full precision in a step (QDrop, arXiv 2203.05740)."""


@dataclass(frozen=True)
class BlockReport:
    """What reconstruction did to one block."""

    block: str
    kind: str
    """`resnet`, `transformer` or `layer`."""
    learned: str
    """`weights` or `activations`."""
    iterations: int
    loss_before: float
    """Objective with nearest roundings and initial step sizes, on the samples learned from."""
    loss_after: float
    """Objective with what is in the block now; never larger."""
    held_out_before: float | None
    """The same on the samples held out; None if there are none."""
    held_out_after: float | None
    """Never larger either."""
    kept: bool
    """True if learning did not lower both, and the block is as before."""
    seconds: float


@dataclass(frozen=True)
class BlockTask:
    """A block, what it is called with, and what it should return."""

    block: Block
    module: nn.Module
    """The block itself, quantized."""
    layers: Mapping[str, QuantizedLayer]
    """Its quantized layers by name."""
    inputs: BlockInputs
    target: Tensor
    """(samples, ...), what it returns in full precision."""
    held_out: int = 0
    """Samples at the end that are not learned from; fewer than there are."""

    @property
    def learned(self) -> int:
        """Number of samples that are learned from, the first ones."""
        return self.inputs.rows - self.held_out

    def losses(self, power: float = 2.0) -> Losses:
        """Return the objective as the block is now.

        Raises:
            DataError: it is not finite; names the block.
        """
        learned = self._checked(evaluate(self.module, self.inputs, self.target, slice(0, self.learned), power))
        if not self.held_out:
            return Losses(learned, None)
        rest = slice(self.learned, self.inputs.rows)
        return Losses(learned, self._checked(evaluate(self.module, self.inputs, self.target, rest, power)))

    def descend(self, effort: Effort, generator: torch.Generator) -> None:
        """Leave the gradient of the objective on a random batch; errors as `losses`."""
        index = torch.randint(self.learned, (effort.batch_size,), generator=generator).to(self.target.device)
        args, kwargs = self.inputs.take(index)
        loss = objective(self.module(*args, **kwargs), self.target[index], effort.power)
        self._checked(loss.item())
        loss.backward()

    def _checked(self, loss: float) -> float:
        if not math.isfinite(loss):
            raise DataError(f"block {self.block.name}: its reconstruction error is {loss}, not a finite number")
        return loss


class Losses(NamedTuple):
    """An objective on the samples learned from and on those held out."""

    learned: float
    held_out: float | None

    def below(self, other: Losses) -> bool:
        """Return whether both are lower than another's."""
        better = self.learned < other.learned
        return better and (self.held_out is None or other.held_out is None or self.held_out < other.held_out)


class AdaRound:
    """Learned roundings of the weights of some layers (arXiv 2004.10568).

    A soft weight is s * clamp(floor(w/s) + h(a)) with h(a) = clamp(sigmoid(a) * (zeta - gamma) + gamma, 0, 1). It
    starts at the weight itself, up to clipping, and ends at one of its two neighbours: up where a >= 0.

    The weights of all layers are one flat vector. They are computed once a step, and the gradient with respect to `a`
    is written out, so that a step costs a dozen passes over it whatever the number of layers.

    Args:
        layers: quantized layers by name; their codes are replaced by `harden`.
        weights: full-precision weight of each.
        effort: learning rate and rounding term.
    """

    def __init__(self, layers: Mapping[str, QuantizedLayer], weights: Mapping[str, Tensor], effort: Effort) -> None:
        self._layers = {name: layer for name, layer in layers.items() if layer.weight_quantizer is not None}
        self._shapes = [layer.shape for layer in self._layers.values()]
        self._effort = effort
        pieces = [_Neighbours.of(layer, weights[name]) for name, layer in self._layers.items()]
        self._steps, self._free, scale, rest = (
            torch.cat([getattr(piece, name).reshape(-1) for piece in pieces])
            for name in ("steps", "free", "scale", "rest")
        )
        self._base = self._steps * scale
        self._span = scale.mul_(self._free)
        self._alpha = nn.Parameter(-torch.log((ZETA - GAMMA) / (rest - GAMMA) - 1))
        self._optimizer = torch.optim.Adam([self._alpha], lr=effort.learning_rate, fused=True)
        self._sigmoid, self._raw, self._height = (torch.empty_like(rest) for _ in range(3))
        self._soft = self._base

    @torch.no_grad()
    def soften(self) -> None:
        """Let the layers compute with soft weights."""
        torch.sigmoid(self._alpha, out=self._sigmoid)
        torch.mul(self._sigmoid, ZETA - GAMMA, out=self._raw).add_(GAMMA)
        torch.clamp(self._raw, 0, 1, out=self._height)
        self._soft = torch.addcmul(self._base, self._height, self._span).requires_grad_()
        with torch.enable_grad():
            parts = self._soft.split([math.prod(shape) for shape in self._shapes])
            for layer, part, shape in zip(self._layers.values(), parts, self._shapes, strict=True):
                layer.substitute_weight(part.view(shape))

    @torch.no_grad()
    def step(self, progress: float) -> None:
        """Move the roundings by the gradient that the soft weights have now.

        Args:
            progress: share of the iterations that is done, 0..1.
        """
        assert self._soft.grad is not None
        gradient = self._soft.grad.mul_(self._span)  # by h
        effort = self._effort
        if progress >= effort.warm_up:
            # The term is round_weight * sum(1 - |2h - 1|**beta); added is its derivative by h. The power through
            # logarithms, half the time of `pow`; where h = 1/2 it is exp(-inf) = 0.
            start, end = effort.beta
            beta = start + (end - start) * (progress - effort.warm_up) / (1 - effort.warm_up)
            centred = self._height.mul_(2).sub_(1)
            size = centred.abs().log_().mul_(beta - 1).exp_()
            gradient.add_(torch.copysign(size, centred, out=size), alpha=-2 * beta * effort.round_weight)
        gradient = torch.ops.aten.hardtanh_backward(gradient, self._raw, 0, 1)  # h is cut off at 0 and 1
        self._alpha.grad = torch.ops.aten.sigmoid_backward(gradient, self._sigmoid).mul_(ZETA - GAMMA)
        self._optimizer.step()

    @torch.no_grad()
    def harden(self) -> None:
        """Give the layers the codes that the roundings now say."""
        steps = self._steps + self._free * (self._alpha >= 0)
        parts = steps.split([math.prod(shape) for shape in self._shapes])
        for layer, part, shape in zip(self._layers.values(), parts, self._shapes, strict=True):
            assert layer.weight_quantizer is not None
            whole = part.view(shape)
            layer.set_codes((whole + along(layer.weight_quantizer.zero_point, whole)).to(torch.uint8))


@dataclass(frozen=True)
class _Neighbours:
    """Where the weights of a layer lie between the steps of their quantizer, all expanded to the weight's shape."""

    steps: Tensor
    """The step below, or the last one within the reach of the codes."""
    rest: Tensor
    """Share of a step that is left, 0..1."""
    free: Tensor
    """1 where the step above is within reach, too; 0 where the weight is clipped, and there is nothing to choose."""
    scale: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, layer: QuantizedLayer, weight: Tensor) -> _Neighbours:
        quantizer = layer.weight_quantizer
        assert quantizer is not None
        scheme, scale = quantizer.scheme, along(quantizer.scale, weight)
        zero = along(quantizer.zero_point, weight).to(weight.dtype)
        low, high = scheme.code_min - zero, scheme.code_max - zero
        ratio = weight.detach() * scale.reciprocal()
        floor = ratio.floor()
        free = ((floor >= low) & (floor < high)).to(weight.dtype)
        return cls(torch.clamp(floor, low, high), ratio - floor, free, scale.expand_as(weight))


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
        return self.scale * self.factor.clamp(min=0.01)


def mix(exact: Tensor, rounded: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Return `rounded` with a random share of its numbers taken from `exact`."""
    return torch.where(torch.rand(exact.shape, generator=generator).to(exact.device) < share, exact, rounded)


def objective(output: Tensor, target: Tensor, power: float = 2.0) -> Tensor:
    """Return |output - target|**p summed over channels and averaged over samples and positions, a scalar.

    Channels are dimension 1, or the last of (samples, tokens, channels), whose sum Q-Diffusion's released code takes
    over the tokens instead.
    """
    channels = target.shape[-1] if target.ndim == 3 else target.shape[1]
    error = output - target
    return (error.square() if power == 2 else error.abs().pow(power)).mean() * channels


@torch.no_grad()
def evaluate(module: nn.Module, inputs: BlockInputs, target: Tensor, rows: slice, power: float = 2.0) -> float:
    """Return the objective of a block over some samples, `rows` being from one to before another."""
    total = 0.0
    for start in range(rows.start, rows.stop, EVALUATED_AT_ONCE):
        some = slice(start, min(start + EVALUATED_AT_ONCE, rows.stop))
        args, kwargs = inputs.take(some)
        total += objective(module(*args, **kwargs), target[some], power).item() * len(target[some])
    return total / (rows.stop - rows.start)


def learn_weights(
    task: BlockTask, originals: Mapping[str, QuantizableLayer], effort: Effort, generator: torch.Generator
) -> BlockReport:
    """Choose the roundings of a block's weights; inputs of its layers are rounded if they have a quantizer.

    Args:
        task: a block at nearest codes.
        originals: its layers in full precision, by name.
        effort: how.
        generator: draws the samples of a step.

    Raises:
        DataError: the objective is not finite; names the block.
    """
    started = time.perf_counter()
    weighted = {name: layer for name, layer in task.layers.items() if layer.weight_quantizer is not None}
    nearest = {name: layer.weight_codes for name, layer in weighted.items()}
    before = after = task.losses(effort.power)
    if weighted and effort.iterations:
        rounding = AdaRound(weighted, {name: originals[name].weight for name in weighted}, effort)
        with _frozen(task.module):
            for iteration in range(effort.iterations):
                rounding.soften()
                task.descend(effort, generator)
                rounding.step(iteration / effort.iterations)
        rounding.harden()
        after = task.losses(effort.power)
    if not after.below(before):
        for name, codes in nearest.items():
            assert codes is not None
            weighted[name].set_codes(codes)
    return _report(task.block, "weights", effort, before, after, started)


def learn_steps(task: BlockTask, effort: Effort, generator: torch.Generator) -> BlockReport:
    """Learn the step sizes of the inputs of a block's layers; arguments and errors as `learn_weights`."""
    started = time.perf_counter()
    layers = task.layers
    starts = {
        name: layer.activation_quantizer for name, layer in layers.items() if layer.activation_quantizer is not None
    }
    before = after = task.losses(effort.power)
    if starts and effort.iterations:
        steps = {name: LearnedStep(start, effort.drop, generator) for name, start in starts.items()}
        optimizer = torch.optim.Adam([step.factor for step in steps.values()], lr=effort.learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, effort.iterations)
        for name, step in steps.items():
            layers[name].activation_quantizer = step
        with _frozen(task.module, but=[step.factor for step in steps.values()]):
            for _ in range(effort.iterations):
                optimizer.zero_grad()
                task.descend(effort, generator)
                optimizer.step()
                schedule.step()
        for name, step in steps.items():
            layers[name].activation_quantizer = step.fitted()
        after = task.losses(effort.power)
    if not after.below(before):
        for name, start in starts.items():
            layers[name].activation_quantizer = start
    return _report(task.block, "activations", effort, before, after, started)


@contextmanager
def _frozen(module: nn.Module, but: Sequence[nn.Parameter] = ()) -> Iterator[None]:
    """Compute gradients of what is learned alone, not of the other parameters of a module."""
    learned = {id(parameter) for parameter in but}
    frozen = [
        parameter for parameter in module.parameters() if parameter.requires_grad and id(parameter) not in learned
    ]
    try:
        for parameter in frozen:
            parameter.requires_grad_(False)
        with torch.enable_grad():
            yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)


def _report(block: Block, learned: str, effort: Effort, before: Losses, after: Losses, started: float) -> BlockReport:
    kept = not after.below(before)
    now = before if kept else after
    return BlockReport(
        block=block.name,
        kind=block.kind,
        learned=learned,
        iterations=effort.iterations,
        loss_before=before.learned,
        loss_after=now.learned,
        held_out_before=before.held_out,
        held_out_after=now.held_out,
        kept=kept,
        seconds=time.perf_counter() - started,
    )
