"""Ranges of activations: what each layer's input holds while the full-precision backbone runs on a calibration set."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from admcore.errors import DataError
from admcore.progress import track
from methods.core.calibration import CalibrationSet
from methods.protocol import DenoisingModel

BATCH_SIZE = 32  # samples in one call of the backbone


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


@torch.no_grad()
def input_ranges(model: DenoisingModel, calibration: CalibrationSet, layers: Iterable[str]) -> dict[str, MinMax]:
    """Return the range of each layer's input over a calibration set, in one pass, in the order in which layers ran.

    Layers that no sample reaches are not in the answer.

    Args:
        model: its backbone must be the full-precision one.
        calibration: drawn from this model.
        layers: names of layers of the backbone.

    Raises:
        UsageError: the set belongs to another model.
        DataError: an input is NaN or infinite; names the layer.
    """
    calibration.check_model(model)
    ranges: dict[str, MinMax] = {}
    hooks = [model.backbone.get_submodule(name).register_forward_pre_hook(_observer(name, ranges)) for name in layers]
    try:
        total = -(-len(calibration) // BATCH_SIZE)
        for inputs in track(calibration.batches(BATCH_SIZE), "Observing activations", total):
            model.call_backbone(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    for name, seen in ranges.items():
        if not bool(torch.isfinite(seen.low) & torch.isfinite(seen.high)):
            raise DataError(f"layer {name}: its input is NaN or infinite on the calibration set")
    return ranges


def _observer(name: str, ranges: dict[str, MinMax]) -> Callable[[nn.Module, tuple[Any, ...]], None]:
    def observe(module: nn.Module, args: tuple[Any, ...]) -> None:
        seen = MinMax.of(args[0])
        if name in ranges:
            ranges[name].widen(seen)
        else:
            ranges[name] = seen

    return observe
