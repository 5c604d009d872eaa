"""Calibrate and quantize a model: what the command line, the cells and the API share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from admcore.hashing import sha256_json
from bench.suites import calibration_prompts
from methods import from_spec
from methods.core.calibration import CalibrationSet

if TYPE_CHECKING:
    from bench.models.base import AudioDiffusionModel
    from methods.base import Method
    from methods.core.backbone import QuantizedBackbone

DEFAULT_CALIBRATION_PROMPTS = 128
"""Prompts offered to a method whose configuration does not say how many it takes."""


def quantize_backbone(
    model: AudioDiffusionModel,
    spec: str,
    *,
    prompts: Sequence[str] | None = None,
    seed: int = 0,
    calibration_sets: Path | None = None,
) -> tuple[QuantizedBackbone, CalibrationSet | None]:
    """Quantize a model's backbone; the model is left as it is.

    Args:
        model: in full precision.
        spec: method spec, such as `naive@w4a8`.
        prompts: calibration prompts; None takes those of the embedded corpus's calibration split.
        seed: of the calibration trajectories.
        calibration_sets: folder where sets are kept by content, so that methods share them; None keeps none.

    Raises:
        BenchError: the spec is not valid, the method cannot be loaded, or the model cannot be quantized by it.
    """
    method = from_spec(spec)
    if prompts is None:
        prompts = calibration_prompts(calibration_prompt_count(method))
    calibration = _calibration(method, model, prompts, seed, calibration_sets)
    return method.quantize(model, calibration), calibration


def calibration_prompt_count(method: Method) -> int:
    """Return how many calibration prompts a method takes: its option `prompts`, where it has one."""
    return int(getattr(method.config, "prompts", DEFAULT_CALIBRATION_PROMPTS))


def run_seed(item_seed: int, seed: int) -> int:
    """Return the noise seed of a caption in a run: its own for run seed 0, else one that follows from both."""
    return item_seed if seed == 0 else int(sha256_json([item_seed, seed])[:8], 16) >> 1


def _calibration(
    method: Method, model: AudioDiffusionModel, prompts: Sequence[str], seed: int, folder: Path | None
) -> CalibrationSet | None:
    """Load the method's calibration set from the folder, or draw it and leave it there."""
    key = method.calibration_key(model, prompts, seed=seed)
    if folder is None or key is None:
        return method.calibrate(model, prompts, seed=seed)
    place = folder / key[:32]
    if place.is_dir():
        return CalibrationSet.load(place)
    drawn = method.calibrate(model, prompts, seed=seed)
    if drawn is not None and not place.is_dir():  # another cell may have drawn the same set at the same time
        drawn.save(place)
    return drawn
