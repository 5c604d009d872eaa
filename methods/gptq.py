"""`gptq`: Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers"
(arXiv 2210.17323, ICLR 2023).

A layer's weights are rounded column by column. The error of each column is made up for by the columns that are still in
floating point, in the way that changes the layer's outputs least: with the Cholesky factor U of the inverse of
H = X X^T + damping (section 3.3, step 3), rounding column q adds -(w_q - round(w_q)) / U_qq * U_q,: to the rest.

Departures. Inputs are those of the full-precision backbone, not of the layers quantized so far. H is that of random
positions of the calibration set, `positions` of them a layer. A convolution's columns are those of its unfolded
patches. Activations, where a spec gives them bits, are rounded as `naive` does.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from admbench.methods.base import CalibratedConfig, CalibratedMethod
from admbench.methods.core.backbone import QuantizedBackbone
from admbench.methods.core.calibration.calibration_set import CalibrationSet
from admbench.methods.core.calibration.ranges import MinMax, input_ranges
from admbench.methods.core.calibration.statistics import input_grams
from admbench.methods.core.layers.kinds import QuantizableLayer, quantizable_layers
from admbench.methods.core.layers.policy import (
    Policy,
    backbone_ends,
    input_quantizer,
    replace_layers,
    uniform_policy,
)
from admbench.methods.core.layers.quantized import QuantizedLayer
from admbench.methods.core.numbers.quantizer import Quantizer
from admbench.methods.core.numbers.scheme import LayerScheme, Scheme, grouped
from admbench.methods.protocol import DenoisingModel

BLOCK = 128
"""Columns whose errors are passed on to the rest at once (section 3.3, step 2)."""


class GramConfig(CalibratedConfig):
    """Options of methods that weigh errors of weights by Gram matrices of inputs."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {**CalibratedConfig.presets["quick"], "positions": 4096},
        "paper": {**CalibratedConfig.presets["paper"], "positions": 262_144},
    }

    positions: int = Field(default=4096, ge=1, le=10_000_000)
    """Positions of a layer's input that its Gram matrix is made of; 128 sequences of 2,048 tokens in the papers."""
    group: int = Field(default=128, ge=0, le=100_000)
    """Most weights of an output channel that share a scale; 0 for one scale a channel."""


class GPTQConfig(GramConfig):
    """Options of `gptq`."""

    damping: float = Field(default=0.01, gt=0, le=1)
    """Share of the mean of H's diagonal that is added to it."""


class GPTQ(CalibratedMethod):
    """Round the weights column by column, each making up for the errors of those before."""

    name = "gptq"
    summary = "second-order rounding of weights, column by column (2210.17323)"
    version = "1"
    Config: ClassVar[type[GPTQConfig]] = GPTQConfig
    config: GPTQConfig

    def needs_calibration(self, model: DenoisingModel) -> bool:
        """Weights are rounded for the inputs that they meet."""
        return self.spec.bits != (16, 16)

    def quantize(self, model: DenoisingModel, calibration: CalibrationSet | None) -> QuantizedBackbone:
        """See `Method`."""
        started = time.perf_counter()
        calibration = self._checked(model, calibration)
        layers = quantizable_layers(model.backbone)
        seen = {} if calibration is None else input_ranges(model, calibration, layers)
        ends = () if calibration is None else backbone_ends(model.backbone, [*seen])
        policy = grouped_policy(*self.spec.bits, ends, self.config.group)
        rounded: dict[str, tuple[Quantizer, Tensor]] = {}
        if calibration is not None and self.spec.bits[0] != 16:
            for name, gram in input_grams(model, calibration, list(seen), self.config.positions):
                weight, scheme = layers[name].weight.detach(), policy.scheme_of(name).weight
                assert scheme is not None
                rounded[name] = gptq_codes(weight, gram, scheme.for_terms(gram.shape[0]), self.config.damping)

        def make(name: str, layer: QuantizableLayer, scheme: LayerScheme) -> QuantizedLayer | None:
            if name not in seen:
                return None
            activation = input_quantizer(name, layer, scheme.activation, lambda scheme, name: _fit(scheme, seen[name]))
            if scheme.weight is None or name not in rounded:
                weight = None if scheme.weight is None else Quantizer.min_max(scheme.weight, layer.weight.detach())
                return QuantizedLayer.from_float(layer, weight, activation)
            quantizer, codes = rounded[name]
            return QuantizedLayer(
                layer, weight_codes=codes, weight_quantizer=quantizer, activation_quantizer=activation
            )

        return self._result(model, replace_layers(model.backbone, policy, make), started)


def grouped_policy(weight_bits: int, activation_bits: int, ends: tuple[str, ...], group: int) -> Policy:
    """Return `uniform_policy` with a scale per group of weights; per channel for 0, and for the ends."""
    policy = uniform_policy(weight_bits, activation_bits, ends)
    if group == 0:
        return policy
    return Policy((*policy.rules[:-1], *Policy(policy.rules[-1:]).changed(weight=grouped(group)).rules))


def gptq_codes(weight: Tensor, gram: Tensor, scheme: Scheme, damping: float = 0.01) -> tuple[Quantizer, Tensor]:
    """Round a weight with error feedback.

    Args:
        weight: (out, ...) float32.
        gram: (terms, terms), the layer's H up to a factor; terms is the number of weights of an output.
        scheme: per channel or group, static, uniform. A group's scale is found when its first column is reached, from
            the weights as the errors so far have changed them; a channel's before.
        damping: share of the mean of H's diagonal that is added to it.

    Returns:
        the quantizer, and uint8 codes of the weight's shape.
    """
    rest = weight.detach().flatten(1).double().clone()
    gram = gram.double().clone()
    dead = gram.diagonal() == 0  # inputs that are always 0: their weights may be anything, and stay nearest
    gram.diagonal()[dead] = 1
    gram.diagonal().add_(damping * gram.diagonal().mean())
    factor = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(gram)), upper=True)
    terms = rest.shape[1]
    group = scheme.group_size or terms
    codes = torch.empty(weight.shape, dtype=torch.uint8).flatten(1)
    quantizers = [Quantizer.min_max(scheme, weight)] if scheme.group_size is None else []
    rows = scheme if scheme.group_size is None else Scheme(bits=scheme.bits, granularity="channel", symmetric=False)
    for start in range(0, terms, BLOCK):
        end = min(start + BLOCK, terms)
        errors = torch.empty(len(rest), end - start, dtype=rest.dtype)
        for column in range(start, end):
            if scheme.group_size is not None and column % group == 0:
                quantizers.append(Quantizer.min_max(rows, rest[:, column : column + group].float()))
            now = rest[:, column : column + 1]
            codes[:, column : column + 1] = quantizers[-1].codes(now.float())
            value = quantizers[-1].dequantize(codes[:, column : column + 1]).double()
            error = (now - value) / factor[column, column]
            rest[:, column + 1 : end] -= error * factor[column, column + 1 : end]
            errors[:, column - start : column - start + 1] = error
        rest[:, end:] -= errors @ factor[start:end, end:]
    if scheme.group_size is None:
        return quantizers[0], codes.view(weight.shape)
    scale, zero_point = (torch.stack([getattr(one, name) for one in quantizers], 1) for name in ("scale", "zero_point"))
    return Quantizer(scheme, scale, zero_point), codes.view(weight.shape)


def _fit(scheme: Scheme, seen: MinMax) -> Quantizer:
    return Quantizer.from_range(scheme, seen.low, seen.high)
