"""What a family is to the rest of the package, and a published model as a row of data; imports no torch."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from admbench.bench.models.checkpoints.files import fingerprint, named_as_damaged
from admbench.bench.models.checkpoints.pipeline_index import PipelineIndex, read_index
from admbench.bench.models.checkpoints.repositories import Repository, how_to_complete, locate, revision
from admbench.bench.models.components import COMPONENTS, Component, ComponentCall
from admbench.errors import CheckpointError, DataError
from admbench.methods.core.checkpoint.allowed import allow_networks
from admbench.methods.core.checkpoint.header import HEADER_FILE

if TYPE_CHECKING:
    from admbench.bench.models.base import AudioDiffusionModel


@dataclass(frozen=True, kw_only=True)
class Family(ABC):
    """Models that are stored alike, and run alike."""

    saw: str
    """What a folder of it is called in messages, such as "a MusicLDM pipeline directory"."""
    networks: Mapping[str, str]
    """Component -> its class as `module:Class`, `backbone` first. Those of `COMPONENTS` can be quantized: their classes
    are allowed to packed checkpoints. Any other, such as a projection, stays in floating point."""
    default_steps: int
    default_guidance: float
    calls: Mapping[Component, ComponentCall] = field(default_factory=dict)
    """How components are called where that is not as in `admbench.bench.models.components.CALLS`."""
    samplers: tuple[str, ...] = ()
    """Those of `admbench.bench.models.samplers.SAMPLERS` that its models may be run by; a folder's own scheduler may be
    one that they do not solve, which is said where it is loaded."""
    layout: Family | None = None
    """The family whose folders this one reads, and runs otherwise; None: they are its own."""

    @property
    def components(self) -> tuple[Component, ...]:
        """The components that methods can quantize, in the order of the record."""
        return tuple(name for name in COMPONENTS if name in self.networks)

    @property
    @abstractmethod
    def holds(self) -> tuple[str, ...]:
        """What a folder of it holds, for messages."""

    @property
    def expected(self) -> str:
        """What a folder of it is, for the end of a message."""
        return f"{self.saw}: {', '.join(self.holds)}"

    @property
    def mark(self) -> str:
        """What tells its folders from others, for the end of a message that lists all families."""
        return self.expected

    @abstractmethod
    def recognises(self, folder: Path) -> bool:
        """Return whether a folder is the family's by what it holds; what it lacks is said where it is read."""

    def differences(self, index: PipelineIndex) -> list[str] | None:
        """Return what keeps a pipeline directory of another class from being loaded as this family.

        Returns:
            One text for each; an empty list if it has just the parts of this family; None if none ever could be.
        """
        return None

    @abstractmethod
    def used_files(self, folder: Path, *, download: bool = False) -> dict[str, Path]:
        """Return, by its name in the checkpoint, each file that a load reads and that determines what the model does.

        Args:
            folder: of the checkpoint.
            download: whether a tokenizer that is not among the checkpoint's own files may be downloaded.

        Raises:
            CheckpointError: one is missing, which it names.
        """

    @abstractmethod
    def build(self, folder: Path, known: dict[str, Any]) -> AudioDiffusionModel:
        """Make the model of a folder in float32.

        Args:
            folder: of the checkpoint.
            known: the fields of the model's card that do not follow from the parts.

        Raises:
            CheckpointError: a file is missing or damaged, or its tensors are not those of its configuration.
            UsageError: the scheduler needs a package that is not installed.
        """

    @abstractmethod
    def build_untrained(self, variant: Mapping[str, Any], known: dict[str, Any]) -> AudioDiffusionModel:
        """Make the model from configuration alone, its weights drawn as torch does it when modules are made.

        Args:
            variant: what the published models of the family differ in.
            known: the fields of the model's card that do not follow from the architecture.
        """

    def fingerprint(self, folder: Path) -> str:
        """Return a hash over all files that a load reads: weights, configurations, tokenizer.

        Raises:
            CheckpointError: one is missing, which it names.
        """
        return fingerprint(self.used_files(folder, download=True))

    def load(self, folder: Path, *, name: str, source: str, license: str | None) -> AudioDiffusionModel:
        """Load a folder of this family.

        Args:
            folder: of the checkpoint.
            name: that the model is loaded by.
            source: where the weights are from, for the record.
            license: of the weights, if known.

        Raises:
            CheckpointError: a file is missing or damaged, or its tensors are not those of its configuration.
            UsageError: the scheduler needs a package that is not installed.
        """
        known = {"name": name, "source": source, "revision": revision(folder), "license": license}
        try:
            known["weights_sha256"] = self.fingerprint(folder)
            with named_as_damaged(folder, self.expected):  # a setting that no part looks at, and all together do
                return self._called(self.build(folder, known | self._defaults))
        except DataError as error:  # of a JSON or YAML file, which here is a part of the checkpoint
            raise CheckpointError(str(error)) from error

    def untrained(self, variant: Mapping[str, Any], *, name: str, license: str | None) -> AudioDiffusionModel:
        """Build the architecture with weights from a fixed seed.

        Args:
            variant: what the published models of the family differ in.
            name: that the model is loaded by.
            license: of the weights that it does without.
        """
        from admbench.bench.models.networks.untrained import random_sha256, seeded
        from admbench.methods.core.layers.canonical import quiet_weight_norm

        known: dict[str, Any] = {"name": name, "source": "random weights", "revision": None, "license": license}
        known |= {"random_weights": True, "weights_sha256": random_sha256(name)}
        with seeded(), quiet_weight_norm():
            return self._called(self.build_untrained(variant, known | self._defaults))

    @property
    def _defaults(self) -> dict[str, Any]:
        return {"default_steps": self.default_steps, "default_guidance": self.default_guidance}

    def _called(self, model: AudioDiffusionModel) -> AudioDiffusionModel:
        model.calls = {**model.calls, **self.calls}
        return model


