"""Zimtohrli: would a listener hear the difference to the full-precision model's clip?

Task: as of all fidelity scores, quantization should not change what a model makes from a caption and a seed. Zimtohrli
(Alakuijala, Bruse et al., https://github.com/google/zimtohrli) compares two clips as an ear would hear them: a bank of
128 filters from 18 Hz to 20 kHz, loudness, alignment in time by dynamic warping, and a similarity of the two neurograms
(NSIM); the distance is 1 - NSIM. It has no weights. Its authors made it for audio codecs, for differences about as
large as the least that are heard; on clips that are simply different it says only that they are.

Conventions: full scale 1; of stereo clips each ear by itself, and the mean of both; both clips resampled to 48 kHz by
soxr (HQ); the shorter one, and both where they have less than a second, are followed by silence. Distance of (baseline,
generated), mean over captions; lower is better; 0 for equal clips, two independent noises of one level are 0.012 apart.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from admbench.metrics.perceptual import PerceptualMeasure, package


def mean_opinion_score(distance: float) -> float:
    """Return what its authors map a distance to: a mean opinion score from 1 (bad) to 5 (no difference is heard).

    They made it for codecs; that it holds for generated audio, nobody has shown.

    Raises:
        ValueError: the package is not installed.
    """
    return float(package("zimtohrli", "zimtohrli").mos_from_zimtohrli(distance))


class Zimtohrli(PerceptualMeasure):
    """Mean Zimtohrli distance to the baseline's clips."""

    name = "zimtohrli"
    summary = (
        "Zimtohrli, psychoacoustic distance to the baseline's clips at 48 kHz, mean over captions; lower is better."
        " Its authors map 0 to MOS 5, 0.0026 to 4.5, 0.0056 to 4. Made for codecs, for differences that are just heard"
    )
    requires = ("zimtohrli",)
    module = "zimtohrli"
    higher_is_better = False
    ratio_scale = True
    range = (0.0, 1.0)
    of_equal_clips = 0.0

    @cached_property
    def _model(self) -> Any:
        return self._package().Pyohrli()

    def hear(self, generated: NDArray[np.float32], baseline: NDArray[np.float32]) -> float:
        """Return the distance of one pair."""
        return float(self._model.distance(baseline, generated))
