"""What measures of hearing have in common: two clips at 48 kHz, of one length, ear by ear, compared by a package.

Such a measure comes with a package of its own. Where that is not installed the score is null with this reason.
"""

from __future__ import annotations

from abc import abstractmethod
from importlib import import_module, metadata
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from admbench.metrics.audio import SHORT_SECONDS, Sound
from admbench.metrics.features import Features
from admbench.metrics.intervals import Statistic
from admbench.metrics.waveform_pairs import PairedSounds
from admbench.registry import missing_distributions

SAMPLE_RATE = 48_000
"""Hz."""


def at_one_length(first: Sound, second: Sound, sample_rate: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return two clips at a rate in Hz, (samples,) each, followed by silence up to the longer one, and up to 1 s.

    The packages cannot hear a clip of some 50 ms: one says so, the other (zimtohrli 0.2.1) reads beyond its own memory.
    """
    waveforms = first.at(sample_rate), second.at(sample_rate)
    samples = max(*map(len, waveforms), round(SHORT_SECONDS * sample_rate))
    ours, theirs = (np.pad(one, (0, samples - len(one))) for one in waveforms)
    return ours, theirs


def package(module: str, distribution: str) -> Any:
    """Import a package; ValueError with the reason if it is not there."""
    try:
        return import_module(module)
    except ImportError as error:
        reason = missing_distributions([distribution]) or f"{distribution} cannot be imported: {error}"
        raise ValueError(reason) from None


class PerceptualMeasure(PairedSounds):
    """Mean over captions of what a package says of two clips as they are heard; of stereo the mean over both ears."""

    module: ClassVar[str]
    """That is imported."""
    of_equal_clips: ClassVar[float | None] = None
    """What the package says of any clip and itself, where it is known: full precision is then heard at once."""
    settings = {  # noqa: RUF012
        "sample_rate": SAMPLE_RATE,
        "resampler": "soxr HQ",
        "padded_to": "the longer clip, at least 1 s",
    }

    @abstractmethod
    def hear(self, generated: NDArray[np.float32], baseline: NDArray[np.float32]) -> float:
        """Return the number of two mono clips, (samples,) each at 48 kHz; ValueError if there is none."""

    def statistic(self, generated: Features, against: Features | None) -> Statistic:
        """Return the mean over pairs; ValueError if the package is not installed."""
        self._package()
        return super().statistic(generated, against)

    def details(self, generated: Features, against: Features | None) -> dict[str, Any]:
        """Return the settings, and which version of the package computed."""
        (distribution,) = self.requires
        return {**self.settings, "package": f"{distribution} {metadata.version(distribution)}"}

    def compare_sounds(self, generated: Sound, baseline: Sound) -> float:
        """Return the number of one pair, of stereo the mean over both ears; ValueError for more than two channels."""
        if self.of_equal_clips is not None and generated.channels <= 2 and generated.equals(baseline):
            return self.of_equal_clips
        if generated.channels == baseline.channels == 1:
            return self.hear(*at_one_length(generated, baseline, SAMPLE_RATE))
        ears = zip(generated.ears(), baseline.ears(), strict=True)
        return float(np.mean([self.hear(*at_one_length(ours, theirs, SAMPLE_RATE)) for ours, theirs in ears]))

    def _package(self) -> Any:
        (distribution,) = self.requires
        return package(self.module, distribution)
