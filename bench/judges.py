"""The metric networks of a run, loaded by name."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from bench.jobs import JudgeSpec

if TYPE_CHECKING:
    from metrics.embedders.base import AudioEmbedder, JointEmbedder


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


def load_judges(spec: JudgeSpec) -> Judges:
    """Load the networks that a spec names.

    Raises:
        BenchError: weights are missing or damaged.
    """
    return Judges(_call(spec.tagger), _call(spec.clap))


def _call(target: str) -> Any:
    module, _, function = target.partition(":")
    return getattr(import_module(module), function)()
