"""`quanto-int8`, `quanto-int4`, `quanto-int2`: optimum-quanto (huggingface/optimum-quanto), in maintenance mode.

`quantize` takes every Linear and Conv2d (with quantized activations LayerNorm too), `Calibration` sees the activations,
`freeze` rounds the weights. int8: a scale per output channel, symmetric; int4 and int2: a scale and a shift per group
of 128, 96, 64 or 32 weights where one of these divides a channel, else per channel. Activations: one static scale per
tensor, a running mean of the largest magnitudes with momentum 0.9, so the order of the calibration samples matters. A
Linear rounds its input; a convolution takes what comes, and rounds its output if calibration found a use for that.

On a CPU only a Linear of int8 weights and int8 inputs multiplies integers (`torch._int_mm`). Everything else converts
its weight to floating point at every call. Without VNNI these products saturate, and quanto has no remedy: there `w8a8`
is refused.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from admbench.errors import CheckpointError
from admbench.methods.base import CalibratedConfig, CalibratedMethod
from admbench.methods.bridges.base import Bridge
from admbench.methods.core.calibration.calibration_set import CalibrationSet
from admbench.methods.core.checkpoint.third_party import FLOAT_BITS, ThirdPartyFormat, ThirdPartyLayer, described
from admbench.methods.protocol import DenoisingModel
from admbench.taxonomy import Paper

CALIBRATION_BATCH = 16
WEIGHTS = ("qint8", "qint4", "qint2")
ACTIVATIONS = ("qint8", "none")


class QuantoBridge(Bridge, CalibratedMethod):
    """Weights of `bits` bits, inputs of 8 or left alone."""

    Config: ClassVar[type[CalibratedConfig]] = CalibratedConfig
    config: CalibratedConfig

    def form(self) -> ThirdPartyFormat:
        """See `Bridge`."""
        return QuantoFormat()

    @property
    def varies(self) -> bool:
        """Scales of activations depend on the data, weights do not."""
        return self.spec.activation_bits != FLOAT_BITS

    def needs_calibration(self, model: DenoisingModel) -> bool:
        """Activations need their scales."""
        return self.spec.activation_bits != FLOAT_BITS

    def apply(self, backbone: nn.Module, model: DenoisingModel, calibration: CalibrationSet | None) -> nn.Module:
        """See `Bridge`."""
        from optimum.quanto import Calibration, freeze, quantize

        weights = f"qint{self.spec.weight_bits}"
        quantize(backbone, weights=weights, activations=None if calibration is None else "qint8")
        outside_inference_mode(backbone)
        if calibration is not None:
            with Calibration(), run_as_backbone(model, backbone):
                for inputs in calibration.batches(CALIBRATION_BATCH):
                    model.call_backbone(inputs)
        freeze(backbone)
        return backbone

    def simulates(self, backbone: nn.Module) -> bool:
        """A Linear of less than 8 bits rounds its input and multiplies in floating point."""
        return self.spec.activation_bits != FLOAT_BITS and self.spec.weight_bits != 8


class QuantoInt8(QuantoBridge):
    """8-bit weights."""

    name = "quanto-int8"
    summary = (
        "bridge to optimum-quanto (in maintenance mode): int8 Linear and Conv2d, inputs static (w8a8) or float (w8a16)"
    )
    requires = ("optimum-quanto",)
    version = "1"
    track = "post-training"
    family = "package"
    paper = Paper("optimum-quanto", "https://github.com/huggingface/optimum-quanto")
    takes = ("w8a16", "w8a8")


class QuantoInt4(QuantoBridge):
    """4-bit weights."""

    name = "quanto-int4"
    summary = "bridge to optimum-quanto (in maintenance mode): int4 Linear and Conv2d weights in groups (w4a16, w4a8)"
    requires = ("optimum-quanto",)
    version = "1"
    track = "post-training"
    family = "package"
    paper = Paper("optimum-quanto", "https://github.com/huggingface/optimum-quanto")
    takes = ("w4a16", "w4a8")


class QuantoInt2(QuantoBridge):
    """2-bit weights."""

    name = "quanto-int2"
    summary = "bridge to optimum-quanto (in maintenance mode): int2 Linear and Conv2d weights in groups (w2a16, w2a8)"
    requires = ("optimum-quanto",)
    version = "1"
    track = "post-training"
    family = "package"
    paper = Paper("optimum-quanto", "https://github.com/huggingface/optimum-quanto")
    takes = ("w2a16", "w2a8")


class QuantoFormat(ThirdPartyFormat):
    """quanto's state dict and quantization map, and what the map leaves out: which layers round their output."""

    summary = "Linear and Conv2d of optimum-quanto"
    requires = ("optimum-quanto",)
    name = "quanto"
    package = "optimum-quanto"

    def describe(self, module: nn.Module) -> dict[str, ThirdPartyLayer]:
        """See `ThirdPartyFormat`."""
        layers = {}
        for name, layer in _quantized(module).items():
            bits, group = layer.weight_qtype.bits, layer.weight_group_size
            activation = (8, "tensor") if "input" in layer._quantize_hooks else (FLOAT_BITS, None)
            layers[name] = described(layer, (bits, f"group of {group}" if group else "channel"), activation)
        return layers

    def multiplied_codes(self, module: nn.Module) -> dict[str, Tensor]:
        """Of a Linear of int8 weights and inputs; a convolution converts its weight."""
        linear = {name: layer for name, layer in _quantized(module).items() if isinstance(layer, nn.Linear)}
        layers: dict[str, Any] = dict(linear)
        return {
            name: layer.weight._data
            for name, layer in layers.items()
            if layer.weight_qtype.bits == 8 and "input" in layer._quantize_hooks
        }

    def weight(self, module: nn.Module, name: str) -> Tensor:
        """See `ThirdPartyFormat`."""
        quantized: Any = module.get_submodule(name).weight
        with torch.inference_mode(False), torch.no_grad():
            dequantized: Tensor = quantized.dequantize()
        return dequantized

    def flatten(self, module: nn.Module) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """See `ThirdPartyFormat`."""
        from optimum.quanto import quantization_map

        state = module.state_dict()
        rounded = [name for name, part in module.named_modules() if _rounds_output(part)]
        return dict(state), {"quantization_map": quantization_map(module), "rounded_outputs": rounded}

    def restore(self, module: nn.Module, tensors: Mapping[str, Tensor], layout: Mapping[str, Any]) -> nn.Module:
        """See `ThirdPartyFormat`."""
        from optimum.quanto import requantize

        parts, rounded = layout.get("quantization_map"), layout.get("rounded_outputs")
        if not isinstance(parts, dict) or not isinstance(rounded, list):
            raise CheckpointError("bridge.layout: expected quantization_map and rounded_outputs")
        known = dict(module.named_modules())
        for name, kinds in parts.items():
            weights, activations = kinds.get("weights"), kinds.get("activations")
            if name not in known or weights not in (*WEIGHTS, "none") or activations not in ACTIVATIONS:
                raise CheckpointError(f"bridge.layout.quantization_map.{name}: not a layer that quanto quantizes")
        requantize(module, dict(tensors), parts, device=torch.device("cpu"))
        expected = module.state_dict()
        if expected.keys() != tensors.keys():
            odd = min(expected.keys() ^ tensors.keys())
            raise CheckpointError(f"tensor {odd} is missing, or belongs to nothing")
        for name, tensor in tensors.items():
            if expected[name].shape != tensor.shape or expected[name].dtype != tensor.dtype:
                raise CheckpointError(f"tensor {name}: expected {expected[name].dtype} {tuple(expected[name].shape)}")
        for name, part in module.named_modules():
            if name in parts and name not in rounded:
                part.disable_output_quantization()
        outside_inference_mode(module)
        return module


