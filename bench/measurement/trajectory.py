"""Two models on their way from the same noise: how their latents drift apart.

Full precision's latents are kept once for all that are compared with them (`AlongTheWay`), and the others' are held
against these step by step (`Against`): while they are made, where the captions that are compared are the first batch of
what is generated anyway, else by denoising them once more, to the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from admbench.metrics.latents import signal_to_noise_of_latents

if TYPE_CHECKING:
    pass

CAPTIONS = 8
"""Captions of a suite whose trajectories are compared: both models denoise them once more."""


Trajectory = Iterator[tuple[int, Tensor]]
"""After each step of a batch, its timestep and the latents, float32 (n, ...)."""


def latents_apart(full: Trajectory, quantized: Trajectory) -> dict[str, Any]:
    """Compare the latents of two models, that denoise the same captions from the same noise, in step.

    Returns:
        `timesteps` (steps,) and `decibels` (captions, steps): the ratio of each caption after each step; or `reason`:
        why there is nothing.
    """
    timesteps, rows = [], []
    for (timestep, ours), (_, theirs) in zip(full, quantized, strict=True):
        timesteps.append(timestep)
        try:
            rows.append(signal_to_noise_of_latents(ours.cpu().numpy(), theirs.cpu().numpy()))
        except ValueError as error:
            return {"reason": str(error)}
    return {"timesteps": timesteps, "decibels": np.stack(rows, axis=1).tolist()}


class AlongTheWay:
    """The latents of a batch after each of its steps, kept."""

    def __init__(self) -> None:
        self._steps: list[tuple[int, Tensor]] = []

    def __bool__(self) -> bool:
        return bool(self._steps)

    def __call__(self, timestep: int, latents: Tensor) -> None:
        """Keep those after a step, float32 (n, ...)."""
        self._steps.append((int(timestep), latents.detach().cpu().clone()))

    def save(self, path: Path) -> None:
        """Write `latents` (steps, n, ...) and `timesteps` (steps,)."""
        timesteps, latents = zip(*self._steps, strict=True)
        save_file({"latents": torch.stack(latents), "timesteps": torch.tensor(timesteps)}, path)


class Against:
    """Holds the latents of a batch against those that another model had, step by step; these are mapped, not loaded.

    Args:
        path: what `AlongTheWay.save` wrote.
    """

    def __init__(self, path: Path) -> None:
        self._file = safe_open(path, framework="pt")
        self._full = self._file.get_slice("latents")
        self._timesteps: list[int] = self._file.get_tensor("timesteps").tolist()
        self._rows: list[Any] = []
        self._reason: str | None = None

    def __call__(self, timestep: int, latents: Tensor) -> None:
        """Compare those after a step, float32 (n, ...)."""
        place = len(self._rows)
        if self._reason is not None:
            return
        if self._timesteps[place : place + 1] != [int(timestep)]:
            self._reason = f"step {place} is of time {int(timestep)}, which is not full precision's"
            return
        try:
            full = self._full[place : place + 1][0].numpy()
            self._rows.append(signal_to_noise_of_latents(full, latents.cpu().numpy()))
        except ValueError as error:
            self._reason = str(error)

    @property
    def apart(self) -> dict[str, Any] | None:
        """What `latents_apart` returns, or `{"reason": why there is nothing}`; None where not every step was seen."""
        if self._reason is not None:
            return {"reason": self._reason}
        if len(self._rows) != len(self._timesteps):
            return None
        return {"timesteps": self._timesteps, "decibels": np.stack(self._rows, axis=1).tolist()}


@contextmanager
def watched_first_batch(model: Any, on_step: Callable[[int, Tensor], None]) -> Iterator[None]:
    """Call `on_step(timestep, latents)` after each step of the first batch that a model denoises inside of the block.

    A model that generates in a way of its own, without `denoise`, is not watched.
    """
    own = getattr(model, "denoise", None)
    if own is None:
        yield
        return
    batches = 0

    def denoise(*arguments: Any, **settings: Any) -> Iterator[tuple[int, Tensor]]:
        nonlocal batches
        batches += 1
        first = batches == 1
        for timestep, latents in own(*arguments, **settings):
            if first:
                on_step(timestep, latents)
            yield timestep, latents

    model.denoise = denoise
    try:
        yield
    finally:
        del model.denoise


def is_first_batch(captions: int, batch_size: int) -> bool:
    """Return whether the captions that are compared are the whole first batch of so many, in batches of a size."""
    return min(CAPTIONS, captions) == min(batch_size, captions)
