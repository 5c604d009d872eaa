"""Quantizing a backbone block by block: what methods that reconstruct have in common, as steps to be put in order.

A method splits what it wants split, rounds to nearest, and then goes through the blocks as often as its paper does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from admbench.methods.core.calibration.calibration_set import CalibrationSet
from admbench.methods.core.calibration.ranges import BATCH_SIZE, SAMPLED_VALUES, check_finite, sample_values
from admbench.methods.core.layers import temporal
from admbench.methods.core.layers.blocks import (
    Block,
    BlockInputs,
    BlockRuns,
    Unit,
    block_layers,
    execution_order,
    find_blocks,
)
from admbench.methods.core.layers.kinds import QuantizableLayer, over_inputs, quantizable_layers
from admbench.methods.core.layers.policy import Policy, copy_sharing, input_quantizer, replace_layers
from admbench.methods.core.layers.quantized import QuantizedLayer, quantized_layers
from admbench.methods.core.layers.split import split_layers, watching_concatenations
from admbench.methods.core.layers.temporal import TemporalBlock
from admbench.methods.core.numbers.quantizer import Quantizer
from admbench.methods.core.numbers.scheme import LayerScheme, Scheme
from admbench.methods.core.numbers.timesteps import Clock, TimestepTable, clocks_of, timesteps_of_calls
from admbench.methods.core.reconstruction.adaround import AdaRound, learn_weights
from admbench.methods.core.reconstruction.objective import (
    EVALUATED_AT_ONCE,
    BlockReport,
    BlockTask,
    Effort,
    Learner,
    Target,
    learn,
)
from admbench.methods.core.reconstruction.step_sizes import StepSizes, learn_steps
from admbench.methods.protocol import DenoisingModel
from admbench.progress import bar

Fit = Callable[[Scheme, Tensor], Quantizer]
HELD_OUT = 0.2
"""Share of the prompts that is held out unless a method says otherwise."""
TABLE_VALUES = SAMPLED_VALUES // 8
"""Numbers of a layer's input at one timestep that an entry of its table is fitted to."""


