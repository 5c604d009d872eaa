"""AdaRound: learn for every weight whether it goes down or up (Nagel et al., arXiv 2004.10568).

A soft weight is s * clamp(floor(w/s) + h(a)) with h(a) = clamp(sigmoid(a) * (zeta - gamma) + gamma, 0, 1). It starts at
the weight itself, up to clipping, and ends at one of its two neighbours: up where a >= 0. A term that grows with the
distance of h from 0 and 1 drives it there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from admbench.methods.core.layers.kinds import QuantizableLayer
from admbench.methods.core.layers.quantized import QuantizedLayer
from admbench.methods.core.numbers.quantizer import Neighbours
from admbench.methods.core.reconstruction.objective import BlockReport, BlockTask, Effort, Learner, learn

ZETA, GAMMA = 1.1, -0.1
"""Ends of the rectified sigmoid (eq. 23): it reaches 0 and 1 at finite arguments."""


class AdaRound(Learner):
    """Learned roundings of the weights of some layers.

    The weights of all layers are one flat vector. They are computed once a step, and the gradient with respect to `a`
    is written out, so that a step costs a dozen passes over it whatever the number of layers.

    Args:
        layers: quantized layers by name; those without codes are passed over.
        originals: the layers in full precision, by name.
        effort: learning rate and rounding term.
    """

    learned = "weights"

    def __init__(
        self, layers: Mapping[str, QuantizedLayer], originals: Mapping[str, QuantizableLayer], effort: Effort
    ) -> None:
        self._layers = {name: layer for name, layer in layers.items() if layer.weight_codes is not None}
        self._before = {name: layer.weight_codes for name, layer in self._layers.items()}
        self._shapes = [layer.shape for layer in self._layers.values()]
        self._effort = effort
        pieces = [_neighbours(layer, originals[name].weight) for name, layer in self._layers.items()]
        self._base, self._span, rest = (
            torch.cat([torch.empty(0), *(getattr(piece, name).reshape(-1) for piece in pieces)])
            for name in ("below", "span", "rest")
        )
        self._alpha = nn.Parameter(-torch.log((ZETA - GAMMA) / (rest - GAMMA) - 1))
        self._optimizer = torch.optim.Adam([self._alpha], lr=effort.learning_rate, fused=True)
        self._sigmoid, self._raw, self._height = (torch.empty_like(rest) for _ in range(3))
        self._soft = self._base

    @property
    def idle(self) -> bool:
        """See `Learner`."""
        return not self._layers

    @torch.no_grad()
    def prepare(self) -> None:
        """Let the layers compute with soft weights."""
        torch.sigmoid(self._alpha, out=self._sigmoid)
        torch.mul(self._sigmoid, ZETA - GAMMA, out=self._raw).add_(GAMMA)
        torch.clamp(self._raw, 0, 1, out=self._height)
        self._soft = torch.addcmul(self._base, self._height, self._span).requires_grad_()
        with torch.enable_grad():
            parts = self._soft.split([math.prod(shape) for shape in self._shapes])
            for layer, part, shape in zip(self._layers.values(), parts, self._shapes, strict=True):
                layer.substitute_weight(part.view(shape))

    @torch.no_grad()
    def step(self, progress: float) -> None:
        """Move the roundings by the gradient that the soft weights have now; see `Learner`."""
        assert self._soft.grad is not None
        gradient = self._soft.grad.mul_(self._span)  # by h
        effort = self._effort
        if effort.round_weight and progress >= effort.warm_up:
            # The term is round_weight * sum(1 - |2h - 1|**beta); added is its derivative by h. The power through
            # logarithms, half the time of `pow`; where h = 1/2 it is exp(-inf) = 0.
            start, end = effort.beta
            beta = start + (end - start) * (progress - effort.warm_up) / (1 - effort.warm_up)
            centred = self._height.mul_(2).sub_(1)
            size = centred.abs().log_().mul_(beta - 1).exp_()
            gradient.add_(torch.copysign(size, centred, out=size), alpha=-2 * beta * effort.round_weight)
        gradient = torch.ops.aten.hardtanh_backward(gradient, self._raw, 0, 1)  # h is cut off at 0 and 1
        self._alpha.grad = torch.ops.aten.sigmoid_backward(gradient, self._sigmoid).mul_(ZETA - GAMMA)
        self._optimizer.step()

    @torch.no_grad()
    def finish(self) -> None:
        """Give the layers the codes that the roundings now say."""
        values = self._base + self._span * (self._alpha >= 0)
        parts = values.split([math.prod(shape) for shape in self._shapes])
        for layer, part, shape in zip(self._layers.values(), parts, self._shapes, strict=True):
            assert layer.weight_quantizer is not None
            layer.set_codes(layer.weight_quantizer.codes(part.view(shape)))

    def undo(self) -> None:
        """Give the layers back the codes that they had."""
        for name, codes in self._before.items():
            assert codes is not None
            self._layers[name].set_codes(codes)


@torch.no_grad()
def _neighbours(layer: QuantizedLayer, weight: Tensor) -> Neighbours:
    assert layer.weight_quantizer is not None
    return layer.weight_quantizer.neighbours(layer.folded(weight))


def learn_weights(
    task: BlockTask, originals: Mapping[str, QuantizableLayer], effort: Effort, generator: torch.Generator
) -> BlockReport:
    """Choose the roundings of a block's weights; inputs of its layers are rounded if they have a quantizer.

    Args:
        task: a block at nearest codes.
        originals: its layers in full precision, by name.
        effort: how.
        generator: draws the samples of a step.

    Raises:
        DataError: the objective is not finite; names the block.
    """
    return learn(task, [AdaRound(task.layers, originals, effort)], effort, generator)
