"""`mixup-prompt`: Park et al., "Enhancing Generalization in Data-free Quantization via Mixup-class Prompting".

arXiv 2507.21947. Calibration data is made from text alone, and a prompt fuses several classes, after which an existing
method of post-training quantization follows. Reconstructed from the abstract: the template, the number of classes and
the method that follows are not public here. The paper calibrates image classifiers on images that a diffusion model
makes; here the diffusion model itself is calibrated, on its trajectories of such prompts (`calibration.prompts.mixup`).

What is new is the prompts, and any other method takes them by `calibration=mixup-prompt`. Under this name they come
with the simplest method, `naive`, so that the difference between the two is that of the prompts.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import field_validator

from admbench.methods.core.calibration.prompts import GIVEN
from admbench.methods.core.calibration.request import CalibrationRequest
from admbench.methods.core.calibration.samplers.recipe import parse_calibration
from admbench.methods.naive import Naive, NaiveConfig
from admbench.taxonomy import arxiv

SOURCE = "mixup-prompt"


class MixupPromptConfig(NaiveConfig):
    """Options of `mixup-prompt`: those of `naive`."""

    calibration: str = SOURCE
    """`mixup-prompt`, or the sampler that goes with it: a value that names a sampler alone keeps the prompts."""

    @field_validator("calibration")
    @classmethod
    def _check_source(cls, name: str) -> str:
        source, _ = parse_calibration(name)
        if source != SOURCE and (source != GIVEN or GIVEN in name.split("+")):
            raise ValueError(f"expected {SOURCE}, a sampler, or both; this method is its prompts")
        return name

    @property
    def request(self) -> CalibrationRequest:
        """See `CalibratedConfig`: on prompts of several sounds each."""
        return super().request.model_copy(update={"prompt_source": SOURCE})


class MixupPrompt(Naive):
    """`naive`, its ranges found on prompts of several sounds each."""

    name = "mixup-prompt"
    summary = "naive, calibrated on prompts that fuse several sounds; reconstructed from the abstract (2507.21947)"
    version = "1"
    track = "post-training"
    family = "rounding"
    paper = arxiv(
        "2507.21947",
        "Park et al., Enhancing Generalization in Data-free Quantization via Mixup-class Prompting, 2025",
        read="abstract",
    )
    takes_formats = True
    Config: ClassVar[type[MixupPromptConfig]] = MixupPromptConfig
    config: MixupPromptConfig
