"""What an extractor is: a named thing that turns clips or captions into an array, with an identity.

A metric names the extractors whose arrays it reads (`Metric.needs`). An extractor names the role of the network that it
reads (`role`), and a run has one judge for each role: which one, is said in one place and nowhere else.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, ClassVar, get_args

import numpy as np
from numpy.typing import NDArray

from admbench.judged import judge_of, without_judge
from admbench.metrics.audio import SHORT_SECONDS, Sound
from admbench.metrics.embedders.base import AudioEmbedder, AudioFeatures, Role
from admbench.metrics.extractors import registry

ROLES: tuple[Role, ...] = get_args(Role)

Judges = Mapping[str, AudioEmbedder]
"""Seat -> the network that has it in a run. The seat of the first judge of a role is called as the role, that of a
further one `ROLE[NAME]` (`admbench.judged`); a role that nothing needs has none."""


def judges_for(role: Role | None, judges: Judges) -> list[tuple[str | None, Any]]:
    """Return the networks that have a role, each with what its arrays are called by: None, or a further judge's name.

    Where nothing is read, there is one place without a network.

    Raises:
        KeyError: none has the role.
    """
    if role is None:
        return [(None, None)]
    found = [(judge_of(seat), one) for seat, one in judges.items() if without_judge(seat) == role]
    if not found:
        raise KeyError(role)
    return found


def further_judges(judges: Judges) -> dict[Role, list[str]]:
    """Return role -> names of the judges that have it beside the first."""
    names: dict[Role, list[str]] = {role: [] for role in ROLES}
    for role, of_role in names.items():
        of_role += [name for seat in judges if without_judge(seat) == role and (name := judge_of(seat))]
    return names


class Extractor(ABC):
    """An array by name. A plug-in derives from `AudioExtractor` or `CaptionExtractor`; it is made once per run.

    What derives from this class alone is not computed: whoever has the clips provides it, or it is missing.
    """

    name: ClassVar[str]
    """Key of the array in `Features`."""
    summary: ClassVar[str]
    """One line for lists; a literal."""
    requires: ClassVar[tuple[str, ...]] = ()
    """Distributions that must be installed; a literal."""
    version: ClassVar[str] = "1"
    """Changes when the array of the same clip would."""
    role: ClassVar[Role | None] = None
    """Role of the network that it reads; None if it reads none."""
    missing: ClassVar[str]
    """Why a score is null where the array is not there; `{whose}` is generated, reference or baseline."""
    compares: ClassVar[bool] = False
    """Whether the array says how a clip differs from the baseline's: the baseline itself then has none."""

    def identity(self) -> str:
        """Return what its arrays depend on besides the clips and the judge: its version, unless it has weights too."""
        return self.version


class AudioExtractor(Extractor):
    """An array that is computed from audio."""

    @abstractmethod
    def extract(self, batch: Batch, judge: Any) -> NDArray[Any] | None:
        """Return (n, dim) of the n clips of a batch; None if the judge does not give it.

        Args:
            batch: clips.
            judge: the `AudioEmbedder` that has `role`; None if that is None.
        """


class CaptionExtractor(Extractor):
    """An array that is computed from captions."""

    @abstractmethod
    def extract(self, captions: Sequence[str], judge: Any) -> NDArray[Any] | None:
        """Return (n, dim) of n captions; see `AudioExtractor`."""


class Batch:
    """Some clips of one length and sample rate, all finite. Each network computes once, whoever asks for it.

    Args:
        sounds: n clips.
    """

    def __init__(self, sounds: Sequence[Sound]) -> None:
        self.sounds = tuple(sounds)
        self._waveforms: dict[int, NDArray[np.float32]] = {}
        self._embedded: dict[int, AudioFeatures] = {}

    def waveforms(self, sample_rate: int) -> NDArray[np.float32]:
        """Return (n, samples) at a rate in Hz; what is shorter than 1 s is followed by silence up to 1 s."""
        if sample_rate not in self._waveforms:
            stacked = np.stack([sound.at(sample_rate) for sound in self.sounds])
            lacking = round(SHORT_SECONDS * sample_rate) - stacked.shape[1]
            self._waveforms[sample_rate] = np.pad(stacked, [(0, 0), (0, max(0, lacking))])
        return self._waveforms[sample_rate]

    def embedded_by(self, judge: AudioEmbedder) -> AudioFeatures:
        """Return what a network makes of the clips, at its own rate."""
        if id(judge) not in self._embedded:
            self._embedded[id(judge)] = judge.embed_audio(self.waveforms(judge.sample_rate))
        return self._embedded[id(judge)]


@cache
def load_extractor(name: str) -> Extractor:
    """Return an extractor, made once.

    Raises:
        UsageError: there is none of that name.
        PluginError: it cannot be loaded.
    """
    extractor: Extractor = registry.get(name)()
    return extractor
