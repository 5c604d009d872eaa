"""Ranges of activations: what each layer's input holds while the full-precision backbone runs on a calibration set."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from admbench.errors import DataError
from admbench.methods.core.calibration.calibration_set import CalibrationSet
from admbench.methods.protocol import DenoisingModel
from admbench.progress import track

BATCH_SIZE = 32  # samples in one call of the backbone
SAMPLED_VALUES = 2**16  # numbers of a layer's input that a range is searched on


@dataclass
class MinMax:
    """Smallest and largest value seen so far, as float32 scalars."""

    low: Tensor
    high: Tensor

    @classmethod
    def of(cls, values: Tensor) -> MinMax:
        """Return the range of one tensor."""
        low, high = torch.aminmax(values.detach())
        return cls(low.float(), high.float())

    def widen(self, other: MinMax) -> None:
        """Take in another range."""
        self.low = torch.minimum(self.low, other.low)
        self.high = torch.maximum(self.high, other.high)

    def follow(self, other: MinMax, momentum: float) -> None:
        """Move towards another range: the exponential moving average of ranges."""
        self.low = other.low.lerp(self.low, momentum)
        self.high = other.high.lerp(self.high, momentum)


def input_ranges(
    model: DenoisingModel, calibration: CalibrationSet, layers: Iterable[str], *, momentum: float | None = None
) -> dict[str, MinMax]:
    """Return the range of each layer's input over a calibration set, in one pass, in the order in which layers ran.

    Layers that no sample reaches are not in the answer.

    Args:
        model: its backbone must be the full-precision one.
        calibration: drawn from this model.
        layers: names of layers of the backbone.
        momentum: 0..1, to average the ranges of batches exponentially, in the order of the set; None for the range that
            holds everything.

    Raises:
        UsageError: the set belongs to another model.
        DataError: an input is NaN or infinite; names the layer.
    """
    ranges: dict[str, MinMax] = {}

    def widen(name: str, values: Tensor) -> None:
        seen = MinMax.of(values)
        if name not in ranges:
            ranges[name] = seen
        elif momentum is None:
            ranges[name].widen(seen)
        else:
            ranges[name].follow(seen, momentum)

    watch_inputs(model, calibration, layers, widen)
    for name, seen in ranges.items():
        check_finite(name, seen.low + seen.high)
    return ranges


def input_samples(model: DenoisingModel, calibration: CalibrationSet, layers: Iterable[str]) -> dict[str, Tensor]:
    """Return about `SAMPLED_VALUES` numbers of each layer's input, drawn evenly over a calibration set, (1, n) float32.

    The smallest and the largest number of every call are among them. Arguments, order and errors: as `input_ranges`.
    """
    calls = -(-len(calibration) // BATCH_SIZE)
    samples: dict[str, list[Tensor]] = {}
    watch_inputs(
        model,
        calibration,
        layers,
        lambda name, values: samples.setdefault(name, []).append(sample_values(values, SAMPLED_VALUES // calls)),
    )
    joined = {name: torch.cat(parts).reshape(1, -1) for name, parts in samples.items()}
    for name, values in joined.items():
        check_finite(name, values)
    return joined


def sample_values(values: Tensor, count: int) -> Tensor:
    """Return at most `count` + 2 of a tensor's numbers, the same positions each time, its extremes included."""
    flat = values.detach().reshape(-1)
    extremes = torch.stack(torch.aminmax(flat))
    if flat.numel() > count:
        generator = torch.Generator().manual_seed(0)
        flat = flat[torch.randint(flat.numel(), (count,), generator=generator).to(flat.device)]
    return torch.cat([flat, extremes]).float()


def check_finite(name: str, values: Tensor) -> None:
    """Raise DataError, which names the layer, if numbers of its input are NaN or infinite."""
    if not bool(torch.isfinite(values).all()):
        raise DataError(f"layer {name}: its input is NaN or infinite on the calibration set")


@torch.no_grad()
def watch_inputs(
    model: DenoisingModel, calibration: CalibrationSet, layers: Iterable[str], see: Callable[[str, Tensor], None]
) -> None:
    """Run a calibration set through a model and show every input of every layer: `see(layer, values)`."""
    calibration.check_model(model)
    hooks = [model.backbone.get_submodule(name).register_forward_pre_hook(partial(_show, name, see)) for name in layers]
    try:
        total = -(-len(calibration) // BATCH_SIZE)
        for inputs in track(calibration.batches(BATCH_SIZE), "Observing activations", total):
            model.call_backbone(inputs)
    finally:
        for hook in hooks:
            hook.remove()


def _show(name: str, see: Callable[[str, Tensor], None], module: nn.Module, args: tuple[Any, ...]) -> None:
    with torch.inference_mode(False):  # models run in inference mode; what a caller sums up must outlive the call
        see(name, args[0])
