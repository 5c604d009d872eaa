"""`svdquant`: Li et al., "SVDQuant: Absorbing Outliers by Low-Rank Components for 4-Bit Diffusion Models"
(arXiv 2411.05007, ICLR 2025).

Three steps. Outliers are moved from activations to weights by smoothing (section 4.1, lambda), s = max|X|**a /
max|W|**b. What the smoothed weights gain in outliers, a low-rank branch in 16 bits takes up: the first `rank` singular
components of W diag(s) (section 4.2, eq. 6). The residual and the activations are rounded, in groups of 64, the
activations at run time. Then branch and residual take turns, as in the released code: L = SVD(W - Q), Q = round(W - L),
as long as the output error falls.

Smoothing is searched as in the released code (deepcompressor): none, (a, b) = (a, 0) and (a, 1 - a), a = 1/20 .. 19/20.
Each of the 39 is judged by the error of the layer's outputs as it runs: weights and inputs rounded, branch taken in. So
is each turn of branch and residual.

Departures. The error is that of the layer's own outputs, not of an attention's, on `positions` random positions of the
calibration set. ResNet blocks, which the released code leaves in 16 bits, take part: convolutions have branches, and
activations in groups of channels at every position. Layers that share an input are smoothed apart, and a layer divides
its own input. A branch is found through the eigenvectors of the smaller Gram matrix of the weight, in float64.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from admbench.methods.core.calibration.calibration_set import CalibrationSet
from admbench.methods.core.calibration.statistics import ChannelStatistics, input_rows
from admbench.methods.core.layers.kinds import QuantizableLayer, quantizable_layers
from admbench.methods.core.layers.policy import Policy
from admbench.methods.core.layers.quantized import QuantizedLayer, dynamic_input
from admbench.methods.core.numbers.fitting import fit_weight
from admbench.methods.core.numbers.scheme import LayerScheme
from admbench.methods.core.reconstruction.run_layer import RunLayer
from admbench.methods.core.reconstruction.smoothed_branch import Decomposition, decompose
from admbench.methods.layerwise import BranchConfig, BranchMethod
from admbench.methods.protocol import DenoisingModel
from admbench.taxonomy import arxiv


class SVDQuantConfig(BranchConfig):
    """Options of `svdquant`."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {"iterations": 3, "positions": 1024},
        "paper": {"iterations": 100, "positions": 8192},
    }


class SVDQuant(BranchMethod[Decomposition]):
    """Smooth, keep the leading singular components in 16 bits, round the rest and the activations in groups."""

    name = "svdquant"
    summary = "smoothing, a low-rank branch in 16 bits, groups of weights and activations (2411.05007)"
    version = "2"
    track = "post-training"
    family = "low rank"
    paper = arxiv(
        "2411.05007",
        "Li et al., SVDQuant: Absorbing Outliers by Low-Rank Components for 4-Bit Diffusion Models, ICLR 2025",
    )
    takes_formats = True
    claims = frozenset({"channel outliers", "heavy-tailed weights"})
    Config: ClassVar[type[SVDQuantConfig]] = SVDQuantConfig
    config: SVDQuantConfig

    def solve(
        self,
        model: DenoisingModel,
        calibration: CalibrationSet,
        policy: Policy,
        seen: Mapping[str, ChannelStatistics],
    ) -> Mapping[str, Decomposition]:
        """See `LayerwiseMethod`: scale, residual and branch; nothing where weights stay as they are."""
        if self.spec.bits[0] == 16:
            return {}
        layers = quantizable_layers(model.backbone)
        return {
            name: decompose(
                RunLayer.of(layers[name], policy.scheme_of(name), rows),
                seen[name],
                self.config.rank,
                self.config.iterations,
            )
            for name, rows in input_rows(model, calibration, list(seen), self.config.positions)
        }

    def quantize_layer(
        self,
        name: str,
        layer: QuantizableLayer,
        scheme: LayerScheme,
        seen: ChannelStatistics,
        solution: Decomposition | None,
    ) -> QuantizedLayer:
        """See `LayerwiseMethod`."""
        activation = None if scheme.activation is None else dynamic_input(scheme.activation, layer)
        if solution is None or scheme.weight is None:  # a convolution in groups, or weights in 16 bits
            weight = None if scheme.weight is None else fit_weight(scheme.weight, layer.weight.detach())
            return QuantizedLayer.from_float(layer, weight, activation)
        scale, residual, branch = solution
        quantizer = fit_weight(scheme.weight, residual)
        return QuantizedLayer.from_float(
            layer, quantizer, activation, weight=residual, input_scale=scale, low_rank=branch
        )
