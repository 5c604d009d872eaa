"""`given`: the user's prompts as they are."""

from __future__ import annotations

from admbench.methods.core.calibration.prompts.request import ChosenPrompts, PromptRequest


def take_given(request: PromptRequest) -> ChosenPrompts:
    """Take the first ones."""
    return ChosenPrompts(request.prompts[: request.count], request.prompts)
