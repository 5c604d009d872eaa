"""The recipe of a calibration set: with the prompts, a seed and the model's weights, it determines the set.

The option `calibration` names its two parts: what the prompts are (`calibration.prompts`) and which steps of their
trajectories are recorded (`calibration.samplers`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from admbench.errors import UsageError, nearest
from admbench.hashing import sha256_json
from admbench.methods.core.calibration.calibration_set import FORMAT_VERSION, CalibrationSet
from admbench.methods.core.calibration.prompts import GIVEN, PROMPT_SOURCES, find_prompt_source
from admbench.methods.core.calibration.prompts.request import ChosenPrompts, PromptRequest
from admbench.methods.core.calibration.request import CalibrationRequest
from admbench.methods.core.calibration.samplers import SAMPLERS, find_sampler
from admbench.methods.core.calibration.samplers.drawing import Drawing
from admbench.methods.protocol import DenoisingModel

DEFAULT_SAMPLER = "uniform"


@dataclass(frozen=True)
class CalibrationRecipe:
    """How to draw a calibration set: with the prompts, a seed and the model's weights, this determines it."""

    sampler: str
    """Name in `admbench.methods.core.calibration.samplers.SAMPLERS`."""
    prompts: int
    """Prompts to denoise."""
    timesteps: int
    """Denoising steps to record of each trajectory."""
    steps: int
    """Denoising steps of a trajectory."""
    guidance: float
    """Classifier-free guidance scale of the trajectories."""
    prompt_source: str = GIVEN
    """Name in `admbench.methods.core.calibration.prompts.PROMPT_SOURCES`: what the prompts are."""
    solver: str | None = None
    """What denoises the trajectories, where that is not the model's own: see `DenoisingModel.sampler`."""

    @classmethod
    def of(cls, request: CalibrationRequest, model: DenoisingModel) -> CalibrationRecipe:
        """Return the recipe of what a method asks for, with the model's own steps and guidance where it does not say.

        >>> from admbench.bench.conformance.tiny_models import tiny_tango
        >>> from admbench.methods import from_spec
        >>> request = from_spec("naive@w4a8[prompts=2]").calibration_request
        >>> recipe = CalibrationRecipe.of(request, tiny_tango())
        >>> recipe.prompts, recipe.timesteps, recipe.steps, recipe.guidance
        (2, 5, 25, 3.0)
        """
        own = model.default_steps if request.most_steps is None else min(model.default_steps, request.most_steps)
        steps = own if request.steps is None else request.steps
        guidance = model.default_guidance if request.guidance is None else request.guidance
        timesteps = min(request.timesteps, steps)
        drawn = (request.sampler, request.prompts, timesteps, steps, guidance, request.prompt_source)
        return cls(*drawn, solver=model.sampler)

    def draw(self, model: DenoisingModel, prompts: Sequence[str], *, seed: int) -> CalibrationSet:
        """Choose the prompts, run their trajectories and record.

        Raises:
            UsageError: fewer prompts than the recipe asks for, or a source or sampler that does not exist.
            DataError: the model's calls do not fit together, or hold NaN or infinity.
        """
        started = time.perf_counter()
        chosen = self.choose_prompts(model, prompts, seed=seed)
        recipe = {**asdict(self), "seed": seed, **chosen.facts}
        drawing = Drawing(model, chosen.prompts, seed, self.timesteps, self.steps, self.guidance, recipe, started)
        return find_sampler(self.sampler).draw(drawing)

    def choose_prompts(self, model: DenoisingModel, prompts: Sequence[str], *, seed: int) -> ChosenPrompts:
        """Return the prompts that `draw` would denoise, made of those at hand.

        Raises:
            UsageError: fewer prompts than the recipe asks for, or a source that does not exist.
        """
        source = find_prompt_source(self.prompt_source)
        return source.choose(PromptRequest(source.reads(prompts, self.prompts), self.prompts, seed, model))

    def key(self, model: DenoisingModel, prompts: Sequence[str], *, seed: int) -> str:
        """Return the content address of the set that `draw` would give, as 64 hex digits.

        Raises:
            UsageError: fewer prompts than the recipe asks for, or a source or sampler that does not exist.
        """
        source = find_prompt_source(self.prompt_source)
        versions = [FORMAT_VERSION, find_sampler(self.sampler).version, source.version]
        read = list(source.reads(prompts, self.prompts))
        return sha256_json([versions, model.weights_sha256, asdict(self), read, seed])


def parse_calibration(name: str) -> tuple[str, str]:
    """Return the prompt source and the sampler that a value of the option `calibration` names.

    It is `SAMPLER`, `PROMPTS` or `PROMPTS+SAMPLER`; what is not named is `given` and `uniform`.

    >>> parse_calibration("normal")
    ('given', 'normal')

    Raises:
        UsageError: a name that does not exist, or more than two; names the nearest.
    """
    parts = name.split("+")
    if len(parts) == 1:
        if name in SAMPLERS:
            return GIVEN, name
        if name in PROMPT_SOURCES:
            return name, DEFAULT_SAMPLER
    elif len(parts) == 2 and parts[0] in PROMPT_SOURCES and parts[1] in SAMPLERS:
        return parts[0], parts[1]
    wrong = next((part for part in parts if part not in PROMPT_SOURCES and part not in SAMPLERS), name)
    raise UsageError(
        f'unknown calibration "{name}".{nearest(wrong, [*SAMPLERS, *PROMPT_SOURCES])} Available: {", ".join(SAMPLERS)};'
        f" prompts: {', '.join(PROMPT_SOURCES)}; both: PROMPTS+SAMPLER"
    )
