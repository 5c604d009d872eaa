"""A backbone that another package quantized: what its bridge returns, and how its layers differ from full precision."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from admbench.methods.core.backbone import FULL_PRECISION_BITS, LayerReport, QuantizationReport, QuantizedBackbone
from admbench.methods.core.checkpoint.header import Component
from admbench.methods.core.checkpoint.third_party import FLOAT_BITS, ThirdPartyFormat, ThirdPartyLayer, pack
from admbench.methods.core.layers.kinds import quantizable_layers


@dataclass(frozen=True)
class ThirdPartyBackbone(QuantizedBackbone):
    """A backbone as another package left it; packs in that package's format."""

    format: ThirdPartyFormat

    def pack(self, directory: str | Path, component: Component = "backbone") -> None:
        """Write the checkpoint that `load` gives the same module from.

        Raises:
            CheckpointError: the network's class is none that a checkpoint may name, a tensor is not finite, or the
                folder cannot be written.
        """
        pack(directory, self.module, self.format, self.method, self.source, component)


def third_party_report(
    original: nn.Module, module: nn.Module, form: ThirdPartyFormat, seconds: float, *, simulated: bool
) -> QuantizationReport:
    """Compare a backbone that a package quantized with the one in full precision, as `make_report` does for ours."""
    layers, floats = form.describe(module), quantizable_layers(original)
    parameters = sum(parameter.numel() for parameter in original.parameters())
    sizes = {name: (math.prod(layer.shape), layer.weight_bits) for name, layer in layers.items()}
    stored = sum(count for count, _ in sizes.values())
    bits = sum(count * width for count, width in sizes.values()) + (parameters - stored) * FULL_PRECISION_BITS
    return QuantizationReport(
        layers=tuple(
            _report(name, layer, floats[name].weight.detach(), form.weight(module, name))
            for name, layer in layers.items()
        ),
        unquantized=tuple(name for name in floats if name not in layers),
        parameters=parameters,
        quantized_fraction=stored / parameters,
        nominal_bits_per_weight=bits / parameters,
        seconds=seconds,
        blocks=(),
        simulated=simulated,
    )


def _report(name: str, layer: ThirdPartyLayer, original: Tensor, weight: Tensor) -> LayerReport:
    error = torch.mean((weight.cpu() - original.cpu()).double() ** 2).item()
    power = torch.mean(original.double() ** 2).item()
    rounded = layer.activation_bits != FLOAT_BITS
    return LayerReport(
        name=name,
        kind=layer.kind,
        shape=tuple(layer.shape),
        weight_bits=layer.weight_bits,
        weight_granularity=layer.weight_granularity,
        activation_bits=layer.activation_bits if rounded else None,
        activation_granularity=layer.activation_granularity if rounded else None,
        weight_scale_min=None,
        weight_scale_max=None,
        weight_mse=error,
        weight_sqnr_db=10 * math.log10(power / error) if power > 0 and error > 0 else None,
        activation_low=None,
        activation_high=None,
    )
