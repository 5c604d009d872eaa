"""What this machine has to give to jobs side by side: its devices, one to a job, and its memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

from admbench.bench.run.executors.base import Resources

VISIBLE = "CUDA_VISIBLE_DEVICES"
"""Environment variable: the devices that a process sees, by number or by name."""


@dataclass(frozen=True)
class Place:
    """What a job holds while it runs."""

    device: str | None = None
    """In the words of `CUDA_VISIBLE_DEVICES`; None where it computes on none, or none is known."""
    memory_bytes: int = 0
    """0 where nothing tells."""

    @property
    def environment(self) -> dict[str, str]:
        """What the job's process finds in its environment beside that of all."""
        return {} if self.device is None else {VISIBLE: self.device}


class Room:
    """Devices and memory, and who holds them.

    Args:
        devices: in the words of `CUDA_VISIBLE_DEVICES`; none known is no limit.
        memory_bytes: that jobs of known need may hold together; None is no limit.
    """

    def __init__(self, devices: Sequence[str] = (), memory_bytes: int | None = None) -> None:
        self._limited = bool(devices)
        self._free = list(devices)
        self._memory_bytes = memory_bytes
        self._held: list[Place] = []

    @classmethod
    def of_this_machine(cls, device: str) -> Room:
        """Return the memory of this machine and, if jobs compute on such devices, those that this process sees.

        Args:
            device: of the jobs, as a grid names it: `cpu` or `cuda`.
        """
        return cls(_visible_devices() if device == "cuda" else (), psutil.virtual_memory().total)

    def take(self, needs: Resources) -> Place | None:
        """Return what a job holds from now on; None if it does not fit beside the others. Alone, every job does."""
        memory = needs.memory_bytes or 0
        if needs.gpus and self._limited and not self._free:
            return None
        held = sum(place.memory_bytes for place in self._held)
        if self._held and self._memory_bytes is not None and memory and held + memory > self._memory_bytes:
            return None
        place = Place(self._free.pop(0) if needs.gpus and self._limited else None, memory)
        self._held.append(place)
        return place

    def give_back(self, place: Place) -> None:
        """Let others have what a job held."""
        self._held.remove(place)
        if place.device is not None:
            self._free.append(place.device)


def _visible_devices() -> list[str]:
    said = os.environ.get(VISIBLE)
    if said is not None:
        return [one.strip() for one in said.split(",") if one.strip()]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]
