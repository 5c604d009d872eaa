"""A pipeline directory of diffusers: the values of the quantized weights in half precision, all else as it was.

`AudioLDMPipeline.from_pretrained(folder)` and the like load it without this package. What it keeps of quantization is
the values of the weights. It rounds no inputs, and its weights take two bytes each.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

import torch
from diffusers.configuration_utils import ConfigMixin
from torch import Tensor, nn

from admbench.bench.exporting.pipeline_source import pipeline_folder
from admbench.bench.exporting.plain import plain_network, roundings, without_roundings
from admbench.bench.exporting.subject import Inputs, Subject
from admbench.bench.exporting.target import Run, Target, Written
from admbench.bench.models.base import AudioDiffusionModel
from admbench.bench.models.checkpoints.pipeline_index import FILE
from admbench.bench.models.families.pipeline import PipelineFamily
from admbench.errors import UsageError
from admbench.registry import load_target

Half = Literal["float16", "bfloat16"]
REQUIRED_DB: dict[Half, float] = {"float16": 45.0, "bfloat16": 28.0}
"""Least SQNR: of 11 and of 8 significant bits, with room for how errors add up in a network."""


class DiffusersPipeline(Target):
    """The whole pipeline, for `from_pretrained` of its class.

    Args:
        dtype: of the quantized components' weights in the files.
    """

    name = "diffusers"
    summary = "a pipeline directory with the quantized weights' values in half precision, for diffusers alone"
    load_options: ClassVar[dict[str, bool]] = {"low_cpu_mem_usage": False}
    """Of `from_pretrained`: what takes less memory needs accelerate."""

    def __init__(self, dtype: Half = "float16") -> None:
        self.dtype = dtype

    def required_sqnr_db(self, subject: Subject) -> float:
        """See `Target`."""
        return REQUIRED_DB[self.dtype]

    def reference(self, subject: Subject) -> nn.Module:
        """See `Target`: the simulation without the rounding of inputs."""
        return without_roundings(subject.model.backbone)

    def write(self, subject: Subject, folder: Path) -> Written:
        """See `Target`.

        Raises:
            UsageError: diffusers has no pipeline class for the model; or see `plain_network`; or a weight is too large
                for float16.
        """
        model = cast(AudioDiffusionModel, subject.model)
        family, source = pipeline_folder(model.name)
        networks = {name: model.components[name] for name in subject.headers}
        _copy(family, source, folder, without=networks)
        for name, network in networks.items():
            plain: Any = self._halved(plain_network(network, name), name)
            plain.save_pretrained(folder / family.folder_of(name), safe_serialization=True)
        left_out = [f"{name}: {what}" for name, network in networks.items() for what in roundings(network)]
        return Written(f"{', '.join(networks)} in {self.dtype}, for {family.pipeline}", tuple(left_out))

    def load(self, subject: Subject, folder: Path) -> Run:
        """See `Target`: by the backbone's own class, in float32, from the files."""
        family, _ = pipeline_folder(subject.model.name)
        network: Any = load_target(family.networks["backbone"])
        options = {"torch_dtype": torch.float32, "local_files_only": True, **self.load_options}
        function = subject.function.of(network.from_pretrained(folder / family.backbone, **options).eval())

        def run(inputs: Inputs) -> Tensor:
            with torch.no_grad():
                predicted: Tensor = function(*(inputs[name] for name in function.names))
            return predicted

        return run

    def _halved(self, network: nn.Module, name: str) -> nn.Module:
        halved: Any = network.to(getattr(torch, self.dtype))
        broken = next((key for key, tensor in halved.state_dict().items() if not _finite(tensor)), None)
        if broken is not None:
            raise UsageError(f"{name}: {broken} is too large for {self.dtype}; expected --dtype bfloat16")
        if not isinstance(halved, ConfigMixin):  # transformers notes the type of the weights
            halved.config.dtype = getattr(torch, self.dtype)
        return cast(nn.Module, halved)


def _copy(family: PipelineFamily, source: Path, folder: Path, *, without: Collection[str]) -> None:
    """Copy what a load reads, but for the folders of some components."""
    replaced = {family.folder_of(name) for name in without}
    for relative, file in {FILE: source / FILE, **family.used_files(source)}.items():
        if Path(relative).parts[0] in replaced:
            continue
        target = folder / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)


def _finite(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())
