"""The plug-in of a published checkpoint: its weights where they are to be had, or its architecture with random ones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from admbench.bench.models.base import AudioDiffusionModel
from admbench.bench.models.checkpoints import layouts
from admbench.bench.models.checkpoints.directory import SAW, load_layout
from admbench.bench.models.checkpoints.published import PUBLISHED, locate
from admbench.bench.models.networks.untrained import random_sha256, seeded
from admbench.errors import CheckpointError
from admbench.methods.core.layers.canonical import quiet_weight_norm


class PublishedModel(ABC):
    """A model of `PUBLISHED`; subclasses name it."""

    name: ClassVar[str]

    @classmethod
    @abstractmethod
    def untrained(cls, known: dict[str, Any]) -> AudioDiffusionModel:
        """Builds the published architecture, its weights drawn as torch does it when modules are made.

        Args:
            known: the fields of the model's card that do not follow from the architecture.
        """

    @classmethod
    def fingerprint(cls) -> str:
        """Hash of the weights, of the tokenizers and of all configurations. Raises CheckpointError without them."""
        return layouts.fingerprint(locate(PUBLISHED[cls.name], download=True))

    @classmethod
    def load(cls, *, random_weights: bool = False) -> AudioDiffusionModel:
        """Loads the published weights, or builds the same architecture with random ones from configuration alone.

        Raises:
            CheckpointError: no weights, with where to get them; or a damaged file, or another model's.
            UsageError: the scheduler needs a package that is not installed.
        """
        published = PUBLISHED[cls.name]
        if random_weights:
            known = {"name": cls.name, "source": "random weights", "revision": None, "license": published.license}
            with seeded(), quiet_weight_norm():
                return cls.untrained(known | {"random_weights": True, "weights_sha256": random_sha256(cls.name)})
        folder = locate(published, download=True)
        seen = layouts.recognise(folder)
        expected = published.layout or seen
        if seen != expected:
            raise CheckpointError(f"{folder}: holds {SAW[seen]}; expected {SAW[expected]}")
        return load_layout(folder, seen, cls.name, published.source, published.license)
