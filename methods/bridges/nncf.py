"""`nncf-int8`: NNCF (openvinotoolkit/nncf), `compress_weights` of its torch backend.

Weights of every Linear and convolution as int8, symmetric, with a float16 scale per output channel; at every call a
hook converts them to floating point. NNCF's `quantize`, which rounds activations too, only inserts fake quantization
into a torch model: its weights stay float32 on disk until OpenVINO compiles them, so it is no way to a smaller
checkpoint, and is not offered here. See docs/methods/bridges.md for what was tried.

NNCF's `get_config` does not know its own decompressors, so the checkpoint says which weights have one; that determines
the module.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import logging
import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from admbench.errors import CheckpointError
from admbench.methods.bridges.base import Bridge
from admbench.methods.core.calibration.calibration_set import CalibrationSet
from admbench.methods.core.checkpoint.third_party import ThirdPartyFormat, ThirdPartyLayer, described
from admbench.methods.protocol import DenoisingModel
from admbench.taxonomy import Paper

_DECOMPRESSOR = "INT8SymmetricWeightsDecompressor"
_HOOKS = "__nncf_hooks."
_SCALE = ".weight_scale"
_CONVOLUTION = nn.Conv1d | nn.Conv2d


class NNCFInt8(Bridge):
    """Int8 weights per output channel, symmetric; inputs in floating point."""

    name = "nncf-int8"
    summary = "bridge to NNCF: compress_weights, int8 Linear and convolution weights, inputs in float (w8a16)"
    requires = ("nncf",)
    version = "1"
    track = "post-training"
    family = "package"
    paper = Paper(
        "Kozlov et al., Neural Network Compression Framework for fast model inference, 2020",
        "https://arxiv.org/abs/2002.08679",
    )
    takes = ("w8a16",)

    def form(self) -> ThirdPartyFormat:
        """See `Bridge`."""
        return NNCFFormat()

    def apply(self, backbone: nn.Module, model: DenoisingModel, calibration: CalibrationSet | None) -> nn.Module:
        """See `Bridge`."""
        nncf = _import_nncf()
        inputs = _example_inputs(model)
        with contextlib.redirect_stdout(io.StringIO()):  # bars and tables
            compressed: nn.Module = nncf.compress_weights(
                backbone, mode=nncf.CompressWeightsMode.INT8_SYM, dataset=nncf.Dataset([inputs])
            )
        return compressed


class NNCFFormat(ThirdPartyFormat):
    """The state dict of a model with NNCF's hooks, and which weights have a decompressor."""

    summary = "compressed weights of NNCF"
    requires = ("nncf",)
    name = "nncf"
    package = "nncf"

    def describe(self, module: nn.Module) -> dict[str, ThirdPartyLayer]:
        """See `ThirdPartyFormat`."""
        hooked = _decompressors(module)
        return {name: described(layer, (8, "channel")) for name, layer in module.named_modules() if name in hooked}

    def weight(self, module: nn.Module, name: str) -> Tensor:
        """See `ThirdPartyFormat`."""
        decompressed: Tensor = _decompressors(module)[name](module.get_submodule(name).weight)
        return decompressed

    def flatten(self, module: nn.Module) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """See `ThirdPartyFormat`."""
        hooked = _decompressors(module)
        state = {name: tensor for name, tensor in module.state_dict().items() if not name.startswith(_HOOKS)}
        scales = {f"{name}{_SCALE}": hook.get_buffer("_scale") for name, hook in hooked.items()}
        return {**state, **scales}, {"decompressed": sorted(hooked)}

    def restore(self, module: nn.Module, tensors: Mapping[str, Tensor], layout: Mapping[str, Any]) -> nn.Module:
        """See `ThirdPartyFormat`."""
        _import_nncf()
        from nncf.torch.function_hook.wrapper import register_post_function_hook, wrap_model
        from nncf.torch.quantization.layers import INT8SymmetricWeightsDecompressor

        names = layout.get("decompressed")
        if not isinstance(names, list):
            raise CheckpointError("bridge.layout: expected decompressed")
        module.requires_grad_(False)
        layers = {name: layer for name, layer in module.named_modules() if isinstance(layer, nn.Linear | _CONVOLUTION)}
        scales = {}
        for name in names:
            if name not in layers:
                raise CheckpointError(f"bridge.layout.decompressed: there is no layer {name!r} with a weight")
            shape = tuple(layers[name].weight.shape)
            codes, scale = tensors.get(f"{name}.weight"), tensors.get(name + _SCALE)
            if codes is None or codes.dtype != torch.int8 or tuple(codes.shape) != shape:
                raise CheckpointError(f"tensor {name}.weight: expected int8 {shape}")
            per_channel = (shape[0], *[1] * (len(shape) - 1))
            if scale is None or scale.dtype != torch.float16 or tuple(scale.shape) != per_channel:
                raise CheckpointError(f"tensor {name + _SCALE}: expected float16 {per_channel}")
            scales[name] = scale
        state = {name: tensor for name, tensor in tensors.items() if name.removesuffix(_SCALE) not in scales}
        module.load_state_dict(state, assign=True)
        module = wrap_model(module)
        for name, scale in scales.items():
            hook = INT8SymmetricWeightsDecompressor(scale, result_dtype=torch.float32)
            register_post_function_hook(module, f"{name}.weight".replace(".", ":"), 0, hook)
        return module


def _import_nncf() -> Any:
    os.environ.setdefault("NNCF_CI", "1")  # without it, NNCF reports its use to its makers
    import nncf
    import nncf.torch

    nncf.set_log_level(logging.ERROR)
    return nncf


def _decompressors(module: nn.Module) -> dict[str, Any]:
    """Return the decompressor of each layer that has one, by the layer's name."""
    from nncf.torch.function_hook.hook_storage import decode_hook_name
    from nncf.torch.function_hook.wrapper import get_hook_storage

    found = {}
    for hook_name, hook in get_hook_storage(module).named_hooks():
        kind, operation, port = decode_hook_name(hook_name)
        name = operation.replace(":", ".")
        if type(hook).__name__ != _DECOMPRESSOR or kind != "post_hooks" or port != 0 or not name.endswith(".weight"):
            raise CheckpointError(f"{hook_name}: not the decompressor of a weight")
        found[name.removesuffix(".weight")] = hook
    return found


def _example_inputs(model: DenoisingModel) -> dict[str, Any]:
    """Return the keyword arguments of a call of the backbone, as the model makes it, for NNCF to trace the module."""
    call = next(iter(model.trajectories(["a sound"], seeds=[0], steps=2, guidance=1.0, batch_size=1)))
    seen: dict[str, Any] = {}

    def see(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        seen.update(inspect.signature(module.forward).bind(*args, **kwargs).arguments)

    hook = model.backbone.register_forward_pre_hook(see, with_kwargs=True)
    try:
        model.call_backbone(call.inputs)
    finally:
        hook.remove()
    return {name: value.clone() if isinstance(value, Tensor) else value for name, value in seen.items()}
