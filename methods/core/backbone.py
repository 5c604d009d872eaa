"""The product of a method: a quantized backbone, a report on every layer, and where it came from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from admbench.methods.core.checkpoint.header import Component, MethodHeader, SourceHeader
from admbench.methods.core.checkpoint.writing import pack
from admbench.methods.core.layers.kinds import AnyLayer, quantizable_layers, weight_of
from admbench.methods.core.layers.quantized import QuantizedLayer, quantized_layers
from admbench.methods.core.reconstruction.objective import BlockReport

FULL_PRECISION_BITS = 32


@dataclass(frozen=True)
class LayerReport:
    """One quantized layer; None where a side is left in floating point."""

    name: str
    kind: str
    """`linear`, `conv1d`, `conv2d`, `conv_transpose1d`, `conv_transpose2d` or `embedding`."""
    shape: tuple[int, ...]
    """Shape of the weight, output channels first."""
    weight_bits: int | None
    weight_granularity: str | None
    activation_bits: int | None
    activation_granularity: str | None
    """`tensor`, or that of a dynamic scheme."""
    weight_scale_min: float | None
    """Smallest scale of the weight's channels."""
    weight_scale_max: float | None
    """Largest scale of the weight's channels."""
    weight_mse: float | None
    """Mean squared error of the weight, with what a folded scale and a low-rank branch make of it."""
    weight_sqnr_db: float | None
    """Mean square of the weight over that of its error, dB; None also where the error is zero."""
    activation_low: float | None
    """Smallest input that the codes express."""
    activation_high: float | None
    """Largest input that the codes express."""


@dataclass(frozen=True)
class QuantizationReport:
    """What quantization did to a backbone."""

    layers: tuple[LayerReport, ...]
    """Quantized layers, in the order of their definition."""
    unquantized: tuple[str, ...]
    """Linear and convolution layers that were left alone: the policy says so, or no calibration sample reached them."""
    parameters: int
    """Numbers that the full-precision backbone learns."""
    quantized_fraction: float
    """Share of the parameters that is stored in fewer than 32 bits."""
    nominal_bits_per_weight: float
    """Stored bits by parameter, biases, norms and low-rank branches included, scales and headers not."""
    seconds: float
    """Time that quantization took, calibration not included."""
    blocks: tuple[BlockReport, ...]
    """What reconstruction did to each block, in the order in which it was done; empty without reconstruction."""
    simulated: bool
    """True if the module computes in floating point what integers would."""

    def layers_as_json(self) -> list[dict[str, Any]]:
        """Return the layers as JSON values, for a result record."""
        return [asdict(layer) | {"shape": list(layer.shape)} for layer in self.layers]

    def blocks_as_json(self) -> list[dict[str, Any]]:
        """Return what reconstruction did to each block as JSON values."""
        return [asdict(block) for block in self.blocks]


@dataclass(frozen=True)
class QuantizedBackbone:
    """A backbone as a method left it."""

    module: nn.Module
    """Takes the place of the model's backbone: same class, same call, its layers replaced."""
    report: QuantizationReport
    method: MethodHeader
    """The method and its configuration."""
    source: SourceHeader
    """The model that was quantized."""

    def pack(self, directory: str | Path, component: Component = "backbone") -> None:
        """Write the packed checkpoint that `checkpoint.reading.load` gives the same module from; raises like `pack`."""
        pack(directory, self.module, self.method, self.source, component)


def make_report(
    original: nn.Module, quantized: nn.Module, seconds: float, blocks: Sequence[BlockReport] = ()
) -> QuantizationReport:
    """Compare a quantized backbone with the full-precision one that it was made from."""
    floats = quantizable_layers(original)
    integers = quantized_layers(quantized)
    bits = _stored_bits(quantized)
    parameters = sum(parameter.numel() for parameter in original.parameters())
    return QuantizationReport(
        layers=tuple(_report_layer(name, layer, floats[name]) for name, layer in integers.items()),
        unquantized=tuple(name for name in floats if name not in integers),
        parameters=parameters,
        quantized_fraction=_quantized_fraction(bits, parameters),
        nominal_bits_per_weight=_nominal_bits(bits, parameters),
        seconds=seconds,
        blocks=tuple(blocks),
        simulated=bool(integers),
    )


