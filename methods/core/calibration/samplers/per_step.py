"""`per-step`: every step of the trajectory, of each the same number of samples.

What a table of ranges over timesteps needs: the finite-set calibration of TFMQ-DM (arXiv 2311.16503) fits the inputs of
each step to samples of that step alone.
"""

from __future__ import annotations

import numpy as np

from admbench.errors import UsageError
from admbench.methods.core.calibration.calibration_set import CalibrationSet
from admbench.methods.core.calibration.samplers.drawing import Drawing, deal


def draw_per_step(drawing: Drawing) -> CalibrationSet:
    """Record prompts * timesteps / steps pairs of each step, one more of some of them where that is no whole number.

    Raises:
        UsageError: there are fewer samples to record than steps.
    """
    if drawing.budget < drawing.steps:
        raise UsageError(
            f"calibration=per-step needs a sample of each of {drawing.steps} steps: prompts={len(drawing.prompts)}"
            f" times timesteps={drawing.timesteps} are {drawing.budget}"
        )
    ends = np.arange(drawing.steps + 1) * drawing.budget // drawing.steps
    return drawing.record(deal(np.diff(ends), len(drawing.prompts), drawing.generator(0x57E9)))
