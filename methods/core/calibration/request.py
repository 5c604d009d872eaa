"""What a method asks for as calibration data, as plain data: enough to draw the set without the method."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class CalibrationRequest(BaseModel):
    """A recipe whose trajectory is the model's own where the method does not say otherwise.

    With a model it becomes a recipe: `samplers.recipe.CalibrationRecipe.of`. It travels as JSON, and equal requests
    are equal sets, so that whoever carries out several methods draws what they share once, in a process of its own.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    sampler: str = Field(max_length=100)
    """Name in `admbench.methods.core.calibration.samplers.SAMPLERS`."""
    prompt_source: str = Field(max_length=100)
    """Name in `admbench.methods.core.calibration.prompts.PROMPT_SOURCES`."""
    prompts: int = Field(ge=1, le=100_000)
    """Prompts to denoise."""
    timesteps: int = Field(ge=1, le=1000)
    """Steps to record of each trajectory; all of them where it has fewer."""
    steps: int | None = Field(ge=1, le=1000)
    """Denoising steps of a trajectory; None: the model's own default."""
    most_steps: int | None = Field(ge=1, le=1000)
    """Limit of the model's own default; None: there is none."""
    guidance: float | None = Field(ge=0, le=100, allow_inf_nan=False)
    """Classifier-free guidance scale of a trajectory; None: the model's own default."""
