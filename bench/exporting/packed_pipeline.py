"""A pipeline directory of diffusers whose backbone holds our int8 codes, a byte each, for one of diffusers' backends.

`from_pretrained` of the pipeline loads it, where the backend's packages are installed. Layers of class Linear are held;
what else is quantized is written as the values of its weights, in half precision. How codes lie in the files is each
backend's own: `quanto_pipeline`, `torchao_pipeline`.
"""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from importlib import util
from pathlib import Path
from typing import Any, ClassVar

from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from admbench.bench.exporting.diffusers_pipeline import DiffusersPipeline
from admbench.bench.exporting.pipeline_source import pipeline_folder
from admbench.bench.exporting.subject import Subject
from admbench.bench.exporting.target import Written
from admbench.bench.models.quantization import BACKBONE
from admbench.errors import UsageError
from admbench.files import read_json, write_json_atomic
from admbench.methods.core.kernels.weights import Weights
from admbench.methods.core.layers.quantized import QuantizedLayer, quantized_layers

BITS = 8
"""Of the codes; other widths have other forms there."""
Tensors = dict[str, Tensor]


class PackedPipeline(DiffusersPipeline):
    """The whole pipeline, its backbone's Linear layers as int8 codes and a scale per output channel."""

    load_options: ClassVar[dict[str, bool]] = {}
    backend: ClassVar[str]
    """What it is called where something is not for it."""
    modules: ClassVar[dict[str, str]]
    """What has to be installed, by the module that is imported."""

    @abstractmethod
    def config(self, kept: list[str]) -> dict[str, Any]:
        """Return diffusers' `quantization_config`.

        Args:
            kept: last names of the Linear layers that stay float.
        """

    @abstractmethod
    def held(self, plain: Tensors, weights: dict[str, tuple[Tensor, Tensor]]) -> tuple[Tensors, dict[str, str]]:
        """Return all tensors of the file, and what its header says of them.

        Args:
            plain: what is not held as codes.
            weights: by layer, codes, int8 (outputs, inputs), and scales, float32 (outputs, 1).
        """

    def missing(self) -> str | None:
        """See `Target`."""
        absent = [package for module, package in self.modules.items() if not _is_there(module)]
        return f"not installed: {', '.join(absent)}; pip install {' '.join(absent)}" if absent else None

    def write(self, subject: Subject, folder: Path) -> Written:
        """See `DiffusersPipeline`.

        Raises:
            UsageError: also where a Linear layer of the backbone is not of symmetric codes of 8 bits alone, or
                diffusers could not be told which are not quantized.
        """
        packed, kept = _packed(subject.model.backbone, self.backend)
        written = super().write(subject, folder)
        family, _ = pipeline_folder(subject.model.name)
        place = folder / family.folder_of(BACKBONE)
        (file,) = place.glob("*.safetensors")
        plain = {name: tensor for name, tensor in load_file(file).items() if name.removesuffix(".weight") not in packed}
        tensors, header = self.held(plain, {name: _codes(layer) for name, layer in packed.items()})
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, file, {"format": "pt"} | header)
        config = read_json(place / "config.json")
        write_json_atomic(place / "config.json", config | {"quantization_config": self.config(kept)})
        return Written(f"{len(packed)} layers of the backbone as int8; {written.holds}", written.left_out)


def _is_there(module: str) -> bool:
    with contextlib.suppress(ModuleNotFoundError):  # the package that the module is in
        return util.find_spec(module) is not None
    return False


def _codes(layer: QuantizedLayer) -> tuple[Tensor, Tensor]:
    weight = layer.weight_quantizer
    assert weight is not None
    assert layer.weight_codes is not None
    scale = weight.scale.detach().float().expand(len(layer.weight_codes)).reshape(-1, 1)
    return Weights.of(weight, layer.weight_codes).signed(), scale


def _packed(network: nn.Module, backend: str) -> tuple[dict[str, QuantizedLayer], list[str]]:
    """Return the layers whose codes are written, by name, and what the Linear layers that stay float are called."""
    quantized = quantized_layers(network)
    packed = {name: layer for name, layer in quantized.items() if layer.kind == "linear"}
    for name, layer in packed.items():
        scheme, parts = layer.scheme.weight, [part for part, there in layer.parts.model_dump().items() if there]
        parts = [part for part in parts if part != "timesteps"]  # of the rounding of inputs, which is left out
        said = None
        if scheme is None or (scheme.bits, scheme.symmetric, scheme.codebook) != (BITS, True, "uniform"):
            said = "its weights are not symmetric codes of 8 bits"
        elif scheme.granularity not in ("channel", "tensor"):
            said = f"it has a scale per {scheme.granularity}"
        elif parts:
            said = f"it is a layer with {', '.join(parts)}"
        if said is not None:
            raise UsageError(f"{name}: {said}, which {backend}'s files do not hold; expected naive@w8a8 or the like")
    floats = [name for name, layer in network.named_modules() if isinstance(layer, nn.Linear) and name not in quantized]
    kept = sorted({name.rpartition(".")[2] for name in floats})
    for name in packed:
        if name.rpartition(".")[2] in kept:
            raise UsageError(f"{name}: others of that last name are not quantized, and diffusers tells them by it")
    if not packed:
        raise UsageError("the backbone has no quantized layer of class Linear")
    return packed, kept
