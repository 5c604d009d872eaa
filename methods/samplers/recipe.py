"""The recipe of a calibration set: with the prompts, a seed and the model's weights, it determines the set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from admcore.errors import UsageError
from admcore.hashing import sha256_json
from methods.core.calibration import FORMAT_VERSION, CalibrationSet
from methods.protocol import DenoisingModel
from methods.samplers import find_sampler
from methods.samplers.drawing import Drawing


@dataclass(frozen=True)
class CalibrationRecipe:
    """How to draw a calibration set: with the prompts, a seed and the model's weights, this determines it."""

    sampler: str
    """Name in `methods.samplers.SAMPLERS`."""
    prompts: int
    """Prompts to denoise: the first ones of those at hand."""
    timesteps: int
    """Denoising steps to record of each trajectory."""
    steps: int
    """Denoising steps of a trajectory."""
    guidance: float
    """Classifier-free guidance scale of the trajectories."""

    def draw(self, model: DenoisingModel, prompts: Sequence[str], *, seed: int) -> CalibrationSet:
        """Run the trajectories and record.

        Raises:
            UsageError: fewer prompts than the recipe asks for, or a sampler that does not exist.
            DataError: the model's calls do not fit together, or hold NaN or infinity.
        """
        recipe = {**asdict(self), "seed": seed}
        drawing = Drawing(model, self._chosen(prompts), seed, self.timesteps, self.steps, self.guidance, recipe)
        return find_sampler(self.sampler).draw(drawing)

    def key(self, model: DenoisingModel, prompts: Sequence[str], *, seed: int) -> str:
        """Return the content address of the set that `draw` would give, as 64 hex digits.

        Raises:
            UsageError: fewer prompts than the recipe asks for, or a sampler that does not exist.
        """
        version = find_sampler(self.sampler).version
        return sha256_json(
            [FORMAT_VERSION, version, model.weights_sha256, asdict(self), list(self._chosen(prompts)), seed]
        )

    def _chosen(self, prompts: Sequence[str]) -> tuple[str, ...]:
        if len(prompts) < self.prompts:
            raise UsageError(f"calibration needs {self.prompts} prompts, there are {len(prompts)}")
        return tuple(prompts[: self.prompts])
