"""Prompt sources: what the prompts of a calibration set are, whichever sampler draws it. One file for each.

A source takes a `PromptRequest`, the user's prompts among it, and returns the prompts to denoise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from admbench.errors import UsageError, nearest
from admbench.methods.core.calibration.prompts.coverage import CoveragePrompts
from admbench.methods.core.calibration.prompts.given import take_given
from admbench.methods.core.calibration.prompts.mixup import mix_prompts
from admbench.methods.core.calibration.prompts.request import ChosenPrompts, PromptRequest


@dataclass(frozen=True)
class PromptSource:
    """A way to come by calibration prompts."""

    choose: Callable[[PromptRequest], ChosenPrompts]
    fewest: int | None = None
    """Prompts of the user's that it needs, all of which it reads; None for a source that takes the first ones."""
    version: int = 1
    """Changes whenever `choose` returns other prompts for the same request: part of a set's content address."""

    def reads(self, prompts: Sequence[str], count: int) -> tuple[str, ...]:
        """Return those of the user's prompts that `count` calibration prompts depend on.

        Raises:
            UsageError: there are too few.
        """
        needed = count if self.fewest is None else self.fewest
        if len(prompts) < needed:
            raise UsageError(f"calibration needs {needed} prompts, there are {len(prompts)}")
        return tuple(prompts[:count] if self.fewest is None else prompts)


GIVEN = "given"
PROMPT_SOURCES: dict[str, PromptSource] = {
    GIVEN: PromptSource(take_given),
    "mixup-prompt": PromptSource(mix_prompts, fewest=1),
    "coverage-prompt": PromptSource(CoveragePrompts(), fewest=1),
}
"""What may stand, in the option `calibration`, before a sampler or alone."""


def find_prompt_source(name: str) -> PromptSource:
    """Return a prompt source by name.

    Raises:
        UsageError: there is none of that name; names the nearest.
    """
    if name not in PROMPT_SOURCES:
        available = f"Available: {', '.join(PROMPT_SOURCES)}"
        raise UsageError(f'unknown prompt source "{name}".{nearest(name, PROMPT_SOURCES)} {available}')
    return PROMPT_SOURCES[name]