class BlockwiseQuantization:
    """One model's backbone on its way from full precision to quantized.

    Args:
        model: in full precision; left as it is.
        samples: calibration samples to reconstruct on. What one block takes and returns for all of them is held, in
            files where it is large.
        held_out: share of their prompts whose samples are not learned from, but tell whether what was learned holds.
        seed: draws the batches, and the prompts that are held out.
        unit: what is reconstructed as a whole: a block, or every layer alone.
    """

    def __init__(
        self,
        model: DenoisingModel,
        samples: CalibrationSet,
        *,
        held_out: float = HELD_OUT,
        seed: int,
        unit: Unit = "block",
    ) -> None:
        samples.check_model(model)
        self._model = model
        self._unit = unit
        self.generator = torch.Generator().manual_seed(seed)
        """Draws whatever is drawn."""
        self._take(samples, held_out)
        self._clock: Clock | None = None
        self._learned: set[str] = set()
        self.original: nn.Module = model.backbone
        """The backbone in full precision, with the layers split that are split."""
        self.module: nn.Module = model.backbone
        """The backbone as quantized so far."""
        self.order = execution_order(model, {name: tensor[:1] for name, tensor in self._batches[0].items()})
        """Names of the layers that run, in that order."""
        self.blocks: list[Block] = []
        """What is reconstructed as a whole, in the order of execution."""
        self.reports: list[BlockReport] = []
        """What was done to each block."""

    @property
    def float_layers(self) -> dict[str, QuantizableLayer]:
        """The layers of the backbone in full precision, by name."""
        return quantizable_layers(self.original)

    def split_concatenations(self) -> dict[str, int]:
        """Split the layers that read two concatenated tensors, see `layers.split`; return them and where."""
        inputs = {name: tensor[:1] for name, tensor in self._batches[0].items()}
        with watching_concatenations(self._model.backbone) as found, torch.no_grad():
            self._model.call_backbone(inputs)
        splits = {name: at for name, at in found.items() if name in self.order}
        shared = [layer.weight for layer in quantizable_layers(self.original).values()]
        self.original = copy_sharing(self.original, shared)
        split_layers(self.original, splits)
        self.order = [
            part for name in self.order for part in ([f"{name}.first", f"{name}.second"] if name in splits else [name])
        ]
        return splits

    def use(self, samples: CalibrationSet, *, held_out: float = HELD_OUT) -> None:
        """Go on with other calibration samples; what was learned stays."""
        samples.check_model(self._model)
        self._take(samples, held_out)
        self._start_runs()

    def round_to_nearest(
        self, policy: Policy, fit_weight: Fit, input_scales: Mapping[str, Tensor] | None = None
    ) -> None:
        """Quantize the weights to the nearest codes; inputs wait for `learn_inputs`.

        Args:
            policy: which layer gets which scheme.
            fit_weight: scheme and weight -> quantizer.
            input_scales: layer -> (in,) that its input is divided by and its weight is multiplied by before.
        """
        scales, nothing = input_scales or {}, torch.tensor(0.0)

        def later(scheme: Scheme, name: str) -> Quantizer | None:
            return Quantizer.from_range(scheme, nothing, nothing) if name in self.order else None

        def make(name: str, layer: QuantizableLayer, scheme: LayerScheme) -> QuantizedLayer | None:
            activation = input_quantizer(name, layer, scheme.activation, later)
            if scheme.activation is not None and activation is None:
                return None
            scale, weight = scales.get(name), layer.weight.detach()
            scaled = None if scale is None else weight * over_inputs(scale, weight)
            fitted = None if scheme.weight is None else fit_weight(scheme.weight, weight if scaled is None else scaled)
            return QuantizedLayer.from_float(layer, fitted, activation, weight=scaled, input_scale=scale)

        self.module = replace_layers(self.original, policy, make)
        self._clock = next(iter(clocks_of(self.module)), None)  # of a network that itself reads the timestep inside
        self._input_schemes: dict[str, Scheme] = {}
        for name, layer in quantized_layers(self.module).items():
            scheme = layer.scheme.activation
            if scheme is not None and not scheme.dynamic:
                layer.activation_quantizer = None
                if name in self.order:
                    self._input_schemes[name] = scheme
        self.blocks = find_blocks(self.module, self.order, self._unit)
        self._start_runs()

    def learn_weights(self, effort: Effort) -> None:
        """Go through the blocks and choose the roundings of their weights; inputs are rounded if they have ranges."""
        originals = self.float_layers

        def learn_block(task: BlockTask) -> BlockReport | None:
            layers = {name: layer for name, layer in task.layers.items() if name not in self._learned}
            if not layers:
                return None
            return learn_weights(replace(task, layers=layers), originals, effort, self.generator)

        self._go_through("Reconstructing weights", effort, learn_block)

    def learn_temporal_block(self, effort: Effort) -> None:
        """Choose the roundings of the layers behind the timestep together, see `admbench.methods.core.layers.temporal`.

        `learn_weights` then leaves these layers as they are. Nothing happens where a backbone has no such block.
        """
        if not TemporalBlock.is_in(self.module):
            return
        module, original = TemporalBlock(self.module), TemporalBlock(self.original)
        blocks = {block.name: block for block in self.blocks}
        inputs = tuple(self._full.inputs(blocks[name]).args[0] for name in module.inputs)
        members = tuple(name for name in self.order if name.startswith(module.prefixes))
        block = Block(temporal.NAME, "temporal", members)
        with torch.no_grad():
            target = original(*inputs)
        rows = BlockInputs(inputs, {}, len(inputs[0]))
        task = replace(self._task(Block("", "temporal", members), rows, target), block=block, module=module)
        self.reports.append(learn_weights(task, self.float_layers, effort, self.generator))
        self._learned.update(members)

    def learn_inputs(self, fit: Fit, effort: Effort, *, per_timestep: bool = False) -> None:
        """Go through the blocks, fit the range of each layer's input, and learn its step size.

        Args:
            fit: scheme and values (1, n) -> quantizer.
            effort: of learning; with 0 iterations ranges stay as fitted.
            per_timestep: fit a range, and learn a step size, for each timestep that there are samples of. A network
                without a timestep among its inputs has one range for all.
        """
        per_timestep = per_timestep and self._timesteps is not None
        if per_timestep:
            self._clock = self._clock or self._make_clock()

        def learn_block(task: BlockTask) -> BlockReport:
            (self._fit_tables if per_timestep else self._fit_inputs)(task, fit)
            return learn_steps(task, effort, self.generator)

        self._go_through("Reconstructing activations", effort, learn_block)

    def learn_jointly(self, fit: Fit, effort: Effort) -> None:
        """Go through the blocks once, fit input ranges, and learn roundings and step sizes side by side.

        Args:
            fit: as of `learn_inputs`.
            effort: `learning_rate` is that of roundings, `step_learning_rate` that of step sizes.
        """
        originals = self.float_layers

        def learn_block(task: BlockTask) -> BlockReport:
            self._fit_inputs(task, fit)
            roundings = AdaRound(task.layers, originals, effort)
            steps = StepSizes(task.layers, effort, effort.step_learning_rate, self.generator)
            return learn(task, [roundings, steps], effort, self.generator)

        self._go_through("Reconstructing weights and activations", effort, learn_block)

    def learn_backbone(self, learners_of: Callable[[BlockTask], Sequence[Learner]], effort: Effort) -> None:
        """Let learners learn in the backbone as a whole, for its prediction in full precision.

        Args:
            learners_of: the task of the whole backbone -> what learns.
            effort: iterations, batches and objective.
        """
        whole = Block("", "backbone", tuple(self.order))
        inputs = BlockRuns(self._model, self.module, [whole], self._batches).inputs(whole)
        target = BlockRuns(self._model, self.original, [whole], self._batches).outputs(whole).returned
        task = self._task(whole, inputs, target)
        self.reports.append(learn(task, learners_of(task), effort, self.generator))

    def _task(
        self, block: Block, inputs: BlockInputs, target: Target, inner: Mapping[str, Tensor] | None = None
    ) -> BlockTask:
        return BlockTask(
            block=block,
            module=self.module.get_submodule(block.name),
            layers=block_layers(self.module, block),
            inputs=inputs,
            target=target,
            held_out=self._held_out,
            inner=inner or {},
            timesteps=self._timesteps,
            clock=self._clock,
        )

    def _take(self, samples: CalibrationSet, held_out: float) -> None:
        samples, self._held_out = _with_held_out_last(samples, held_out, self.generator)
        self._batches = list(samples.batches(BATCH_SIZE))
        self._timesteps = timesteps_of_calls(self._model, self._batches)

    def _start_runs(self) -> None:
        self._full = BlockRuns(self._model, self.original, self.blocks, self._batches)
        self._quantized = BlockRuns(self._model, self.module, self.blocks, self._batches)

    def _make_clock(self) -> Clock:
        """Return a clock that every call of the quantized backbone sets."""
        clock = Clock()
        self.module.register_forward_pre_hook(clock.read_call, with_kwargs=True)
        return clock

    def _fit_inputs(self, task: BlockTask, fit: Fit) -> None:
        """Fit input ranges of a block's layers to what they read when the block runs with rounded weights alone."""
        layers = {name: layer for name, layer in task.layers.items() if name in self._input_schemes}
        for name, values in self._read_by(task, layers, slice(0, task.inputs.rows), SAMPLED_VALUES).items():
            layers[name].activation_quantizer = fit(self._input_schemes[name], values)

    def _fit_tables(self, task: BlockTask, fit: Fit) -> None:
        """Do the same with a range for each timestep of the samples."""
        layers = {name: layer for name, layer in task.layers.items() if name in self._input_schemes}
        assert task.timesteps is not None
        timesteps = task.timesteps.unique().float()  # sorted
        fitted: dict[str, list[Quantizer]] = {name: [] for name in layers}
        for timestep in timesteps:
            rows = torch.nonzero(task.timesteps == timestep).reshape(-1)
            for name, values in self._read_by(task, layers, rows, TABLE_VALUES).items():
                fitted[name].append(fit(self._input_schemes[name], values))
        for name, ranges in fitted.items():
            scale, zero_point = (
                torch.stack([getattr(one, part) for one in ranges]) for part in ("scale", "zero_point")
            )
            layers[name].activation_quantizer = TimestepTable(
                self._input_schemes[name], scale, zero_point, timesteps.clone().to(scale.device), self._clock
            )

    def _read_by(
        self, task: BlockTask, layers: Mapping[str, QuantizedLayer], rows: Tensor | slice, count: int
    ) -> dict[str, Tensor]:
        """Return some `count` of the numbers that layers read, (1, n), when a block runs on some samples."""
        index = torch.arange(task.inputs.rows)[rows]
        parts = index.split(EVALUATED_AT_ONCE)
        seen: dict[str, list[Tensor]] = {name: [] for name in layers}

        def note(name: str, layer: nn.Module, args: tuple[Any, ...]) -> None:
            assert isinstance(layer, QuantizedLayer)
            seen[name].append(sample_values(layer.deflate(layer.prepare_input(args[0])), count // len(parts)))

        hooks = [layer.register_forward_pre_hook(partial(note, name)) for name, layer in layers.items()]
        try:
            with torch.no_grad():
                for part in parts:
                    task.call(part)
        finally:
            for hook in hooks:
                hook.remove()
        joined = {name: torch.cat(values).reshape(1, -1) for name, values in seen.items()}
        for name, values in joined.items():
            check_finite(name, values)
        return joined

    def _go_through(
        self, description: str, effort: Effort, learn_block: Callable[[BlockTask], BlockReport | None]
    ) -> None:
        self._quantized.forget()
        with bar(description, len(self.blocks)) as advance:
            for block in self.blocks:
                # The last layer's output is the block's own, or nearly.
                target = self._full.outputs(block, block.layers[:-1] if effort.inner_weight else ())
                task = self._task(block, self._quantized.inputs(block), target.returned, target.inner)
                report = learn_block(task)
                if report is None:
                    advance(block.name)
                else:
                    self.reports.append(report)
                    advance(f"{block.name}: {report.loss_before:.3g} -> {report.loss_after:.3g}")
        self._quantized.forget()


def _with_held_out_last(
    samples: CalibrationSet, share: float, generator: torch.Generator
) -> tuple[CalibrationSet, int]:
    """Return the samples with those of some prompts at the end, and how many these are: none of a single prompt's."""
    prompts = samples.prompt_index.unique()
    count = round(share * len(prompts))
    if count == 0:
        return samples, 0
    chosen = prompts[torch.randperm(len(prompts), generator=generator)[:count]]
    last = torch.isin(samples.prompt_index, chosen)
    return samples.take(torch.cat([torch.nonzero(~last), torch.nonzero(last)]).reshape(-1)), int(last.sum())
