"""`normal`: timesteps of each prompt's own, normally distributed and leaning to the clean end of trajectories.

PTQ4DM (arXiv 2211.15736): t = int(T * Normal(0.4, 0.4)), cut off to 0..T-1, where T is the number of steps and t = 0
the cleanest; the numbers are those of the released script. Cutting off puts a sixth of the samples on t = 0.

The pairing. A sample of t is recorded where the trajectory is at t. (The released code counts its loop upwards while
t runs downwards, so that samples labelled t come from about T - 1 - t.) A timestep that a prompt draws twice counts
twice.
"""

from __future__ import annotations

import numpy as np

from admbench.methods.core.calibration.calibration_set import CalibrationSet
from admbench.methods.core.calibration.samplers.drawing import Drawing

MEAN, DEVIATION = 0.4, 0.4


def draw_normal(drawing: Drawing) -> CalibrationSet:
    """Record `timesteps` draws of every prompt."""
    shape = len(drawing.prompts), drawing.timesteps
    draws = drawing.generator(0xD47A).normal(MEAN, DEVIATION, shape)
    cleanness = np.clip((draws * drawing.steps).astype(int), 0, drawing.steps - 1)
    counts = np.zeros((len(drawing.prompts), drawing.steps), dtype=np.int64)
    np.add.at(counts, (np.arange(len(counts))[:, None], drawing.steps - 1 - cleanness), 1)
    return drawing.record(counts)
