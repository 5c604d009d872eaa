"""Block reconstruction: choose roundings and step sizes so that each block's output stays what it was.

Blocks are taken in the order in which they run. The input of a block is what the blocks before it, as quantized so far,
make of the calibration samples; its target is what it returns in full precision (asymmetric reconstruction, AdaRound,
arXiv 2004.10568, section 4; blocks as in BRECQ, arXiv 2102.05426). The samples' inputs and targets of one block are
held at a time, in files where they are large.

What is learned is said by learners, which may learn side by side:

- `reconstruction.adaround` of weights: down or up, for every weight, instead of to the nearest;
- `reconstruction.step_sizes` of inputs: the step size of each layer's input (LSQ, arXiv 1902.08153).

Learning fits a block to the samples it sees. A layer behind a timestep or a caption embedding sees few distinct inputs,
and hundreds of roundings can be fitted to them that are worse than nearest on any other. So some samples are held out,
and a block whose objective is not lower afterwards, on the samples learned from and on those held out, keeps what it
had: the nearest roundings, the initial step sizes. The papers have no such guard.

Steps are computed in bfloat16 where the processor multiplies it, the block is large enough to gain, and its error is
far below that of quantization; what decides about keeping what was learned is always computed in float32.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from admbench.errors import DataError
from admbench.methods.core.layers.blocks import Block, BlockInputs
from admbench.methods.core.layers.inference import usable_outputs
from admbench.methods.core.layers.memory import leaves
from admbench.methods.core.layers.quantized import QuantizedLayer
from admbench.methods.core.numbers.timesteps import Clock
from admbench.methods.core.processor import has_bf16

EVALUATED_AT_ONCE = 32  # samples in one call of a block outside of learning
BF16_NUMBERS = 2**17
"""Numbers that a block reads in a step from which bfloat16 is faster; with fewer, casts cost more than it saves."""
BF16_NOISE = 0.01
"""A block learns in bfloat16 if the error this makes in its output is below this share of that of quantization."""


@dataclass(frozen=True)
class Effort:
    """How a block is reconstructed. Defaults are those of Q-Diffusion's released code."""

    iterations: int
    """Steps of gradient descent; 0 leaves everything at nearest."""
    batch_size: int = 8
    """Samples in a step."""
    learning_rate: float = 1e-3
    """Of Adam: of roundings, or of step sizes where these are learned alone. Constant for weights, falling to 0 along
    a cosine for step sizes."""
    step_learning_rate: float = 4e-4
    """Of step sizes where they are learned together with roundings."""
    round_weight: float = 0.01
    """Weight of the term that drives soft roundings to 0 or 1; 0 leaves it out."""
    warm_up: float = 0.2
    """Share of the iterations without that term."""
    beta: tuple[float, float] = (20.0, 2.0)
    """Its exponent at the end of the warm-up and at the end, linear in between."""
    power: float = 2.0
    """p of the objective sum |error|**p."""
    drop: float = 0.0
    """Probability that an input number stays in full precision in a step (QDrop, arXiv 2203.05740)."""
    inner_weight: float = 0.0
    """Weight of the objectives of the block's layers but the last, added to that of the block (EDA-DM, 2401.04585)."""


@dataclass(frozen=True)
class BlockReport:
    """What reconstruction did to one block."""

    block: str
    kind: str
    """`resnet`, `transformer`, `layer`; `temporal`: all layers behind the timestep's embedding; `backbone`: all."""
    learned: str
    """What its learners call it: `weights`, `activations`, `transform`, `bounds`; several joined by `+`."""
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
    bf16: bool = False
    """True if steps were computed in bfloat16."""


Target = Tensor | tuple[Tensor, ...]


