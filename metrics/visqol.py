"""ViSQOL: what mean opinion score would listeners give the clip, beside the full-precision model's?

ViSQOL v3 (Chinen et al. 2020, "ViSQOL v3: an open source production ready objective speech and audio metric") compares
gammatone spectrograms of two clips patch by patch (NSIM), and maps the similarities to a mean opinion score by a
support vector regression that was fitted to listening tests of music and general audio through codecs. It runs here as
the package visqol-python, which brings the published model with it; audio mode.

Conventions: 48 kHz, both clips as in `admbench.metrics.perceptual`; of stereo the mean over both ears. Higher is
better, between 1 and 5; equal clips have 4.73, the most that the model gives. A clip that is silent has no score: the
package takes one beside a silent baseline for equal, and gives NaN for a silent one.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from admbench.metrics.perceptual import SAMPLE_RATE, PerceptualMeasure


class Visqol(PerceptualMeasure):
    """Mean opinion score by ViSQOL, the baseline's clips being the reference."""

    name = "visqol"
    summary = (
        "ViSQOL v3, audio mode: mean opinion score (1 to 5) beside the baseline's clips at 48 kHz, mean over captions;"
        " higher is better, equal clips have 4.73. Made for codecs"
    )
    requires = ("visqol-python",)
    module = "visqol"
    higher_is_better = True
    range = (1.0, 5.0)

    @cached_property
    def _model(self) -> Any:
        model = self._package().VisqolApi()
        model.create(mode="audio")
        return model

    def hear(self, generated: NDArray[np.float32], baseline: NDArray[np.float32]) -> float:
        """Return the score of one pair; ValueError if one of the two is silent."""
        for whose, clip in (("", generated), ("the baseline's ", baseline)):
            if not clip.any():
                raise ValueError(f"{whose}is silent, which has no score")
        found = self._model.measure_from_arrays(baseline.astype(np.float64), generated.astype(np.float64), SAMPLE_RATE)
        if not math.isfinite(found.moslqo):
            raise ValueError("the package gives no number")
        return float(found.moslqo)