def with_more_layers(
    report: QuantizationReport, module: nn.Module, originals: Mapping[str, AnyLayer]
) -> QuantizationReport:
    """Return a report to which quantized layers are added.

    Args:
        report: of the module before.
        module: with the layers replaced.
        originals: what the added layers took the place of, by name.
    """
    integers = quantized_layers(module)
    layers = {layer.name: layer for layer in report.layers}
    layers |= {name: _report_layer(name, integers[name], layer) for name, layer in originals.items()}
    bits = _stored_bits(module)
    return replace(
        report,
        layers=tuple(layers[name] for name in integers),
        unquantized=tuple(name for name in report.unquantized if name not in originals),
        simulated=bool(integers),
        quantized_fraction=_quantized_fraction(bits, report.parameters),
        nominal_bits_per_weight=_nominal_bits(bits, report.parameters),
    )


def _quantized_fraction(bits: Sequence[tuple[int, int]], parameters: int) -> float:
    return 1 - sum(count for count, width in bits if width == FULL_PRECISION_BITS) / parameters


def _nominal_bits(bits: Sequence[tuple[int, int]], parameters: int) -> float:
    return sum(count * width for count, width in bits) / parameters


def _stored_bits(module: nn.Module) -> list[tuple[int, int]]:
    """Return (number of values, bits of each) of everything learned: floats, integer codes, low-rank branches."""
    floats = [(parameter.numel(), parameter.element_size() * 8) for parameter in module.parameters()]
    codes = [
        (math.prod(layer.shape), layer.scheme.weight.bits)
        for layer in quantized_layers(module).values()
        if layer.scheme.weight is not None
    ]
    branches = [
        (part.numel(), part.element_size() * 8)
        for layer in quantized_layers(module).values()
        for part in (layer.low_rank_down, layer.low_rank_up)
        if part is not None
    ]
    return floats + codes + branches


def _report_layer(name: str, layer: QuantizedLayer, original: AnyLayer) -> LayerReport:
    scheme = layer.scheme
    return LayerReport(
        name=name,
        kind=layer.kind,
        shape=layer.shape,
        weight_bits=scheme.weight.bits if scheme.weight else None,
        weight_granularity=scheme.weight.granularity if scheme.weight else None,
        activation_bits=scheme.activation.bits if scheme.activation else None,
        activation_granularity=scheme.activation.granularity if scheme.activation else None,
        **_weight_error(layer, weight_of(original).detach()),
        **_activation_reach(layer),
    )


def _weight_error(layer: QuantizedLayer, original: Tensor) -> Mapping[str, float | None]:
    if layer.weight_quantizer is None:
        return dict.fromkeys(("weight_scale_min", "weight_scale_max", "weight_mse", "weight_sqnr_db"))
    scale = layer.weight_quantizer.scale
    error = torch.mean((layer.effective_weight - original).double() ** 2).item()
    power = torch.mean(original.double() ** 2).item()
    return {
        "weight_scale_min": scale.min().item(),
        "weight_scale_max": scale.max().item(),
        "weight_mse": error,
        "weight_sqnr_db": 10 * math.log10(power / error) if power > 0 and error > 0 else None,
    }


def _activation_reach(layer: QuantizedLayer) -> Mapping[str, float | None]:
    quantizer = layer.activation_quantizer
    reach = None if quantizer is None or quantizer.scheme.dynamic else quantizer.reach()
    low, high = reach if reach is not None else (None, None)
    return {"activation_low": low, "activation_high": high}
