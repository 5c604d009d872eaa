"""`qera`: Zhang et al., "QERA: an Analytical Framework for Quantization Error Reconstruction" (arXiv 2410.06040,
ICLR 2025), around the NF4 of QLoRA (2305.14314).

Weights are rounded to NF4, and a branch of low rank in 16 bits makes up for the error E = W - Q, so that the layer's
outputs, not its weights, are least changed: with R = E[x x^T] of the inputs, minimize tr((E - L) R (E - L)^T) over L of
rank k. The answer is closed (`QERA-exact`): L = SVD_k(E R^(1/2)) R^(-1/2), which is U U^T E, where the columns of U are
the k leading eigenvectors of E R E^T. In that form no root is taken and nothing is inverted.

Then rounding and branch take turns, Q = round(W - L), as in LoftQ (Li et al., arXiv 2310.08659, ICLR 2024), as long as
the error falls. The first turn is QERA.

The paper itself could not be read: the closed form is from its abstract and from others' accounts of it, and a test
holds it to the form with the root and its inverse.

Departures. R is that of random positions of the calibration set, and of unfolded patches in convolutions. NF4 has
blocks that do not cross output channels, as `nf4` does. The rank is at most half of what the weight could have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from admbench.errors import UsageError
from admbench.methods.core.calibration.calibration_set import CalibrationSet
from admbench.methods.core.calibration.ranges import MinMax, input_ranges
from admbench.methods.core.calibration.statistics import output_error
from admbench.methods.core.layers.kinds import QuantizableLayer, quantizable_layers
from admbench.methods.core.layers.policy import Policy, uniform_policy
from admbench.methods.core.layers.quantized import QuantizedLayer
from admbench.methods.core.numbers.fitting import fit_weight
from admbench.methods.core.numbers.quantizer import Quantizer
from admbench.methods.core.numbers.scheme import LayerScheme, Scheme
from admbench.methods.layerwise import GramConfig, GramMethod
from admbench.methods.protocol import DenoisingModel
from admbench.methods.spec import MethodSpec
from admbench.taxonomy import arxiv


class QERAConfig(GramConfig):
    """Options of `qera`."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"quick": {}, "paper": {}}

    group: int = Field(default=64, ge=1, le=100_000)
    """Most weights of an output channel that share an absolute maximum."""
    rank: int = Field(default=32, ge=1, le=4096)
    """Of the branch; at most half of what the layer's weight could have."""
    iterations: int = Field(default=5, ge=1, le=1000)
    """Most turns of rounding and branch; 1 is QERA, 5 are LoftQ's."""


class Reconstruction(NamedTuple):
    """A layer's weight as the method leaves it."""

    quantizer: Quantizer
    """What the codes mean."""
    codes: Tensor
    """uint8, of the weight's shape."""
    branch: tuple[Tensor, Tensor]
    """float16 (rank, ...) and (out, rank)."""


class QERA(GramMethod[MinMax, Reconstruction]):
    """Round weights to NF4 beside a branch of low rank that makes up for what this does to the outputs."""

    name = "qera"
    summary = "NF4 beside a low-rank branch fitted to its output error (2410.06040)"
    version = "1"
    track = "post-training"
    family = "low rank"
    paper = arxiv(
        "2410.06040",
        "Zhang et al., QERA: an Analytical Framework for Quantization Error Reconstruction, ICLR 2025",
        read="abstract",
    )
    Config: ClassVar[type[QERAConfig]] = QERAConfig
    config: QERAConfig

    def __init__(self, spec: MethodSpec) -> None:
        super().__init__(spec)
        if spec.bits not in ((4, 16), (16, 16)):
            raise UsageError(f'method "{spec}": qera has NF4 weights and leaves inputs alone: expected qera@w4a16')

    def observe(self, model: DenoisingModel, calibration: CalibrationSet) -> Mapping[str, MinMax]:
        """See `LayerwiseMethod`: which layers run, in which order."""
        return input_ranges(model, calibration, quantizable_layers(model.backbone))

    def policy(self, ends: Sequence[str]) -> Policy:
        """See `LayerwiseMethod`: NF4, but 8 bits per channel at the ends."""
        policy = uniform_policy(*self.spec.sides, ends)
        return Policy((*policy.rules[:-1], *Policy(policy.rules[-1:]).changed(weight=self._nf4).rules))

    def _nf4(self, scheme: Scheme) -> Scheme:
        return Scheme(bits=4, granularity="group", symmetric=True, group_size=self.config.group, codebook="nf4")

    def solve_weight(
        self, name: str, layer: QuantizableLayer, gram: Tensor, scheme: Scheme, seen: MinMax
    ) -> Reconstruction:
        """See `GramMethod`."""
        return reconstruct(layer.weight.detach(), gram, scheme, self.config.rank, self.config.iterations)

    def quantize_layer(
        self,
        name: str,
        layer: QuantizableLayer,
        scheme: LayerScheme,
        seen: MinMax,
        solution: Reconstruction | None,
    ) -> QuantizedLayer:
        """See `LayerwiseMethod`."""
        assert scheme.weight is not None
        if solution is None:  # a convolution in groups
            return QuantizedLayer.from_float(layer, fit_weight(scheme.weight, layer.weight.detach()), None)
        quantizer, codes, branch = solution
        return QuantizedLayer(layer, weight_codes=codes, weight_quantizer=quantizer, low_rank=branch)


@torch.no_grad()
def reconstruct(weight: Tensor, gram: Tensor, scheme: Scheme, rank: int, iterations: int) -> Reconstruction:
    """Return codes and branch of a weight: the best of some turns by the error of the layer's outputs.

    Args:
        weight: (out, ...) float32.
        gram: (terms, terms) of the layer's inputs, R up to a factor.
        scheme: of the codes.
        rank: of the branch, at most half of what the weight could have.
        iterations: most turns; in the first one the weight itself is rounded, and the branch takes up the error.
    """
    rank = max(1, min(rank, min(len(weight), len(gram)) // 2))
    best, least, target = None, float("inf"), weight
    for _ in range(iterations):
        quantizer = fit_weight(scheme, target)
        codes = quantizer.codes(target)
        missing = (weight - quantizer.dequantize(codes)).flatten(1)
        down, up = error_branch(missing, gram, rank)
        product = up.float() @ down.float()
        error = float(output_error(missing - product, gram))
        if error >= least:
            break
        least, best = error, Reconstruction(quantizer, codes, (down.view(rank, *weight.shape[1:]), up))
        target = weight - product.view(weight.shape)
    assert best is not None
    return best


def error_branch(error: Tensor, gram: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return the branch that leaves the least of an error of a weight in the outputs.

    Args:
        error: (out, terms).
        gram: (terms, terms) of the inputs.
        rank: of the branch.

    Returns:
        float16 (rank, terms) and (out, rank), whose product is to be added.
    """
    exact = error.double()
    _, vectors = torch.linalg.eigh(exact @ gram.double() @ exact.T)  # increasing
    leading = vectors[:, -rank:].flip(1)
    return (leading.T @ exact).half(), leading.half().contiguous()