@dataclass(frozen=True)
class BlockTask:
    """A block, what it is called with, and what it should return."""

    block: Block
    module: nn.Module
    """The block itself, quantized."""
    layers: Mapping[str, QuantizedLayer]
    """Its quantized layers by name."""
    inputs: BlockInputs
    target: Target
    """(samples, ...), what it returns in full precision; a tuple where it returns several tensors."""
    held_out: int = 0
    """Samples at the end that are not learned from; fewer than there are."""
    inner: Mapping[str, Tensor] = field(default_factory=dict)
    """(samples, ...), what some of its layers return in full precision; for `Effort.inner_weight`."""
    timesteps: Tensor | None = None
    """(samples,), that the backbone was conditioned on; needed where there is a clock."""
    clock: Clock | None = None
    """What tables over timesteps inside of the block read."""

    @property
    def learned(self) -> int:
        """Number of samples that are learned from, the first ones."""
        return self.inputs.rows - self.held_out

    def losses(self, power: float = 2.0) -> Losses:
        """Return the objective as the block is now, that of its output alone.

        Raises:
            DataError: it is not finite; names the block.
        """
        learned = self._checked(self._loss(slice(0, self.learned), power))
        if not self.held_out:
            return Losses(learned, None)
        return Losses(learned, self._checked(self._loss(slice(self.learned, self.inputs.rows), power)))

    def call(self, index: Tensor | slice) -> Any:
        """Call the block as it is now on some samples and return what it returns."""
        if self.clock is not None and self.timesteps is not None:
            self.clock.set(self.timesteps[index])
        args, kwargs = self.inputs.take(index)
        return self.module(*args, **kwargs)

    @torch.no_grad()
    def run(self, rows: slice) -> Iterator[tuple[slice, Any]]:
        """Call the block on samples from one to before another, some at a time; yield which and what it returns."""
        for start in range(rows.start, rows.stop, EVALUATED_AT_ONCE):
            some = slice(start, min(start + EVALUATED_AT_ONCE, rows.stop))
            yield some, self.call(some)

    def _loss(self, rows: slice, power: float) -> float:
        losses = (
            objective(output, taken(self.target, some), power).item() * (some.stop - some.start)
            for some, output in self.run(rows)
        )
        return sum(losses) / (rows.stop - rows.start)

    def descend(self, effort: Effort, generator: torch.Generator, *, bf16: bool = False) -> None:
        """Leave the gradient of the objective on a random batch, computed in bfloat16 or not; errors as `losses`."""
        # each sample at most once, as the papers' code draws them
        index = torch.randperm(self.learned, generator=generator)[: effort.batch_size]
        watched = {name: self.layers[name] for name in self.inner if effort.inner_weight}
        with _watched(watched) as seen, self._autocast(bf16):
            output = self.call(index)
        loss = objective(output, taken(self.target, index), effort.power)
        for name, values in seen.items():
            loss = loss + effort.inner_weight * objective(values, self.inner[name][index], effort.power)
        self._checked(loss.item())
        loss.backward()

    @torch.no_grad()
    def gains_from_bf16(self, effort: Effort, loss: float) -> bool:
        """Return whether steps are to be computed in bfloat16, `loss` being the objective in float32."""
        some = slice(0, min(effort.batch_size, self.learned))
        tensors = [leaf for leaf in leaves(self.inputs.take(some)) if isinstance(leaf, Tensor)]
        numbers = sum(tensor.numel() for tensor in tensors if tensor.is_floating_point())
        if not tensors or numbers < BF16_NUMBERS or not has_bf16(tensors[0].device):
            return False
        exact = tuple(leaf for leaf in leaves(self.call(some)) if isinstance(leaf, Tensor))
        with self._autocast(True):
            rough = self.call(some)
        return objective(rough, exact, effort.power).item() < BF16_NOISE * loss

    def _autocast(self, enabled: bool) -> torch.autocast:
        target = self.target if isinstance(self.target, Tensor) else self.target[0]
        return torch.autocast(target.device.type, torch.bfloat16, enabled=enabled)

    def _checked(self, loss: float) -> float:
        if not math.isfinite(loss):
            raise DataError(
                f"block {self.block.name or self.block.kind}: its reconstruction error is {loss}, not a finite number"
            )
        return loss


class Losses(NamedTuple):
    """An objective on the samples learned from and on those held out."""

    learned: float
    held_out: float | None

    def below(self, other: Losses) -> bool:
        """Return whether both are lower than another's."""
        better = self.learned < other.learned
        return better and (self.held_out is None or other.held_out is None or self.held_out < other.held_out)


