"""`diffusers-quantized`: a backbone that diffusers saved with a `quantization_config`, read by its package's bridge.

    diffusers-quantized@w8a16[folder=my/pipeline]         or the folder of its backbone alone

`from_pretrained(..., quantization_config=...)` and `save_pretrained` leave such folders. diffusers reads the weights,
from safetensors alone; the tensors go through the format of the package's own bridge, so that what could not be packed
and loaded again is refused here. Nothing is rounded.

quanto (weights alone: int8, int4, int2), torchao (int8, with inputs of run time or without) and SDNQ (int8 and uint4 in
their default groups) are read. bitsandbytes is not: diffusers 0.42 refuses it without a GPU, whatever the package can.
A GGUF file has no such folder, and is read by `ready-made`.
"""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import nn

from admbench.errors import BenchError, CheckpointError, DataError, PluginError, UsageError
from admbench.files import read_json
from admbench.hashing import remembered_sha256, sha256_json
from admbench.methods.base import MethodConfig
from admbench.methods.bridges.base import Bridge
from admbench.methods.bridges.quanto import QuantoFormat
from admbench.methods.bridges.sdnq import SDNQFormat
from admbench.methods.bridges.torchao import TorchAOFormat
from admbench.methods.core.calibration.calibration_set import CalibrationSet
from admbench.methods.core.checkpoint.third_party import ThirdPartyFormat
from admbench.methods.protocol import DenoisingModel
from admbench.registry import missing_distributions
from admbench.taxonomy import Paper

FORMS: dict[str, Callable[[], ThirdPartyFormat]] = {
    "quanto": QuantoFormat,
    "torchao": TorchAOFormat,
    "sdnq": SDNQFormat,
}
"""`quant_method` of a configuration -> how its bridge stores what it describes."""
NOT_READ = {
    "bitsandbytes": "diffusers loads it on a GPU alone",
    "gguf": "ready-made reads the GGUF file",
    "modelopt": "its layers have no format here",
}
CONFIG, QUANTIZED = "config.json", "quantization_config"
BACKBONES = ("transformer", "unet")
"""Folders of a pipeline that the backbone may lie in."""


def backbone_folder(folder: Path) -> Path:
    """Return the folder of a pipeline's backbone, or the folder itself."""
    inner = (folder / name for name in BACKBONES)
    return folder if (folder / CONFIG).is_file() else next((one for one in inner if (one / CONFIG).is_file()), folder)


class DiffusersQuantizedConfig(MethodConfig):
    """Options of `diffusers-quantized`."""

    folder: str = Field("", validate_default=True)
    """A folder of diffusers whose configuration has `quantization_config`, or a pipeline's with such a backbone."""
    sha256: str = Field("", validate_default=True)
    """Hash of configuration and weights, which is found out: cells of others under the same name are others."""

    @field_validator("folder")
    @classmethod
    def _is_quantized(cls, folder: str) -> str:
        try:
            quantization(backbone_folder(Path(folder).expanduser()) if folder else Path())
        except BenchError as error:
            raise ValueError(str(error)) from error
        return folder

    @field_validator("sha256")
    @classmethod
    def _is_of_the_files(cls, told: str, info: ValidationInfo) -> str:
        if "folder" not in info.data:  # which is being refused
            return told
        place = backbone_folder(Path(info.data["folder"]).expanduser())
        try:
            files = sorted(one for one in place.iterdir() if one.suffix in (".json", ".safetensors"))
            found = sha256_json({one.name: remembered_sha256(one) for one in files})
        except (BenchError, OSError) as error:
            raise ValueError(str(error)) from error
        if told and told != found:
            raise ValueError(f"expected {found[:12]}, the hash of {info.data['folder']}")
        return found


