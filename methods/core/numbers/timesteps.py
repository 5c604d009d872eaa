"""Input quantizers with a scale for every timestep, and how the current timestep reaches them.

The distribution of activations drifts along a trajectory, so several papers give a layer's input one scale per step
(TFMQ-DM's finite-set calibration, EfficientDM's temporal activation step sizes). The backbone gets its timestep at
every call; a `Clock` notes it there and is read by the tables inside. Each backbone has a clock of its own: nothing is
global.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from admbench.methods.core.numbers.dynamic import DynamicQuantizer
from admbench.methods.core.numbers.quantizer import Quantizer, fake_quantize, scale_and_zero_point
from admbench.methods.core.numbers.scheme import Scheme
from admbench.methods.protocol import DenoisingModel


class Clock:
    """The timesteps of a backbone's current call, one for each row or one for all."""

    def __init__(self) -> None:
        self.timesteps: Tensor | None = None

    def set(self, timesteps: Any) -> None:
        """Note the timesteps, a number or a tensor of one or of n."""
        self.timesteps = _as_vector(timesteps)

    def read_call(self, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Note the timestep of a call of a backbone: a forward pre-hook."""
        self.set(timesteps_in(args, kwargs))


def timesteps_in(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor:
    """Return the timesteps of a call of a backbone, (1,) or (n,) float32: its second argument, or by name."""
    return _as_vector(kwargs["timestep"] if "timestep" in kwargs else args[1])


def timesteps_of_calls(model: DenoisingModel, batches: Iterable[dict[str, Tensor]]) -> Tensor | None:
    """Return the timestep of each row of some inputs, (N,) float32 on the CPU; None if they have none.

    It is asked for by calls that end where the backbone begins: a model may give its backbone a timestep in other units
    than those of the inputs.
    """
    parts = []
    hook = model.backbone.register_forward_pre_hook(_stop, with_kwargs=True)
    try:
        for inputs in batches:
            try:
                model.call_backbone(inputs)
            except _Reached as reached:
                if reached.timesteps is not None:
                    parts.append(reached.timesteps.cpu().expand(len(next(iter(inputs.values())))))
            if not parts:
                return None
    finally:
        hook.remove()
    return torch.cat(parts)


class _Reached(Exception):
    """A call has come to the backbone, with these timesteps."""

    def __init__(self, timesteps: Tensor | None) -> None:
        super().__init__()
        self.timesteps = timesteps


def _stop(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    given = "timestep" in kwargs or len(args) > 1
    raise _Reached(timesteps_in(args, kwargs).clone() if given else None)


def _as_vector(timesteps: Any) -> Tensor:
    return torch.as_tensor(timesteps).detach().reshape(-1).float()


class TimestepEntries(Quantizer):
    """A quantizer with numbers for some timesteps; of another timestep, those of the nearest one count.

    `timesteps` is (entries,) float32, strictly increasing, in the units of the backbone's input; `clock` is that of
    the backbone, None until `attach_clock`.
    """

    timesteps: Tensor
    clock: Clock | None

    def allows(self, attribute: str, stored: Tensor) -> bool:
        """See `Quantizer.allows`: timesteps increase."""
        return bool((stored.diff() > 0).all()) if attribute == "timesteps" else super().allows(attribute, stored)

    def current_entries(self) -> list[int]:
        """Return which entry the current timesteps are nearest to, one for each of them.

        Raises:
            RuntimeError: read outside of a call of its backbone.
        """
        return self._entries().tolist()

    def _entries(self) -> Tensor:
        if self.clock is None or self.clock.timesteps is None:
            raise RuntimeError("a table over timesteps is read outside of a call of its backbone")
        now = self.clock.timesteps.to(self.timesteps.device)
        return (now[:, None] - self.timesteps).abs().argmin(dim=1)

    def _of_rows(self, entry: Tensor, rows: int) -> Tensor:
        """Return the entry of each of some rows; a layer may make several of one, such as frames."""
        if rows % len(entry):
            raise RuntimeError(f"{rows} rows at {len(entry)} timesteps")
        return entry.repeat_interleave(rows // len(entry))


class TimestepTable(TimestepEntries):
    """A quantizer per tensor whose scale and zero point depend on the timestep: those of the nearest entry.

    Args:
        scheme: granularity `tensor`, static and uniform.
        scale: (entries,) float32, positive.
        zero_point: (entries,) uint8.
        timesteps: (entries,) float32, strictly increasing, in the units of the backbone's input.
        clock: of the backbone; None until `attach_clock`.
    """

    def __init__(
        self, scheme: Scheme, scale: Tensor, zero_point: Tensor, timesteps: Tensor, clock: Clock | None = None
    ) -> None:
        super().__init__(scheme, scale, zero_point)
        self.register_buffer("timesteps", timesteps)
        self.clock = clock

    @classmethod
    def empty(cls, scheme: Scheme, entries: int) -> TimestepTable:
        """Return one without numbers, on the meta device: the shapes and dtypes that a checkpoint must fill."""
        scale, timesteps = (torch.empty(entries, dtype=torch.float32, device="meta") for _ in range(2))
        return cls(scheme, scale, torch.empty(entries, dtype=torch.uint8, device="meta"), timesteps)

    def fake_quantize(self, values: Tensor) -> Tensor:
        """Return `values` (n, ...) rounded, each row as its timestep says; gradients as `Quantizer`'s."""
        scale, zero_point = self._now(values)
        return fake_quantize(values, self.scheme, scale, zero_point)

    @torch.no_grad()
    def codes(self, values: Tensor) -> Tensor:
        """Return the uint8 codes of `values` (n, ...), same shape."""
        return self.at(*self._now(values)).codes(values)

    @torch.no_grad()
    def dequantize(self, codes: Tensor) -> Tensor:
        """Return the float32 values of uint8 `codes` (n, ...), same shape."""
        return self.at(*self._now(codes)).dequantize(codes)

    def at(self, scale: Tensor, zero_point: Tensor) -> Quantizer:
        """Return a quantizer with these numbers for every timestep."""
        return Quantizer(self.scheme, scale, zero_point)

    def _now(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return scale and zero point of the current timesteps: (), or (n,) where rows are at different ones."""
        entry = self._entries()
        if bool((entry == entry[0]).all()):
            return self.scale[entry[0]], self.zero_point[entry[0]]
        entry = self._of_rows(entry, len(values))
        return self.scale[entry], self.zero_point[entry]


class ClippedInput(DynamicQuantizer, TimestepEntries):
    """Ranges that are found at run time, times a ratio that depends on the timestep; what is beyond them is clipped.

    Args:
        scheme: dynamic and uniform.
        channels: dimension of the input's channels, see `DynamicQuantizer`.
        clip: (entries,) float32, above 0 and at most 1. A single one is that of all timesteps, and reads no clock.
        timesteps: (entries,) float32, strictly increasing, in the units of the backbone's input.
    """

    clip: Tensor

    def __init__(self, scheme: Scheme, channels: int, clip: Tensor, timesteps: Tensor) -> None:
        super().__init__(scheme, channels)
        self.register_buffer("clip", clip)
        self.register_buffer("timesteps", timesteps)
        self.clock = None

    def allows(self, attribute: str, stored: Tensor) -> bool:
        """See `Quantizer.allows`: ratios are above 0 and at most 1."""
        if attribute == "clip":
            return bool(((stored > 0) & (stored <= 1)).all())
        return super().allows(attribute, stored)

    def parameters_for(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """See `DynamicQuantizer`; ranges are clipped."""
        grouped, dimensions = self._grouped(values.detach()), self._shared(values)
        ratio = self.clip if len(self.clip) == 1 else self.clip[self._of_rows(self._entries(), len(values))]
        ratio = ratio.view(-1, *[1] * (grouped.ndim - 1))
        low, high = grouped.amin(dimensions, True) * ratio, grouped.amax(dimensions, True) * ratio
        return scale_and_zero_point(self.scheme, low, high)


def attach_clock(backbone: nn.Module) -> Clock | None:
    """Give the tables of a backbone one clock, set at every call of it; None and nothing if it has no tables."""
    tables = [module for module in backbone.modules() if isinstance(module, TimestepEntries)]
    if not tables:
        return None
    clock = next((table.clock for table in tables if table.clock is not None), None)
    if clock is None:
        clock = Clock()
        backbone.register_forward_pre_hook(clock.read_call, with_kwargs=True)
    for table in tables:
        table.clock = clock
    return clock


def clocks_of(backbone: nn.Module) -> list[Clock]:
    """Return the clocks that a backbone's tables, and any others of its modules, read as their `clock`.

    A copy that shares these modules must share the clocks too.
    """
    found = [getattr(module, "clock", None) for module in backbone.modules()]
    return list({id(clock): clock for clock in found if isinstance(clock, Clock)}.values())
