"""A layer in full precision with some of its inputs, to judge how it would run smoothed, rounded and with a branch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from admbench.methods.core.layers.kinds import QuantizableLayer, over_inputs
from admbench.methods.core.layers.quantized import dynamic_input
from admbench.methods.core.numbers.quantizer import Quantizer
from admbench.methods.core.numbers.scheme import LayerScheme, Scheme


@dataclass(frozen=True)
class RunLayer:
    """A layer with some of its inputs, to judge how it would run quantized."""

    layer: QuantizableLayer
    """In full precision."""
    scheme: Scheme
    """Of the weight, its groups fitted to the layer."""
    activation: Quantizer | None
    """Of the input; None where it stays as it is."""
    rows: Tensor
    """(n, terms), what n outputs are computed from."""
    exact: Tensor
    """(n, out), these outputs in full precision, without bias."""

    @classmethod
    def of(cls, layer: QuantizableLayer, scheme: LayerScheme, rows: Tensor) -> RunLayer:
        """Return a layer under a scheme of its weight and its input, dynamic or none, with inputs (n, terms)."""
        assert scheme.weight is not None
        activation = None if scheme.activation is None else dynamic_input(scheme.activation, layer)
        exact = rows @ layer.weight.detach().flatten(1).T
        return cls(layer, scheme.weight.for_terms(rows.shape[1]), activation, rows, exact)

    def error(self, scale: Tensor | None, rounded: Tensor, branch: tuple[Tensor, Tensor] | None = None) -> float:
        """Return the mean squared error of the outputs, summed over channels, with this scale, residual and branch.

        Args:
            scale: (in,), what the input is divided by; None for nothing.
            rounded: of the weight's shape: what the codes stand for.
            branch: float16 (rank, ...) and (out, rank); None for none.
        """
        weight, smooth, out = self.layer.weight, self.rows, torch.zeros_like(self.exact)
        if scale is not None:
            smooth = smooth / over_inputs(scale, weight).expand_as(weight[:1]).reshape(-1)
        if branch is not None:
            down, up = (part.float() for part in branch)
            out = (smooth @ down.flatten(1).T) @ up.T
        if self.activation is not None:
            # the taps of a convolution are positions, each rounded in groups of channels of its own
            taps = smooth.view(len(smooth), weight.shape[1], *([-1] if weight.ndim > 2 else []))
            smooth = self.activation.fake_quantize(taps).flatten(1)
        out += smooth @ rounded.flatten(1).T
        return float((out - self.exact).square().mean(0).sum())
