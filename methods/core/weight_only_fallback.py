"""What a method leaves in floating point of a component beside the backbone: rounded, the weights alone.

Methods quantize the layers that a calibration set shows at work. A text encoder's largest tensor is its table of
tokens, a vocoder has transposed convolutions, and the encoder of an autoencoder makes no sound: without these a
checkpoint shrinks by no more than half. Their weights need no calibration, and their inputs stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import nn

from admbench.errors import CheckpointError
from admbench.methods.core.backbone import QuantizedBackbone, with_more_layers
from admbench.methods.core.calibration.calibration_set import CalibrationSet
from admbench.methods.core.layers.kinds import (
    AnyLayer,
    quantizable_layers,
    replace_shared,
    weight_of,
    weight_only_layers,
)
from admbench.methods.core.layers.quantized import QuantizedLayer
from admbench.methods.core.numbers.fitting import fit_weight
from admbench.methods.core.numbers.scheme import Side, weight_scheme
from admbench.methods.protocol import DenoisingModel


@torch.no_grad()
def apply_weight_only_fallback(
    quantized: QuantizedBackbone, model: DenoisingModel, calibration: CalibrationSet | None, side: Side
) -> QuantizedBackbone:
    """Round what is left of a component's weights to the nearest codes, between the extremes of each output channel.

    These are its embeddings, a scale per row; its transposed convolutions; and Linear and convolution layers that no
    sample of the calibration set reaches. What a method leaves alone of the layers that run stays as it is.

    Args:
        quantized: as the method made it; the layers of its module are replaced in place.
        model: in full precision, with the component in the place of the backbone.
        calibration: what the method quantized with; None if it needed nothing, and so reached every layer.
        side: bits 2..8, 16 to leave everything as it is, or a number format.

    Raises:
        CheckpointError: a weight is not finite; names the layer.
    """
    scheme = weight_scheme(side, "channel")
    if scheme is None:
        return quantized
    left: dict[str, AnyLayer] = {**weight_only_layers(quantized.module)}
    layers = quantizable_layers(quantized.module)
    idle = [name for name in quantized.report.unquantized if name in layers]
    if calibration is not None and idle:
        reached = _reached(model, calibration, idle)
        left |= {name: layers[name] for name in idle if name not in reached}
    for name, layer in left.items():
        weight = weight_of(layer).detach()
        if not bool(torch.isfinite(weight).all()):
            raise CheckpointError(f"layer {name}: its weights hold NaN or infinity and cannot be quantized")
        fitted = fit_weight(scheme.for_terms(weight[0].numel()), weight)
        replace_shared(quantized.module, name, QuantizedLayer.from_float(layer, fitted, None))
    return replace(quantized, report=with_more_layers(quantized.report, quantized.module, left))


def _reached(model: DenoisingModel, calibration: CalibrationSet, names: Iterable[str]) -> set[str]:
    """Return which layers of the full-precision network run on the first sample."""
    reached: set[str] = set()
    hooks = [
        model.backbone.get_submodule(name).register_forward_pre_hook(partial(_note, reached, name)) for name in names
    ]
    try:
        model.call_backbone(next(calibration.batches(1)))
    finally:
        for hook in hooks:
            hook.remove()
    return reached


def _note(reached: set[str], name: str, module: nn.Module, args: tuple[Any, ...]) -> None:
    reached.add(name)
