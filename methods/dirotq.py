"""`dirotq`: Sharify et al., "DiRotQ: Rotation-Aware Quantization for 4-bit Diffusion Transformers" (arXiv 2605.16732).

What a layer reads varies most in few directions. These are found by PCA, the eigenvectors U of E[x x^T] of largest
eigenvalue, an eighth as many as there are channels; the input's coefficients U^T x and their weights W U stay in 16
bits. The rest is rotated, so that no channel sticks out of it, and rounded in groups of 64: the input at run time, with
zero points, the weight by GPTQ for what is left of the input. GPTQ is damped by a share of the whole input's variance,
not of what is left, in which some directions hold next to nothing.

The paper was read as its abstract, and a public copy of its code (apply_dirotq.py, utils/gptq_utils.py).

Departures. There the input is multiplied by a dense orthogonal matrix, U and a random basis of all other directions,
and the other coefficients are rounded. Here U alone is stored: the rest is x - U U^T x, rotated by Hadamard matrices in
groups of channels, and the 16-bit part is a branch of low rank. So a layer rounds as many numbers as it has channels,
and no matrix of channels by channels is stored. Directions of an attention's output are those of all heads together,
there of each head. Layers which that code leaves in 16 bits (embeddings, modulation, keys and values of the caption)
take part. So do convolutions; of those that read several positions at once nothing stays in 16 bits, they are rotated
and rounded. Weights have zero points below 8 bits, as elsewhere here, there none. Columns are rounded in their order,
there by falling variance. E[x x^T] is that of random positions of the calibration set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from admbench.methods.core.calibration.calibration_set import CalibrationSet
from admbench.methods.core.calibration.ranges import MinMax, input_ranges
from admbench.methods.core.layers.kinds import QuantizableLayer, quantizable_layers
from admbench.methods.core.layers.policy import Policy
from admbench.methods.core.layers.quantized import QuantizedLayer, dynamic_input
from admbench.methods.core.layers.rotation import rotate, rotation_size
from admbench.methods.core.numbers.fitting import fit_weight
from admbench.methods.core.numbers.quantizer import Quantizer
from admbench.methods.core.numbers.scheme import LayerScheme, Scheme
from admbench.methods.core.reconstruction.branch import branch_weight
from admbench.methods.core.reconstruction.error_feedback import gptq_codes
from admbench.methods.layerwise import GramConfig, GramMethod
from admbench.methods.protocol import DenoisingModel
from admbench.taxonomy import arxiv


class DiRotQConfig(GramConfig):
    """Options of `dirotq`."""

    group: int = Field(default=64, ge=1, le=100_000)
    """Most weights of an output channel, and channels of an input, that share a scale."""
    fraction: float = Field(default=0.125, ge=0, le=0.5)
    """Directions whose coefficients stay in 16 bits, as a share of the layer's input channels; 0 for none."""
    rotation: int = Field(default=256, ge=0, le=4096)
    """Most input channels that are rotated together; 0 for none."""
    damping: float = Field(default=0.01, gt=0, le=1)
    """Share of the mean of the whole input's variances that is added to those of what is left of it."""


class Solution(NamedTuple):
    """A layer as the method leaves it."""

    quantizer: Quantizer
    """What the codes mean."""
    codes: Tensor
    """uint8, of the weight's shape."""
    rotation: int
    """Input channels that are rotated together; 0 for none."""
    branch: tuple[Tensor, Tensor] | None
    """The leading directions of the rotated input, float16 (rank, ...), and their weights (out, rank)."""


