"""What is asked of a prompt source, and what it returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from torch import Tensor


class TextEncoder(Protocol):
    """The part of `admbench.methods.protocol.DenoisingModel` that prompts are seen through."""

    def embed_text(self, prompts: Sequence[str]) -> Tensor:
        """Return one vector of each prompt, (n, width) float32 on the CPU."""


@dataclass(frozen=True)
class PromptRequest:
    """Calibration prompts to be made of the user's own."""

    prompts: tuple[str, ...]
    """The user's prompts."""
    count: int
    """Prompts wanted."""
    seed: int
    model: TextEncoder

    def generator(self, purpose: int) -> np.random.Generator:
        """Return a generator of random numbers that depends on the seed and on what it is for."""
        return np.random.default_rng([self.seed, purpose])


@dataclass(frozen=True)
class ChosenPrompts:
    """What a prompt source returns."""

    prompts: tuple[str, ...]
    """As many as were wanted."""
    candidates: tuple[str, ...]
    """What they were chosen from, the user's prompts among them."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What the record's calibration section says of them beside their number, as JSON values."""
