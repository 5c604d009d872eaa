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
from importlib import metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray

from admbench.metrics.audio import SHORT_SECONDS, Sound
from admbench.metrics.features import Features
from admbench.metrics.intervals import Statistic
from admbench.metrics.waveform_pairs import PairedSounds
from admbench.registry import missing_distributions

PACKAGE = "zimtohrli"
SAMPLE_RATE = 48_000
"""Hz; the only rate that it is defined for."""


def mean_opinion_score(distance: float) -> float:
    """Return what its authors map a distance to: a mean opinion score from 1 (bad) to 5 (no difference is heard).

    The mapping was fitted to listening tests of codecs; that it holds for generated audio, nobody has shown.

    Raises:
        ValueError: the package is not installed.
    """
    return float(_package().mos_from_zimtohrli(distance))


def at_one_length(first: Sound, second: Sound, sample_rate: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return two clips at a rate in Hz, (samples,) each, followed by silence up to the longer one, and up to 1 s.

    Of less than about 50 ms the package reads beyond its own memory (0.2.1), so that the second is no courtesy.
    """
    waveforms = first.at(sample_rate), second.at(sample_rate)
    samples = max(*map(len, waveforms), round(SHORT_SECONDS * sample_rate))
    ours, theirs = (np.pad(one, (0, samples - len(one))) for one in waveforms)
    return ours, theirs


def _package() -> Any:
    """Import the package; ValueError with the reason if it is not there."""
    try:
        import zimtohrli
    except ImportError as error:
        raise ValueError(missing_distributions([PACKAGE]) or f"{PACKAGE} cannot be imported: {error}") from None
    return zimtohrli


class Zimtohrli(PairedSounds):
    """Mean Zimtohrli distance to the baseline's clips."""

    name = "zimtohrli"
    summary = (
        "Zimtohrli, psychoacoustic distance to the baseline's clips at 48 kHz, mean over captions; lower is better."
        " Its authors map 0 to MOS 5, 0.0026 to 4.5, 0.0056 to 4. Made for codecs, for differences that are just heard"
    )
    requires = ("zimtohrli",)
    higher_is_better = False
    ratio_scale = True
    range = (0.0, 1.0)
    settings = {  # noqa: RUF012
        "sample_rate": SAMPLE_RATE,
        "resampler": "soxr HQ",
        "padded_to": "the longer clip, at least 1 s",
    }

    def statistic(self, generated: Features, against: Features | None) -> Statistic:
        """Return the mean over pairs; ValueError if the package is not installed."""
        _package()
        return super().statistic(generated, against)

    def details(self, generated: Features, against: Features | None) -> dict[str, Any]:
        """Return the settings, and which version of the package computed."""
        return {**self.settings, "package": f"{PACKAGE} {metadata.version(PACKAGE)}"}

    @cached_property
    def _model(self) -> Any:
        return _package().Pyohrli()

    def compare_sounds(self, generated: Sound, baseline: Sound) -> float:
        """Return the distance of one pair, of stereo the mean over both ears; ValueError for more than two channels."""
        if generated.channels == baseline.channels == 1:
            return self._of_mono(generated, baseline)
        ears = zip(generated.ears(), baseline.ears(), strict=True)
        return float(np.mean([self._of_mono(ours, theirs) for ours, theirs in ears]))

    def _of_mono(self, generated: Sound, baseline: Sound) -> float:
        ours, theirs = at_one_length(generated, baseline, SAMPLE_RATE)
        return float(self._model.distance(theirs, ours))
