"""`uniform`: the same steps of every prompt, spread evenly over the trajectory, its first and last step included.

As Q-Diffusion (arXiv 2302.04304) does, but for the ends: there ranges are widest.
"""

from __future__ import annotations

import numpy as np

from admbench.methods.core.calibration.calibration_set import CalibrationSet
from admbench.methods.core.calibration.samplers.drawing import Drawing


def draw_uniform(drawing: Drawing) -> CalibrationSet:
    """Record `timesteps` steps of every prompt."""
    counts = np.zeros((len(drawing.prompts), drawing.steps), dtype=np.int64)
    counts[:, np.linspace(0, drawing.steps - 1, drawing.timesteps).round().astype(int)] = 1
    return drawing.record(counts)