_FAMILIES: list[Family] = []


def register_family(family: Family) -> Family:
    """Let folders be held against a family, and packed checkpoints name the classes of its components; returns it.

    Raises:
        PluginError: another class is known by the name of one of them.
    """
    allow_networks(family.networks[component] for component in family.components)
    _FAMILIES.append(family)
    return family


def recognise(folder: Path) -> Family:
    """Return the family of a folder, by looking at what it holds.

    A pipeline directory is known by the class that its model_index.json names. One of any other class is taken for the
    family whose parts it has, no more and no fewer: then this family's way of running them is the only one known here.

    Raises:
        CheckpointError: it is none of those that are known; says what was expected.
    """
    if not os.path.isdir(folder):  # of a name that no file can have, `Path.is_dir` raises
        raise CheckpointError(f"{folder}: no such folder; expected {_expected()}")
    for family in _FAMILIES:
        if family.recognises(folder):
            return family
    if any((folder / place / HEADER_FILE).is_file() for place in (".", *COMPONENTS)):
        raise CheckpointError(f"{folder}: a packed checkpoint, not a model; it is read by --checkpoint")
    index = read_index(folder)
    if index is None:
        raise CheckpointError(f"{folder}: not a checkpoint that is known here; expected {_expected()}")
    apart = [(family, found) for family in _FAMILIES if (found := family.differences(index)) is not None]
    nearest, differences = min(apart, key=lambda one: len(one[1]))
    if not differences:
        return nearest
    hint = f" (nearest is {nearest.saw}, but {', '.join(differences)})" if index.parts else ""
    raise CheckpointError(f"{folder}: a pipeline directory of {index.pipeline}{hint}; expected {_expected()}")


def _expected() -> str:
    return "; or ".join(family.mark for family in _FAMILIES)


@dataclass(frozen=True, kw_only=True)
class PublishedModel(Repository):
    """The plug-in of a published checkpoint: its weights where they are, or its architecture with random ones.

    Both `summary` and `requires` are written as literals: lists read them from the source.
    """

    family: Family
    summary: str
    requires: tuple[str, ...] = ()
    """Names of the distributions that must be installed."""
    variant: Mapping[str, Any] = field(default_factory=dict)
    """What the family's architecture is built with for random weights, where its published models differ."""

    @property
    def components(self) -> tuple[Component, ...]:
        """The components that methods can quantize."""
        return self.family.components

    @property
    def samplers(self) -> tuple[str, ...]:
        """The samplers that it may be run by beside its own."""
        return self.family.samplers

    def missing(self) -> None:
        """Raise CheckpointError, which says how to get them, unless the weights are here. Downloads nothing."""
        folder = locate(self, download=False)
        with how_to_complete(self, folder):
            self.family.used_files(folder)

    def fingerprint(self) -> str:
        """Return a hash of weights, tokenizers and configurations. Raises CheckpointError without them."""
        folder = locate(self, download=True)
        with how_to_complete(self, folder):
            return self.family.fingerprint(folder)

    def load(self, *, random_weights: bool = False) -> AudioDiffusionModel:
        """Load the published weights, or build the same architecture with random ones from configuration alone.

        Raises:
            CheckpointError: no weights, with where to get them; or a damaged file, or another model's.
            UsageError: the scheduler needs a package that is not installed.
        """
        if random_weights:
            return self.family.untrained(self.variant, name=self.name, license=self.license)
        folder = locate(self, download=True)
        with how_to_complete(self, folder):
            seen = recognise(folder)
            if seen is (self.family.layout or self.family):
                seen.used_files(folder, download=True)
        if seen is not (self.family.layout or self.family):
            raise CheckpointError(f"{folder}: holds {seen.saw}; expected {self.family.saw}")
        return self.family.load(folder, name=self.name, source=self.source, license=self.license)


def converted(repository: str) -> str:
    """Say where a pipeline directory is from that diffusers' own script makes of a repository's files."""
    script = "a conversion script of github.com/huggingface/diffusers (scripts/)"
    return f"hf:{repository}, which {script} makes a pipeline directory of"
