"""Families that diffusers has a pipeline class for: a folder for each part, as `save_pretrained` leaves it; no torch.

Classes of components are the family's, never those that a model_index.json names: a checkpoint is data from outside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from admbench.bench.models.checkpoints.files import WEIGHTS, component_files
from admbench.bench.models.checkpoints.pipeline_index import FILE, PipelineIndex, read_index
from admbench.bench.models.families.base import Family
from admbench.errors import CheckpointError
from admbench.registry import load_target

if TYPE_CHECKING:
    from admbench.bench.models.base import AudioDiffusionModel

Parts = Mapping[str, Any]
"""A pipeline's components by name, `backbone` among them, its tokenizers, and `scheduler`."""
NOT_USED = ("feature_extractor",)
"""Parts that a pipeline may have and no load reads: of CLAP's audio half, which only ranks finished clips."""


@dataclass(frozen=True, kw_only=True)
class PipelineFamily(Family):
    """The pipeline directories of one class of diffusers."""

    pipeline: str
    """Name of the class in model_index.json."""
    tokenizers: tuple[str, ...] = ("tokenizer",)
    backbone: str
    """Folder of the network that denoises; every other component lies in a folder of its name."""
    own_scheduler: bool = True
    """False where the class saves none: a folder without one means the family's."""
    assemble: str
    """`module:function` that makes the model of the parts and of the fields of its card that are known."""
    random_parts: Callable[..., Parts]
    """Makes the parts of the published architecture, given what its published models differ in."""

    @property
    def holds(self) -> tuple[str, ...]:
        """See the base class."""
        return (FILE, *(f"{name}/" for name in self.folders))

    @property
    def mark(self) -> str:
        """See the base class."""
        return f"{self.saw} ({FILE} of {self.pipeline})"

    @property
    def folders(self) -> tuple[str, ...]:
        """All that a load reads. Others, such as a feature extractor, are left alone."""
        return (*(self.folder_of(name) for name in self.networks), *self.tokenizers, "scheduler")

    def folder_of(self, component: str) -> str:
        """Return the name of a component's folder."""
        return self.backbone if component == "backbone" else component

    def weights_of(self, component: str) -> tuple[str, ...]:
        """Return the files that the weights of a component may be in."""
        return WEIGHTS[self.networks[component].partition(":")[0]]

    def recognises(self, folder: Path) -> bool:
        """See the base class: by the class that model_index.json names."""
        index = read_index(folder)
        return index is not None and index.pipeline == self.pipeline

    def differences(self, index: PipelineIndex) -> list[str]:
        """See the base class."""
        wanted = {self.folder_of(name): target.partition(":")[2] for name, target in self.networks.items()}
        found = [
            f"{part} is {index.parts[part]} and not {name}" if part in index.parts else f"there is no {part}"
            for part, name in wanted.items()
            if index.parts.get(part) != name
        ]
        found += [f"there is no {part}" for part in self.tokenizers if part not in index.parts]
        others = index.parts.keys() - {*self.folders, *NOT_USED}
        return found + [f"{part} is none of its parts" for part in sorted(others)]

    def used_files(self, folder: Path, *, download: bool = False) -> dict[str, Path]:
        """See the base class; nothing is downloaded."""
        files = [folder / "scheduler" / "scheduler_config.json"]
        if not self.own_scheduler and not files[0].is_file():
            del files[0]
        for component in self.networks:
            place = folder / self.folder_of(component)
            files += [place / "config.json", *component_files(place, self.weights_of(component))]
        for tokenizer in self.tokenizers:
            held = sorted((folder / tokenizer).glob("*.*"))
            if not held:
                raise CheckpointError(f"{folder / tokenizer}: the tokenizer is missing; expected {self.expected}")
            files += held
        for file in files:
            if not file.is_file():
                raise CheckpointError(f"{file}: missing; expected {self.expected}")
        return {file.relative_to(folder).as_posix(): file for file in files}

    def build(self, folder: Path, known: dict[str, Any]) -> AudioDiffusionModel:
        """See the base class."""
        from admbench.bench.models.checkpoints.components import check_component, load_component
        from admbench.bench.models.pipelines.parts import load_scheduler, load_tokenizer
        from admbench.methods.core.layers.canonical import quiet_weight_norm

        parts: dict[str, Any] = {}
        if self.own_scheduler or (folder / "scheduler").is_dir():
            index = read_index(folder)
            indexed = None if index is None else index.parts.get("scheduler")
            parts["scheduler"] = load_scheduler(folder / "scheduler", indexed)
        with quiet_weight_norm():
            for name, target in self.networks.items():
                place, network = folder / self.folder_of(name), load_target(target)
                check_component(network, place, self.weights_of(name))
                parts[name] = load_component(network, place, self.weights_of(name))
        for name in self.tokenizers:
            parts[name] = load_tokenizer(folder / name)
        return self._join(parts, known)

    def build_untrained(self, variant: Mapping[str, Any], known: dict[str, Any]) -> AudioDiffusionModel:
        """See the base class."""
        return self._join(self.random_parts(**variant), known)

    def _join(self, parts: Parts, known: dict[str, Any]) -> AudioDiffusionModel:
        """Make the model, with the pipeline's own sampling, of plain layers alone."""
        from admbench.methods.core.layers.canonical import make_canonical

        networks = {name: make_canonical(parts[name]) for name in self.networks}
        model: AudioDiffusionModel = load_target(self.assemble)({**networks, **parts}, known)
        return model
