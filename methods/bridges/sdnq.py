"""`sdnq-int8`, `sdnq-int4`: SDNQ (Disty0/sdnq), SD.Next's engine, in eager torch.

`apply_sdnq_to_module`, which its `sdnq_post_load_quant` calls, rounds the weights of every Linear and convolution that
has at least 32 input channels and 16,384 weights. int8: symmetric, per output channel (or in groups of up to 1,024
inputs of a Linear, 512 of a convolution); 4 bits: `uint4` as SDNQ has it by default, with a scale and a zero point per
group of 64 inputs of a Linear, 32 channels of a convolution, or the nearest smaller division. `hadamard` rotates the
inputs of layers by groups of 256 first.

`w8a8` scales the inputs of a Linear per token at run time, and multiplies integers by `torch._int_mm` where its
channels are multiples of 16; calls with fewer than 32 rows, and convolutions, convert weights to floating point.

SDNQ compiles its arithmetic, and calls OpenVINO's product, where it finds them. The bridge has it do neither unless
SDNQ_USE_TORCH_COMPILE or SDNQ_USE_OPENVINO_MM say so: what is measured depends on no other package then.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field
from torch import Tensor, nn

from admbench.errors import CheckpointError
from admbench.methods.base import MethodConfig
from admbench.methods.bridges.base import Bridge
from admbench.methods.core.calibration.calibration_set import CalibrationSet
from admbench.methods.core.checkpoint.third_party import FLOAT_BITS, ThirdPartyFormat, ThirdPartyLayer, described
from admbench.methods.protocol import DenoisingModel
from admbench.taxonomy import Paper

WEIGHTS = {8: "int8", 4: "uint4"}
"""Bits of a spec -> the package's name of the type."""
PARTS = ("weight", "scale", "zero_point")
"""Parameters of a layer that hold what its weight is made of."""
_PAPER = Paper("SDNQ: SD.Next Quantization Engine", "https://github.com/Disty0/sdnq")


class SDNQConfig(MethodConfig):
    """Options of `sdnq-*`."""

    hadamard: bool = False
    """Rotate the inputs of every layer by Hadamard matrices of up to 256 channels, weights with them."""
    smallest: int = Field(16_384, ge=0)
    """Weights of the smallest layer that is rounded; the default is the package's own."""


class SDNQBridge(Bridge):
    """Weights of `bits` bits, inputs of 8 or left alone."""

    Config: ClassVar[type[MethodConfig]] = SDNQConfig
    config: SDNQConfig

    def form(self) -> ThirdPartyFormat:
        """See `Bridge`."""
        return SDNQFormat()

    def apply(self, backbone: nn.Module, model: DenoisingModel, calibration: CalibrationSet | None) -> nn.Module:
        """See `Bridge`."""
        integers = self.spec.activation_bits != FLOAT_BITS
        return quantized(
            backbone,
            WEIGHTS[int(self.spec.weight_bits or 0)],
            hadamard=self.config.hadamard,
            integers=integers,
            smallest=self.config.smallest,
        )


class SDNQInt8(SDNQBridge):
    """8-bit weights."""

    name = "sdnq-int8"
    summary = "bridge to SDNQ: int8 weights, inputs of Linear layers dynamic per token (w8a8) or float (w8a16)"
    requires = ("sdnq",)
    version = "1"
    track = "post-training"
    family = "package"
    paper = _PAPER
    takes = ("w8a16", "w8a8")


class SDNQInt4(SDNQBridge):
    """4-bit weights."""

    name = "sdnq-int4"
    summary = "bridge to SDNQ: uint4 weights in groups with zero points, of Linear layers and convolutions (w4a16)"
    requires = ("sdnq",)
    version = "1"
    track = "post-training"
    family = "package"
    paper = _PAPER
    takes = ("w4a16",)


def quantized(
    module: nn.Module,
    weights: str,
    *,
    hadamard: bool,
    integers: bool,
    smallest: int = 0,
    layers: frozenset[str] | None = None,
) -> nn.Module:
    """Let SDNQ quantize a network in place, and return it.

    Args:
        module: the network; on the meta device, its structure comes out.
        weights: the package's name of a type.
        hadamard: whether inputs are rotated.
        integers: whether Linear layers multiply int8 by int8.
        smallest: weights of the smallest layer.
        layers: names of those to quantize, whatever their size; None is the package's own choice.
    """
    for variable in ("SDNQ_USE_TORCH_COMPILE", "SDNQ_USE_OPENVINO_MM"):
        os.environ.setdefault(variable, "0")
    from sdnq import SDNQConfig as Choices
    from sdnq import apply_sdnq_to_module
    from sdnq.utils import add_module_skip_keys

    others = None
    if layers is not None:
        weighted = [name for name, part in module.named_modules() if hasattr(part, "weight")]
        others = [f"{name}.weight" for name in weighted if name not in layers]
    choices = Choices(
        weights_dtype=weights,
        use_hadamard=hadamard,
        use_quantized_matmul=integers,
        quant_conv=True,
        minimum_allowed_numel=smallest,
        modules_to_not_convert=others,
    )
    module.eval()
    if layers is None:
        module, choices = add_module_skip_keys(module, choices)
    made: nn.Module
    made, _ = apply_sdnq_to_module(module, choices, pre_quantized=layers is not None)
    return made


