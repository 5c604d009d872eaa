"""Learned equivalent transformations and learned bounds of layers, as PassionSR has them (arXiv 2411.17106).

A layer W x + b is W diag(s) ((x - o) / s) + (b + W o), whatever the scale s > 0 and the offset o of each input channel:
both are learned, so that what is rounded, (x - o) / s and W diag(s), suits its ranges better ("learnable equivalent
transformation"). The ends of these ranges are learned as well ("learnable boundary quantizer"): a range [low, high]
gives a step of (high - low) / (levels - 1), and a number outside of it is clipped to the closer end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from admbench.methods.core.layers.kinds import QuantizableLayer, over_inputs
from admbench.methods.core.layers.quantized import QuantizedLayer
from admbench.methods.core.numbers.quantizer import Quantizer, along, as_rows, per_row
from admbench.methods.core.numbers.scheme import LayerScheme, Scheme
from admbench.methods.core.reconstruction.objective import Learner

LEAST = 1e-5
"""Of a scale, and of the width of a range."""


def straight_through_round(values: Tensor) -> Tensor:
    """Return values rounded, with the gradient of the identity."""
    return values + (values.round() - values).detach()


def round_between(values: Tensor, scheme: Scheme, low: Tensor, high: Tensor) -> Tensor:
    """Return `values` rounded as a scheme fitted to [low, high] rounds them, with gradients for all three.

    Args:
        values: (channels, ...).
        scheme: static and uniform.
        low: at most 0, of the scale's shape.
        high: at least 0, likewise.
    """
    if scheme.symmetric:
        reach = torch.maximum(-low, high)
        low, high = -reach, reach
    scale = (high - low).clamp(min=LEAST) / (scheme.code_max - scheme.code_min)
    zero = scheme.code_min + straight_through_round(-low / scale)
    scale, zero = along(scale, values), along(zero, values)
    codes = straight_through_round(values / scale + zero)
    return (codes.clamp(scheme.code_min, scheme.code_max) - zero) * scale


class EquivalentTransform(Learner):
    """Scales and offsets of the inputs of some layers, or the bounds of their ranges, by Adam.

    Offsets are learned of layers without zero padding. A layer in groups is passed over.

    Args:
        states: what is learned of each layer; shared by the stages, each of which makes its own learner.
        stage: `transform` learns scales and offsets, `bounds` the ends of ranges.
        learning_rate: of Adam, relative to what it starts from.
    """

    def __init__(self, states: Sequence[LayerState], stage: str, learning_rate: float) -> None:
        self.learned = stage
        self._states = list(states)
        self._before = [state.snapshot() for state in self._states]
        learned = [parameter for state in self._states for parameter in state.parameters(stage)]
        self._parameters = learned
        self._optimizer = torch.optim.Adam(learned, lr=learning_rate) if learned else None
        self._hooks: list[RemovableHandle] = []

    @property
    def idle(self) -> bool:
        """See `Learner`."""
        return not self._parameters

    def prepare(self) -> None:
        """See `Learner`."""
        self._remove_hooks()
        assert self._optimizer is not None
        self._optimizer.zero_grad()
        for state in self._states:
            self._hooks += state.compute_with()

    def step(self, progress: float) -> None:
        """See `Learner`."""
        assert self._optimizer is not None
        self._optimizer.step()

    def finish(self) -> None:
        """See `Learner`."""
        self._remove_hooks()
        for state in self._states:
            state.apply()

    def undo(self) -> None:
        """See `Learner`."""
        self._remove_hooks()
        for state, before in zip(self._states, self._before, strict=True):
            state.restore(before)
            state.apply()

    def _remove_hooks(self) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks = []


class LayerState:
    """What is learned of one layer: logarithms of scales, offsets, and how much the ends of ranges move.

    Args:
        layer: quantized; its codes, quantizers, input scale, shift and bias are replaced by `apply`.
        original: the layer in full precision.
        schemes: of its weight and its input, static and uniform.
        low: smallest number of each input channel, (in,).
        high: largest number of each input channel, (in,).
        scale: (in,), where the scales start.
    """

    def __init__(
        self,
        layer: QuantizedLayer,
        original: QuantizableLayer,
        schemes: LayerScheme,
        low: Tensor,
        high: Tensor,
        scale: Tensor,
    ) -> None:
        self.layer, self._original, self.schemes = layer, original, schemes
        self._low, self._high = low, high
        self._transformed = schemes.weight is not None  # a weight in floating point has nothing to take over
        self.log_scale = nn.Parameter(scale.clamp(min=LEAST).log() if self._transformed else torch.zeros_like(scale))
        self.offset = nn.Parameter(torch.zeros_like(scale)) if self._transformed and _may_shift(layer) else None
        ends = () if schemes.weight is None else schemes.weight.scale_shape(layer.shape)
        self.bounds = nn.ParameterDict(
            {
                "weight_low": nn.Parameter(torch.ones(ends)),
                "weight_high": nn.Parameter(torch.ones(ends)),
                "input_low": nn.Parameter(torch.ones(())),
                "input_high": nn.Parameter(torch.ones(())),
            }
        )
        self.apply()

    def parameters(self, stage: str) -> Iterator[nn.Parameter]:
        """Yield what a stage learns."""
        if stage == "bounds":
            yield from self.bounds.values()
        elif self._transformed:
            yield self.log_scale
            if self.offset is not None:
                yield self.offset

    def compute_with(self) -> list[RemovableHandle]:
        """Let the layer compute with what is learned so far; return the hooks that this takes."""
        scale, weight = self.log_scale.exp(), self._folded()
        schemes, layer = self.schemes, self.layer
        if schemes.weight is not None:
            layer.input_scale = scale
            layer.input_shift = None if self.offset is None else self.offset.view_as(self.offset)  # no parameter of it
            layer.substitute_weight(round_between(weight, schemes.weight, *self._weight_ends(weight)))
        if schemes.activation is not None:
            layer.activation_quantizer = _Between(schemes.activation, *self._input_ends())
        if self.offset is None:
            return []
        added = (self._original.weight.detach().flatten(1) @ self.offset).view(-1, *[1] * (len(layer.shape) - 2))
        return [layer.register_forward_hook(lambda module, args, output: output + added)]

    @torch.no_grad()
    def apply(self) -> None:
        """Give the layer what is learned so far, for good."""
        layer, schemes, weight = self.layer, self.schemes, self._folded()
        if schemes.weight is not None:
            layer.input_scale = self.log_scale.exp()
            quantizer = Quantizer.from_range(schemes.weight, *self._weight_ends(weight))
            layer.weight_quantizer = quantizer
            layer.set_codes(quantizer.codes(weight))
        if schemes.activation is not None:
            layer.activation_quantizer = Quantizer.from_range(schemes.activation, *self._input_ends())
        if self.offset is not None and self._original.bias is not None:
            layer.input_shift = self.offset.detach().clone()
            moved = self._original.weight.detach().flatten(1) @ self.offset
            layer.bias = nn.Parameter(self._original.bias.detach() + moved, self._original.bias.requires_grad)

    def snapshot(self) -> list[Tensor]:
        """Return what is learned so far."""
        return [parameter.detach().clone() for parameter in self._all()]

    @torch.no_grad()
    def restore(self, snapshot: Sequence[Tensor]) -> None:
        """Go back to a snapshot."""
        for parameter, values in zip(self._all(), snapshot, strict=True):
            parameter.copy_(values)

    def _all(self) -> list[nn.Parameter]:
        return [*self.parameters("transform"), *self.parameters("bounds")]

    def _folded(self) -> Tensor:
        weight = self._original.weight.detach()
        return weight * over_inputs(self.log_scale.exp(), weight)

    def _weight_ends(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        scheme = self.schemes.weight
        assert scheme is not None
        low, high = torch.aminmax(as_rows(scheme, weight), dim=1)
        low, high = (per_row(scheme, weight, end) for end in (low, high))
        return (low * self.bounds["weight_low"]).clamp(max=0), (high * self.bounds["weight_high"]).clamp(min=0)

    def _input_ends(self) -> tuple[Tensor, Tensor]:
        scale, offset = self.log_scale.exp(), 0 if self.offset is None else self.offset
        low, high = ((self._low - offset) / scale).min(), ((self._high - offset) / scale).max()
        return (low * self.bounds["input_low"]).clamp(max=0), (high * self.bounds["input_high"]).clamp(min=0)


class _Between(Quantizer):
    """A quantizer of inputs whose range is being learned."""

    def __init__(self, scheme: Scheme, low: Tensor, high: Tensor) -> None:
        super().__init__(scheme, torch.ones(()), torch.zeros((), dtype=torch.uint8))
        self._ends = low, high

    def fake_quantize(self, values: Tensor) -> Tensor:
        return round_between(values, self.scheme, *self._ends)


def _may_shift(layer: QuantizedLayer) -> bool:
    padding = layer.geometry.get("padding", (0,))
    return layer.bias is not None and padding in ("valid", (0,), (0, 0)) and layer.shape[2:] in ((), (1,), (1, 1))
