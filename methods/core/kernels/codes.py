"""A layer's input to its codes in one pass: what `Quantizer.codes` returns, at the speed that kernels need."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from admbench.methods.core.numbers.quantizer import Quantizer
from admbench.methods.core.numbers.timesteps import TimestepTable

LARGEST_INPUT = 65_504.0
"""The largest number of half precision: what a layer's input is taken not to exceed."""


class InputCodes:
    """The input quantizer of a layer as plain numbers.

    Args:
        quantizer: per tensor; its scale, zero point and range of codes are read once.
    """

    def __init__(self, quantizer: Quantizer) -> None:
        self.scale = float(quantizer.scale)
        self.zero_point = int(quantizer.zero_point)
        self.lowest, self.highest = quantizer.scheme.code_min, quantizer.scheme.code_max
        # torch divides by the scale into a 32-bit integer, which wraps around: for scales that small, of inputs that
        # were as good as constant in calibration, what is beyond the codes is cut off before.
        wraps = self.scale * 2**31 <= LARGEST_INPUT
        ends = (self.lowest - 1 - self.zero_point, self.highest + 1 - self.zero_point)
        self._ends = (ends[0] * self.scale, ends[1] * self.scale) if wraps else None
        self._slow = None if hasattr(torch, "quantize_per_tensor") else quantizer.codes
        if self._slow is not None:
            return
        with warnings.catch_warnings():  # torch deprecates its quantized tensors, and says so at the first one
            warnings.simplefilter("ignore")
            torch.quantize_per_tensor(torch.zeros(1), 1.0, 0, torch.quint8)

    @property
    def numbers(self) -> tuple[float, int, int, int]:
        """Scale, zero point, smallest and largest code: two with the same ones give the same codes."""
        return self.scale, self.zero_point, self.lowest, self.highest

    def __call__(self, x: Tensor) -> Tensor:
        """Return the uint8 codes of float32 or bfloat16 `x`, same shape and memory format.

        `torch.quantize_per_tensor` computes round(x * (1/scale)) + zero_point, half to even, clamped to 0..255, as
        `Quantizer.codes` does, in one pass over threads; the bytes of its result are taken as they are. Where codes
        have fewer values, a second clamp gives what one would have.
        """
        x = x.float()
        if self._slow is not None:
            return self._slow(x)
        if self._ends is not None:
            x = x.clamp(*self._ends)
        quantized = torch.quantize_per_tensor(x, self.scale, self.zero_point, torch.quint8)
        codes = torch.empty(0, dtype=torch.uint8)
        codes.set_(quantized.untyped_storage(), 0, quantized.shape, quantized.stride())
        if (self.lowest, self.highest) != (0, 255):
            codes.clamp_(self.lowest, self.highest)
        return codes


class TableCodes:
    """The input quantizer of a layer with a scale per timestep: at every call the numbers of the backbone's clock.

    Args:
        table: its entries are read once, its clock at every call.
    """

    def __init__(self, table: TimestepTable) -> None:
        self.table = table
        pairs = zip(table.scale, table.zero_point, strict=True)
        self.entries = [InputCodes(table.at(scale, zero_point)) for scale, zero_point in pairs]
        self._now: int | None = None

    @property
    def current(self) -> InputCodes:
        """The entry of the current timestep."""
        return self.entries[self.entry]

    @property
    def entry(self) -> int:
        """Its number. Raises RuntimeError where rows are at several, or outside of a call of the backbone."""
        if self._now is not None:
            return self._now
        first, *others = self.table.current_entries()
        if any(other != first for other in others):
            raise RuntimeError("rows at several timesteps have several entries")
        return first

    scale = property(lambda self: self.current.scale)
    zero_point = property(lambda self: self.current.zero_point)
    numbers = property(lambda self: tuple(entry.numbers for entry in self.entries))

    def __call__(self, x: Tensor) -> Tensor:
        """Return the uint8 codes of float32 or bfloat16 `x`, same shape and memory format."""
        return self.current(x)

    def by_rows(self, x: Tensor, compute: Callable[[Tensor], Tensor]) -> Tensor:
        """Return `compute` of x (n, ...), called for all rows at once or, where their entries differ, one by one."""
        entries = self.table.current_entries()
        if len(set(entries)) == 1:
            return compute(x)
        if len(x) % len(entries):
            raise RuntimeError(f"{len(x)} rows at {len(entries)} timesteps")
        outputs = []
        try:
            for part, entry in zip(x.chunk(len(entries)), entries, strict=True):
                self._now = entry
                outputs.append(compute(part))
        finally:
            self._now = None
        return torch.cat(outputs)


def input_codes(quantizer: Quantizer) -> InputCodes | TableCodes:
    """Return the numbers of a static input quantizer."""
    return TableCodes(quantizer) if isinstance(quantizer, TimestepTable) else InputCodes(quantizer)
