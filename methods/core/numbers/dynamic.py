"""Dynamic quantization of a layer's input: the range is that of the numbers at hand, found anew at every call."""

from __future__ import annotations

import torch
from torch import Tensor

from admbench.methods.core.numbers.quantizer import Quantizer, fake_quantize_along, scale_and_zero_point
from admbench.methods.core.numbers.scheme import Scheme


class DynamicQuantizer(Quantizer):
    """A dynamic scheme, which has no numbers of its own: scales come from the input, min-max.

    Rows of a batch never share a scale, so that what is computed for one does not depend on the others.

    Args:
        scheme: granularity `token`, `group` (of the channels at one position) or `sample`.
        channels: dimension of the input's channels: -1 of a Linear's input, 1 of a convolution's.
    """

    def __init__(self, scheme: Scheme, channels: int) -> None:
        torch.nn.Module.__init__(self)
        self.scheme = scheme
        self.channels = channels

    def parameters_for(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return float32 scales and uint8 zero points of `values` (n, ...), which broadcast over `_grouped(values)`."""
        grouped = self._grouped(values.detach())
        dimensions = self._shared(values)
        return scale_and_zero_point(self.scheme, grouped.amin(dimensions, True), grouped.amax(dimensions, True))

    def fake_quantize(self, values: Tensor) -> Tensor:
        """Return `values` rounded, same shape; gradients pass straight through."""
        scale, zero_point = self.parameters_for(values)
        rounded = fake_quantize_along(self._grouped(values), self.scheme, scale, zero_point)
        return rounded.reshape(values.shape)

    @torch.no_grad()
    def codes(self, values: Tensor) -> Tensor:
        """Return the uint8 codes of `values`, same shape; what they mean is in `parameters_for`."""
        scale, zero_point = self.parameters_for(values)
        steps = (self._grouped(values) * scale.reciprocal()).round_().add_(zero_point)
        return steps.clamp_(self.scheme.code_min, self.scheme.code_max).to(torch.uint8).reshape(values.shape)

    def dequantize(self, codes: Tensor) -> Tensor:
        """Raise: codes alone say nothing without the numbers that they were found from."""
        raise TypeError("codes of a dynamic quantizer have no values of their own")

    def reach(self) -> None:  # type: ignore[override]
        """Return nothing: the reach is that of every input."""
        return

    def _grouped(self, values: Tensor) -> Tensor:
        if self.scheme.group_size is None:
            return values
        return values.unflatten(self._channel(values), (-1, self.scheme.group_size))

    def _shared(self, values: Tensor) -> tuple[int, ...]:
        """Return the dimensions of the grouped values over which a scale is shared."""
        if self.scheme.granularity == "sample":
            return tuple(range(1, values.ndim))
        channel = self._channel(values)
        return (channel + 1,) if self.scheme.granularity == "group" else (channel,)

    def _channel(self, values: Tensor) -> int:
        return self.channels % values.ndim