class Learner(ABC):
    """Something of a block that gradient descent changes. It is made before learning starts, and used once."""

    learned: str
    """What it learns, in a word, for the report."""

    @property
    def idle(self) -> bool:
        """Whether there is nothing to learn in this block."""
        return False

    @property
    def parameters(self) -> Sequence[nn.Parameter]:
        """Those of its parameters that are among the block's own."""
        return ()

    @abstractmethod
    def prepare(self) -> None:
        """Let the block compute with what is learned so far; called before each step, and drops old gradients."""

    @abstractmethod
    def step(self, progress: float) -> None:
        """Move by the gradient that a call of the block has left.

        Args:
            progress: share of the iterations that was done before, 0 to less than 1.
        """

    @abstractmethod
    def finish(self) -> None:
        """Give the block what was learned, for good."""

    @abstractmethod
    def undo(self) -> None:
        """Give the block back what it had when this was made."""


def learn(task: BlockTask, learners: Sequence[Learner], effort: Effort, generator: torch.Generator) -> BlockReport:
    """Let some learners learn side by side; what they had comes back if the objective is not lower afterwards.

    Args:
        task: a block as it is before.
        learners: made for it.
        effort: iterations, batches and objective.
        generator: draws the samples of a step.

    Raises:
        DataError: the objective is not finite; names the block.
    """
    started = time.perf_counter()
    before = after = task.losses(effort.power)
    busy = [learner for learner in learners if not learner.idle]
    bf16 = bool(effort.iterations and busy) and task.gains_from_bf16(effort, before.learned)
    if effort.iterations and busy:
        learned = [parameter for learner in busy for parameter in learner.parameters]
        with usable_outputs(task.module), _frozen(task.module, but=learned):
            for iteration in range(effort.iterations):
                iterate(task, busy, effort, generator, iteration / effort.iterations, bf16=bf16)
        for learner in busy:
            learner.finish()
        after = task.losses(effort.power)
    kept = not after.below(before)
    if kept:
        for learner in busy:
            learner.undo()
    now = before if kept else after
    return BlockReport(
        block=task.block.name or task.block.kind,
        kind=task.block.kind,
        learned="+".join(learner.learned for learner in busy or learners),
        iterations=effort.iterations,
        loss_before=before.learned,
        loss_after=now.learned,
        held_out_before=before.held_out,
        held_out_after=now.held_out,
        kept=kept,
        seconds=time.perf_counter() - started,
        bf16=bf16,
    )


def iterate(
    task: BlockTask,
    learners: Sequence[Learner],
    effort: Effort,
    generator: torch.Generator,
    progress: float,
    *,
    bf16: bool = False,
) -> None:
    """Take one step of `learn`, `progress` being the share of the iterations that is done."""
    for learner in learners:
        learner.prepare()
    task.descend(effort, generator, bf16=bf16)
    for learner in learners:
        learner.step(progress)


def objective(output: Any, target: Target, power: float = 2.0) -> Tensor:
    """Return |output - target|**p summed over channels and averaged over samples and positions, a scalar.

    Channels are dimension 1, or the last of (samples, tokens, channels), whose sum Q-Diffusion's released code takes
    over the tokens instead. Where there are several tensors, their objectives are added.
    """
    targets = (target,) if isinstance(target, Tensor) else target
    outputs = [leaf for leaf in leaves(output) if isinstance(leaf, Tensor)]
    total = torch.zeros((), device=targets[0].device)
    for one, wanted in zip(outputs, targets, strict=True):
        channels = wanted.shape[-1] if wanted.ndim == 3 else wanted.shape[1]
        error = one - wanted
        total = total + (error.square() if power == 2 else error.abs().pow(power)).mean() * channels
    return total


def taken(target: Target, index: Tensor | slice) -> Target:
    """Return some samples of a target."""
    return target[index] if isinstance(target, Tensor) else tuple(tensor[index] for tensor in target)


def mix(exact: Tensor, rounded: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Return `rounded` with a random share of its numbers taken from `exact`."""
    return torch.where(torch.rand(exact.shape, generator=generator).to(exact.device) < share, exact, rounded)


@contextmanager
def _watched(layers: Mapping[str, nn.Module]) -> Iterator[dict[str, Tensor]]:
    """Give what each layer returns inside of the context."""
    seen: dict[str, Tensor] = {}

    def note(name: str, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        seen[name] = output

    hooks = [layer.register_forward_hook(partial(note, name)) for name, layer in layers.items()]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


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
