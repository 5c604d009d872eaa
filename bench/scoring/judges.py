"""The metric networks of a run: found, identified and loaded by name."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from admbench.bench.run.jobs import JudgeSpec
from admbench.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from admbench.metrics.embedders.base import AudioEmbedder, JointEmbedder


@dataclass(frozen=True)
class Judges:
    """The networks that turn audio and captions into features."""

    tagger: AudioEmbedder
    """Embeddings and class logits, for FD, KL and IS."""
    clap: JointEmbedder
    """Embeddings that audio and text share, for the CLAP score."""

    @property
    def identity(self) -> dict[str, str]:
        """Name -> hash of weights: what features depend on besides the audio."""
        return {judge.name: judge.sha256 for judge in (self.tagger, self.clap)}


def reading(judges: Judges) -> dict[str, Any]:
    """Return how audio comes to the networks, as results say it: in one way, to each at its own rate."""
    from admbench.metrics.audio import READING

    return READING | {"sample_rates": {judge.name: judge.sample_rate for judge in (judges.tagger, judges.clap)}}


class Timed:
    """An embedder that counts the seconds in which it computes; in everything else it is the embedder."""

    def __init__(self, embedder: Any) -> None:
        self._embedder = embedder
        self.seconds = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._embedder, name)

    def embed_audio(self, waveforms: NDArray[np.float32]) -> Any:
        """See `admbench.metrics.embedders.base.AudioEmbedder`."""
        return self._timed(self._embedder.embed_audio, waveforms)

    def embed_text(self, captions: Sequence[str]) -> Any:
        """See `admbench.metrics.embedders.base.JointEmbedder`."""
        return self._timed(self._embedder.embed_text, captions)

    def _timed(self, compute: Callable[[Any], Any], what: Any) -> Any:
        started = time.perf_counter()
        try:
            return compute(what)
        finally:
            self.seconds += time.perf_counter() - started


def load_judges(spec: JudgeSpec) -> Judges:
    """Load the networks that a spec names.

    Raises:
        BenchError: an unknown name, a judge of the other role, or weights that are missing or damaged.
    """
    tagger, clap = _chosen(spec)
    return Judges(tagger.load(spec.tagger_weights), clap.load(spec.clap_weights))


def identify_judges(spec: JudgeSpec) -> list[list[str]]:
    """Return name and hash of weights of each network that a spec names, without loading it.

    Raises:
        BenchError: as for `load_judges`, as far as that is known without loading.
    """
    tagger, clap = _chosen(spec)
    return [
        [spec.tagger, tagger.fingerprint(spec.tagger_weights)],
        [spec.clap, clap.fingerprint(spec.clap_weights)],
    ]


def _chosen(spec: JudgeSpec) -> tuple[Any, Any]:
    """Return the judges that a spec names; UsageError for one that is unknown or serves other metrics."""
    from admbench.metrics.embedders import registry

    judges = []
    for role, name in (("tagger", spec.tagger), ("clap", spec.clap)):
        registry.check(name)
        judge = registry.get(name)
        if judge.role != role:
            raise UsageError(f'{role} "{name}": this judge is a {judge.role}; `bench list judges` shows what there is')
        judges.append(judge)
    return judges[0], judges[1]