class run_as_backbone:
    """Let a module stand in for a model's backbone inside of the block."""

    def __init__(self, model: DenoisingModel, module: nn.Module) -> None:
        self._model, self._module, self._own = model, module, model.backbone

    def __enter__(self) -> None:
        self._model.backbone = self._module

    def __exit__(self, *reason: object) -> None:
        self._model.backbone = self._own


def outside_inference_mode(module: nn.Module) -> None:
    """Let a module run without gradients, but not in inference mode, where quanto's packed weights cannot be read."""
    run: Callable[..., Any] = module.forward

    @functools.wraps(run)
    def forward(*args: Any, **kwargs: Any) -> Any:
        with torch.inference_mode(False), torch.no_grad():
            return run(*[_ordinary(value) for value in args], **{key: _ordinary(v) for key, v in kwargs.items()})

    module.forward = forward


def _ordinary(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) and value.is_inference() else value


def _quantized(module: nn.Module) -> dict[str, Any]:
    """Return the Linear and Conv2d layers that quanto has replaced; a LayerNorm has no quantized weight."""
    layers = {name: part for name, part in module.named_modules() if isinstance(part, nn.Linear | nn.Conv2d)}
    return {name: layer for name, layer in layers.items() if getattr(layer, "weight_qtype", None) is not None}


def _rounds_output(part: Any) -> bool:
    hook = getattr(part, "_quantize_hooks", {}).get("output")
    return hook is not None and hook.id in part._forward_hooks
