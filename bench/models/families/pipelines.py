"""Any supported pipeline directory of diffusers to a model of the harness: its parts are loaded, its family joins them.

A family is data, beside the few functions in which its pipeline differs from the others. Classes of components are the
family's, never those that a model_index.json names: a checkpoint is data from outside.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import diffusers
from diffusers.utils import DummyObject
from transformers import AutoTokenizer

from admbench.bench.models.base import AudioDiffusionModel
from admbench.bench.models.checkpoints import layouts, pipeline_layouts
from admbench.bench.models.checkpoints.components import load_component
from admbench.bench.models.checkpoints.pipeline_layouts import PIPELINE_LAYOUTS
from admbench.bench.models.families.published_model import PublishedModel
from admbench.errors import CheckpointError, UsageError
from admbench.methods.core.layers.canonical import make_canonical, quiet_weight_norm
from admbench.weights import require_vocabulary

SCHEDULERS = (
    "DDIMScheduler",
    "DDPMScheduler",
    "PNDMScheduler",
    "EulerDiscreteScheduler",
    "DPMSolverMultistepScheduler",
    "EDMDPMSolverMultistepScheduler",
    "CosineDPMSolverMultistepScheduler",
    "FlowMatchEulerDiscreteScheduler",
)
"""Those of diffusers that a pipeline directory may name."""

Parts = Mapping[str, Any]
"""Components by the name of their folder, tokenizers and `scheduler` among them."""


@dataclass(frozen=True)
class PipelineFamily:
    """One pipeline class of diffusers."""

    classes: Mapping[str, Any]
    """Folder of a model -> its class, of diffusers or of transformers; the backbone's first."""
    default_steps: int
    default_guidance: float
    assemble: Callable[[Parts, dict[str, Any]], AudioDiffusionModel]
    """From the parts, and the fields of the model's card that do not follow from them."""

    def modules(self, parts: Parts) -> dict[str, Any]:
        """The networks among the parts, the one that denoises as `backbone`."""
        first, *others = self.classes
        return {"backbone": parts[first]} | {name: parts[name] for name in others}

    def join(self, parts: Parts, known: dict[str, Any]) -> AudioDiffusionModel:
        """Makes the model, with the pipeline's own sampling, of plain layers alone."""
        for name in self.classes:
            make_canonical(parts[name])
        defaults = {"default_steps": self.default_steps, "default_guidance": self.default_guidance}
        return self.assemble(parts, known | defaults)


MODULES: dict[pipeline_layouts.Family, str] = {
    "audioldm2": "admbench.bench.models.families.audioldm2",
    "musicldm": "admbench.bench.models.families.musicldm",
    "stable-audio": "admbench.bench.models.families.stable_audio",
    "stable-audio-3": "admbench.bench.models.families.stable_audio_3",
    "ace-step": "admbench.bench.models.families.ace_step",
    "longcat-audiodit": "admbench.bench.models.families.longcat_audiodit",
}
"""Where each family is, as `FAMILY`."""


class PublishedPipeline(PublishedModel):
    """Plug-in of one published pipeline directory; subclasses name it, and its parts."""

    layout: ClassVar[pipeline_layouts.Family]

    @classmethod
    @abstractmethod
    def parts(cls) -> Parts:
        """The parts of the published architecture with random weights."""

    @classmethod
    def untrained(cls, known: dict[str, Any]) -> AudioDiffusionModel:
        """See the base class."""
        return family(cls.layout).join(cls.parts(), known)


def family(name: pipeline_layouts.Family) -> PipelineFamily:
    """The family of that name."""
    found: PipelineFamily = import_module(MODULES[name]).FAMILY
    return found


def load_directory(folder: Path, kind: pipeline_layouts.Family, known: dict[str, Any]) -> AudioDiffusionModel:
    """Loads a pipeline directory in float32.

    Args:
        folder: with model_index.json and a folder for each component.
        kind: the family that it is of.
        known: the fields of the model's card that do not follow from the parts.

    Raises:
        CheckpointError: a file is missing or damaged, or its tensors are not those of its configuration.
        UsageError: the scheduler needs a package that is not installed.
    """
    layout = PIPELINE_LAYOUTS[kind]
    parts: dict[str, Any] = {}
    if layout.own_scheduler or (folder / "scheduler").is_dir():
        parts["scheduler"] = load_scheduler(folder / "scheduler")
    with quiet_weight_norm():
        for part, stems in layouts.components_of(layout).items():
            parts[part] = load_component(family(kind).classes[part], folder / part, stems)
    for part in layout.tokenizers:
        parts[part] = AutoTokenizer.from_pretrained(require_vocabulary(folder / part), local_files_only=True)
    return family(kind).join(parts, known)


def load_scheduler(folder: Path) -> Any:
    """Makes the scheduler that scheduler_config.json names.

    Raises:
        CheckpointError: the file is damaged, or names none of `SCHEDULERS`.
        UsageError: it needs a package that is not installed.
    """
    file = folder / "scheduler_config.json"
    try:  # not our own reader: some schedulers save -Infinity, which is not JSON. The class of the method is any one.
        config = diffusers.DDIMScheduler.load_config(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{file}: not the configuration of a scheduler ({str(error).splitlines()[0]})") from error
    named = config.get("_class_name") if isinstance(config, dict) else None
    if named not in SCHEDULERS:
        raise CheckpointError(f"{file}: _class_name is {named}; expected one of {', '.join(SCHEDULERS)}")
    return scheduler_class(named).from_config(config)


def scheduler_class(name: str) -> Any:
    """A scheduler of diffusers by name. Raises UsageError if it needs a package that is not installed."""
    found = getattr(diffusers, name)
    if isinstance(found, DummyObject):
        missing = " ".join(package for package in found._backends if package != "torch")
        raise UsageError(f"{name} needs {missing}: pip install {missing}")
    return found
