"""What metrics of waveforms have in common: one number for each generated clip and the baseline's of the same caption.

The clips are read from disk when the score is computed, as they lie there.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from admbench.metrics.audio import Sound, read_audio
from admbench.metrics.base import Metric, given
from admbench.metrics.features import Features
from admbench.metrics.intervals import Mean, Statistic
from admbench.progress import track

Waveform = NDArray[np.float32]


class PairedSounds(Metric):
    """Mean over captions of one number per pair of clips."""

    needs = frozenset({"files"})
    against = ("baseline",)
    settings: ClassVar[dict[str, Any]] = {}
    """What the score says of how it was computed."""

    @abstractmethod
    def compare_sounds(self, generated: Sound, baseline: Sound) -> float:
        """Return the number of one pair.

        Raises:
            ValueError: there is none; the text goes on where "clip NAME: " ends.
        """

    def compute(self, generated: Features, against: Features | None) -> float:
        """Return the mean over pairs."""
        return self.statistic(generated, against).value

    def statistic(self, generated: Features, against: Features | None) -> Statistic:
        """Return the mean over pairs."""
        values = []
        pairs = _read_pairs(generated, given(against))
        for name, ours, theirs in track(pairs, f"Comparing waveforms ({self.name})", total=len(generated.ids)):
            try:
                values.append(self.compare_sounds(ours, theirs))
            except ValueError as error:
                raise ValueError(f"clip {name}: {error}") from None
        return Mean(np.array(values))

    def details(self, generated: Features, against: Features | None) -> dict[str, Any]:
        """Return the settings."""
        return self.settings


def _read_pairs(generated: Features, baseline: Features) -> Iterator[tuple[str, Sound, Sound]]:
    """Yield (id, generated, baseline), read from disk."""
    if generated.files is None or baseline.files is None:
        raise ValueError("no audio files")
    for name, ours, theirs in zip(generated.ids, generated.files, baseline.files, strict=True):
        yield name, read_audio(ours), read_audio(theirs)


class PairedWaveforms(PairedSounds):
    """One number of two waveforms of one rate and length, sample by sample; of stereo clips, of mid and side together.

    Where neither clip has a side (mono, or two equal channels) it is the number of the mid alone. A mono clip has the
    stereo clip's mid, and no side.
    """

    @abstractmethod
    def compare(self, generated: Waveform, baseline: Waveform, sample_rate: int) -> float:
        """Return the number of one pair; ValueError, for the end of a sentence, if there is none.

        Args:
            generated: (samples,), or (2, samples) of mid and side.
            baseline: of the same shape.
            sample_rate: Hz.
        """

    def compare_sounds(self, generated: Sound, baseline: Sound) -> float:
        """Return the number of one pair; ValueError unless both are of one rate and length, and mono or stereo."""
        shapes = [f"{len(one.samples)} samples at {one.sample_rate} Hz" for one in (generated, baseline)]
        if shapes[0] != shapes[1]:
            raise ValueError(f"{shapes[0]}, the baseline's has {shapes[1]}")
        if generated.channels == baseline.channels == 1:
            return self.compare(generated.samples, baseline.samples, generated.sample_rate)
        ours, theirs = generated.mid_and_side(), baseline.mid_and_side()
        if not ours[1].any() and not theirs[1].any():
            ours, theirs = ours[0], theirs[0]
        return self.compare(ours, theirs, generated.sample_rate)