class SDNQFormat(ThirdPartyFormat):
    """SDNQ's parameters as they are, and which layers have them."""

    summary = "Linear layers and convolutions of SDNQ"
    requires = ("sdnq",)
    name = "sdnq"
    package = "sdnq"

    def describe(self, module: nn.Module) -> dict[str, ThirdPartyLayer]:
        """See `ThirdPartyFormat`."""
        layers = {}
        for name, layer in _quantized(module).items():
            how = layer.sdnq_dequantizer
            integers = how.use_quantized_matmul and isinstance(layer, nn.Linear)
            activation = (8, "token, dynamic") if integers else (FLOAT_BITS, None)
            group = f"group of {how.group_size}" if how.group_size > 0 else "channel"
            layers[name] = described(layer, (how.num_bits, group), activation)
        return layers

    def multiplied_codes(self, module: nn.Module) -> dict[str, Tensor]:
        """Of Linear layers that multiply integers, whose weights lie transposed."""
        return {
            name: layer.weight.data.t()
            for name, layer in _quantized(module).items()
            if layer.sdnq_dequantizer.use_quantized_matmul and isinstance(layer, nn.Linear)
        }

    def weight(self, module: nn.Module, name: str) -> Tensor:
        """See `ThirdPartyFormat`."""
        from sdnq.utils import get_sdnq_params

        layer: Any = module.get_submodule(name)
        how = layer.sdnq_dequantizer
        weight: Tensor = how(**get_sdnq_params(layer), skip_quantized_matmul=how.use_quantized_matmul)
        return weight.t().contiguous() if how.use_quantized_matmul and weight.shape != how.original_shape else weight

    def flatten(self, module: nn.Module) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """See `ThirdPartyFormat`."""
        layers = _quantized(module)
        first = next(iter(layers.values())).sdnq_dequantizer
        integers = any(layer.sdnq_dequantizer.use_quantized_matmul for layer in layers.values())
        tensors = {name: tensor.contiguous() for name, tensor in module.state_dict().items()}
        layout = {
            "weights_dtype": first.weights_dtype,
            "hadamard": any(layer.sdnq_dequantizer.use_hadamard for layer in layers.values()),
            "integers": integers,
            "layers": sorted(layers),
        }
        return tensors, layout

    def restore(self, module: nn.Module, tensors: Mapping[str, Tensor], layout: Mapping[str, Any]) -> nn.Module:
        """See `ThirdPartyFormat`."""
        weights, layers = layout.get("weights_dtype"), layout.get("layers")
        hadamard, integers = layout.get("hadamard"), layout.get("integers")
        if (
            not isinstance(weights, str)
            or weights not in WEIGHTS.values()
            or not isinstance(hadamard, bool)
            or not isinstance(integers, bool)
        ):
            raise CheckpointError("bridge.layout: expected weights_dtype, hadamard and integers")
        known = dict(module.named_modules())
        if not isinstance(layers, list) or not layers:
            raise CheckpointError("bridge.layout.layers: expected names of layers")
        for name in layers:
            if not isinstance(known.get(name), nn.Linear | nn.Conv1d | nn.Conv2d):
                raise CheckpointError(f"bridge.layout.layers: {str(name)[:60]} is no Linear or convolution")
        made = quantized(module, weights, hadamard=hadamard, integers=integers, layers=frozenset(layers))
        expected = made.state_dict()
        if expected.keys() != tensors.keys():
            raise CheckpointError(f"tensor {min(expected.keys() ^ tensors.keys())} is missing, or belongs to nothing")
        for name, tensor in tensors.items():
            if expected[name].shape != tensor.shape or expected[name].dtype != tensor.dtype:
                raise CheckpointError(f"tensor {name}: expected {expected[name].dtype} {tuple(expected[name].shape)}")
        made.requires_grad_(False).load_state_dict(dict(tensors), assign=True)
        return made


def _quantized(module: nn.Module) -> dict[str, Any]:
    """Return the layers that SDNQ has replaced."""
    return {name: layer for name, layer in module.named_modules() if hasattr(layer, "sdnq_dequantizer")}