class DiRotQ(GramMethod[MinMax, Solution]):
    """Keep the leading directions of inputs in 16 bits, rotate and round the rest, weights by GPTQ."""

    name = "dirotq"
    summary = "inputs' leading directions in 16 bits, the rest rotated and rounded, GPTQ (2605.16732)"
    version = "1"
    track = "post-training"
    family = "low rank"
    paper = arxiv(
        "2605.16732",
        "Sharify et al., DiRotQ: Rotation-Aware Quantization for 4-bit Diffusion Transformers, 2026",
        read="abstract",
    )
    takes_formats = True
    claims = frozenset({"channel outliers", "drifting ranges"})
    Config: ClassVar[type[DiRotQConfig]] = DiRotQConfig
    config: DiRotQConfig

    def observe(self, model: DenoisingModel, calibration: CalibrationSet) -> Mapping[str, MinMax]:
        """See `LayerwiseMethod`: which layers run, in which order."""
        return input_ranges(model, calibration, quantizable_layers(model.backbone))

    def policy(self, ends: Sequence[str]) -> Policy:
        """See `LayerwiseMethod`: weights in groups, but for the ends; inputs in groups at run time."""
        return super().policy(ends).changed(activation=self._in_groups)

    def _in_groups(self, scheme: Scheme) -> Scheme:
        if scheme.published:
            return scheme
        size = self.config.group
        return Scheme(bits=scheme.bits, granularity="group", symmetric=False, group_size=size, dynamic=True)

    def solve_weight(self, name: str, layer: QuantizableLayer, gram: Tensor, scheme: Scheme, seen: MinMax) -> Solution:
        """See `GramMethod`."""
        return solve_layer(layer.weight.detach(), gram, scheme, self.config)

    def quantize_layer(
        self, name: str, layer: QuantizableLayer, scheme: LayerScheme, seen: MinMax, solution: Solution | None
    ) -> QuantizedLayer:
        """See `LayerwiseMethod`."""
        activation = None if scheme.activation is None else dynamic_input(scheme.activation, layer)
        if solution is None:  # a convolution in groups, or weights in 16 bits
            weight = None if scheme.weight is None else fit_weight(scheme.weight, layer.weight.detach())
            return QuantizedLayer.from_float(layer, weight, activation)
        return QuantizedLayer(
            layer,
            weight_codes=solution.codes,
            weight_quantizer=solution.quantizer,
            activation_quantizer=activation,
            rotation=solution.rotation,
            low_rank=solution.branch,
            deflated=solution.branch is not None,
        )


@torch.no_grad()
def solve_layer(weight: Tensor, gram: Tensor, scheme: Scheme, config: DiRotQConfig) -> Solution:
    """Return codes and branch of a layer.

    Args:
        weight: (out, in, ...) float32.
        gram: (terms, terms) of the layer's inputs.
        scheme: of the codes, its groups fitted to the layer.
        config: of the method.
    """
    channels, terms = weight.shape[1], len(gram)
    size = rotation_size(channels, config.rotation)
    if size:
        weight, gram = rotate(weight, size, 1), rotated_gram(gram, channels, size)
    gram = gram.double()
    rank = round(config.fraction * channels) if terms == channels else 0
    if rank == 0:
        return Solution(*gptq_codes(weight, gram, scheme, config.damping), size, None)
    down, up = leading_directions(weight, gram, rank)
    basis = down.double().flatten(1)
    off = torch.eye(terms, dtype=torch.float64) - basis.T @ basis
    left = off @ gram @ off
    left = (left + left.T) / 2
    left.diagonal().add_(config.damping * gram.diagonal().mean())
    quantizer, codes = gptq_codes(weight - branch_weight((down, up), weight), left, scheme, damping=0)
    return Solution(quantizer, codes, size, (down, up))


def leading_directions(weight: Tensor, gram: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return the directions in which an input varies most, and what a weight makes of them.

    Args:
        weight: (out, in, ...) of a layer that reads one position at a time.
        gram: (in, in) float64 of its inputs.
        rank: how many.

    Returns:
        float16 (rank, in, ...), orthonormal rows U^T but for their rounding, and (out, rank): W U, so that the weight
        less their product reads nothing of these directions.
    """
    _, vectors = torch.linalg.eigh(gram)  # increasing
    down = vectors[:, -rank:].flip(1).T.half().contiguous()
    basis = down.double()  # as it is stored, and so not quite orthonormal
    up = torch.linalg.solve(basis @ basis.T, basis @ weight.flatten(1).double().T).T
    return down.view(rank, *weight.shape[1:]), up.half().contiguous()


def rotated_gram(gram: Tensor, channels: int, size: int) -> Tensor:
    """Return the Gram matrix (terms, terms) of inputs whose channels are rotated in groups of `size`."""
    taps = len(gram) // channels
    pairs = gram.view(channels, taps, channels, taps)
    return rotate(rotate(pairs, size, 0), size, 2).reshape(gram.shape)