class DiffusersQuantized(Bridge):
    """The weights of a folder that diffusers saved quantized; nothing is quantized here."""

    name = "diffusers-quantized"
    summary = "a backbone that diffusers saved with quanto's, torchao's or SDNQ's quantization_config; option folder"
    requires = ()
    version = "1"
    track = "post-training"
    family = "package"
    paper = Paper("diffusers: quantization backends", "https://huggingface.co/docs/diffusers/quantization/overview")
    takes = ("w8a16", "w8a8", "w4a16", "w2a16")
    Config: ClassVar[type[MethodConfig]] = DiffusersQuantizedConfig
    config: DiffusersQuantizedConfig

    @property
    def _place(self) -> Path:
        return backbone_folder(Path(self.config.folder).expanduser())

    def form(self) -> ThirdPartyFormat:
        """See `Bridge`: that of the package which the folder names."""
        return FORMS[quantization(self._place)]()

    def apply(self, backbone: nn.Module, model: DenoisingModel, calibration: CalibrationSet | None) -> nn.Module:
        """See `Bridge`.

        Raises:
            PluginError: the package, or accelerate, is not installed.
            CheckpointError: the folder is of another network, is damaged, or holds what its bridge cannot store.
            UsageError: most of its weights have other bits than the spec says.
        """
        form, place = self.form(), self._place
        if missing := missing_distributions((form.package, "accelerate")):
            raise PluginError(f'method "{self.spec}" {missing}')
        check_network(place / CONFIG, backbone)
        loaded = load(place, type(backbone))
        counts = Counter[str]()
        for layer in form.describe(loaded).values():
            counts[f"w{layer.weight_bits}a{layer.activation_bits}"] += torch.Size(layer.shape).numel()
        if not counts:
            raise CheckpointError(f"{place}: no layer is of a type that {form.name}'s bridge stores")
        bits = counts.most_common(1)[0][0]
        if bits != "w{}a{}".format(*self.spec.bits):
            raise UsageError(
                f'method "{self.spec}": the layers of {place} are mostly {bits}; expected {self.name}@{bits}'
            )
        try:
            tensors, layout = form.flatten(loaded)
            tensors = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
            return form.restore(copy.deepcopy(backbone).to("meta"), tensors, json.loads(json.dumps(layout)))
        except CheckpointError as error:
            raise CheckpointError(f"{place}: not as {form.name}'s bridge stores it: {error}") from error


def quantization(place: Path) -> str:
    """Return the package that a folder's configuration names, one of `FORMS`.

    Raises:
        DataError: there is no configuration, or it is no JSON.
        CheckpointError: nothing is quantized, or by a package that is not read.
    """
    if not (place / CONFIG).is_file():
        raise DataError(f"{place / CONFIG}: missing; expected a folder that diffusers saved")
    content = read_json(place / CONFIG)
    found = content.get(QUANTIZED) if isinstance(content, dict) else None
    named = found.get("quant_method") if isinstance(found, dict) else None
    if not isinstance(named, str):
        raise CheckpointError(f"{place / CONFIG}: expected {QUANTIZED} with its quant_method")
    if named not in FORMS:
        why = f" ({NOT_READ[named]})" if named in NOT_READ else ""
        raise CheckpointError(f"{place / CONFIG}: quant_method is {named[:40]}{why}; expected {', '.join(FORMS)}")
    return named


def check_network(config: Path, backbone: nn.Module) -> None:
    """Raise CheckpointError unless a configuration is that of the backbone, but for what it was quantized by."""
    content, own = read_json(config), getattr(backbone, "config", None)
    if own is None or not hasattr(type(backbone), "from_pretrained"):
        raise CheckpointError(f"{config}: {type(backbone).__name__} is no network of diffusers")
    named = content.get("_class_name")
    if named != type(backbone).__name__:
        raise CheckpointError(f"{config}: _class_name is {str(named)[:60]}; expected {type(backbone).__name__}")
    for key, value in dict(own).items():
        if not key.startswith("_") and _plain(content.get(key, value)) != _plain(value):
            raise CheckpointError(f"{config}: {key} is {str(content[key])[:40]}; expected {str(value)[:40]}")


def load(place: Path, network: Any) -> nn.Module:
    """Let diffusers load a folder of such a network in float32, from safetensors.

    Raises:
        CheckpointError: whatever it or the package says.
    """
    if not any(place.glob("*.safetensors")):
        raise CheckpointError(f"{place}: no .safetensors; expected one, as save_pretrained writes by default")
    try:
        with torch.inference_mode(False):
            loaded: nn.Module = network.from_pretrained(
                place, local_files_only=True, use_safetensors=True, torch_dtype=torch.float32
            )
    except Exception as error:  # of a damaged file, the libraries raise whatever their parsers do
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{place}: cannot be loaded ({line})") from error
    return loaded.eval()


def _plain(value: Any) -> Any:
    """Return a value of a configuration as JSON has it, tuples as lists."""
    return [_plain(one) for one in value] if isinstance(value, Iterable) and not isinstance(value, str) else value
