"""`modelopt-int8`: NVIDIA ModelOpt (NVIDIA/Model-Optimizer), its calibration of int8 weights and inputs.

`mtq.quantize` with `INT8_DEFAULT_CFG` puts a quantizer before every Linear and convolution and one on its weight, and
calibrates both by the largest magnitude: a scale per output channel, and one static scale per tensor of inputs. With
`INT8_SMOOTHQUANT_CFG` inputs of Linear layers are first divided by scales between them and the weight (SmoothQuant).

ModelOpt itself computes in floating point with rounded numbers on a CPU. So its ranges and scales are taken, and the
layers are ours, of the same numbers: packed as ours, and multiplied as integers where a kernel is. One code is lost:
inputs below the range that calibration saw end at -127 steps, and at -128 there.
"""

from __future__ import annotations

import copy
import time
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from admbench.errors import PluginError, UsageError
from admbench.methods.base import CalibratedConfig, CalibratedMethod
from admbench.methods.bridges.quanto import run_as_backbone
from admbench.methods.core.backbone import QuantizedBackbone
from admbench.methods.core.calibration.calibration_set import CalibrationSet
from admbench.methods.core.layers.kinds import QuantizableLayer, quantizable_layers, replace_layer
from admbench.methods.core.layers.quantized import QuantizedLayer
from admbench.methods.core.numbers.quantizer import Quantizer
from admbench.methods.core.numbers.scheme import Scheme
from admbench.methods.protocol import DenoisingModel
from admbench.methods.spec import MethodSpec
from admbench.registry import missing_distributions
from admbench.taxonomy import Paper

CALIBRATION_BATCH = 16
WEIGHT = Scheme(bits=8, granularity="channel", symmetric=True)
INPUT = Scheme(bits=8, granularity="tensor", symmetric=True)


class ModelOptConfig(CalibratedConfig):
    """Options of `modelopt-int8`."""

    smooth: bool = False
    """Whether inputs of Linear layers are divided by SmoothQuant's scales first."""


class ModelOptInt8(CalibratedMethod):
    """Int8 weights per output channel and int8 inputs per tensor, static, as ModelOpt calibrates them."""

    name = "modelopt-int8"
    summary = "bridge to NVIDIA ModelOpt: int8 Linear layers and convolutions, inputs static (w8a8); option smooth"
    requires = ("nvidia-modelopt",)
    version = "1"
    track = "post-training"
    family = "package"
    paper = Paper("NVIDIA Model Optimizer", "https://github.com/NVIDIA/Model-Optimizer")
    Config: ClassVar[type[ModelOptConfig]] = ModelOptConfig
    config: ModelOptConfig

    def __init__(self, spec: MethodSpec) -> None:
        super().__init__(spec)
        if spec.bits != (8, 8):
            raise UsageError(
                f'method "{spec}": the package does not do w{spec.bits[0]}a{spec.bits[1]}; expected {self.name}@w8a8'
            )

    def quantize(self, model: DenoisingModel, calibration: CalibrationSet | None) -> QuantizedBackbone:
        """See `Method`.

        Raises:
            PluginError: the package is not installed.
            UsageError: it quantizes no layer.
        """
        if missing := missing_distributions(self.requires):
            raise PluginError(f'method "{self.spec}" {missing}')
        started = time.perf_counter()
        calibration = self.check_calibration(model, calibration)
        assert calibration is not None  # 8 bits on both sides take it
        theirs = calibrated(model, calibration, smooth=self.config.smooth)
        backbone = copy.deepcopy(model.backbone)
        made = 0
        for name, layer in quantizable_layers(backbone).items():
            quantized = as_ours(layer, theirs.get_submodule(name))
            if quantized is not None:
                replace_layer(backbone, name, quantized)
                made += 1
        if not made:
            raise UsageError(f'method "{self.spec}": nvidia-modelopt quantizes no layer of {model.name}')
        return self.result(model, backbone, started)


def calibrated(model: DenoisingModel, calibration: CalibrationSet, *, smooth: bool) -> nn.Module:
    """Return a copy of a model's backbone with ModelOpt's quantizers, calibrated."""
    import modelopt.torch.quantization as mtq

    def run(network: nn.Module) -> None:
        with run_as_backbone(model, network), torch.no_grad():
            for inputs in calibration.batches(CALIBRATION_BATCH):
                model.call_backbone(inputs)

    chosen = mtq.INT8_SMOOTHQUANT_CFG if smooth else mtq.INT8_DEFAULT_CFG
    made: nn.Module = mtq.quantize(copy.deepcopy(model.backbone), copy.deepcopy(chosen), run)
    return made


@torch.no_grad()
def as_ours(layer: QuantizableLayer, theirs: Any) -> QuantizedLayer | None:
    """Return a layer of the numbers that ModelOpt's has; None where it rounds neither weight nor input, or saw none.

    Args:
        layer: in full precision.
        theirs: ModelOpt's in its place.
    """
    if not hasattr(theirs, "weight_quantizer"):
        return None
    weights, inputs = theirs.weight_quantizer, theirs.input_quantizer
    if not weights.is_enabled or not inputs.is_enabled or inputs.amax is None:
        return None
    largest: Tensor = weights.amax.detach().float().reshape(-1)
    bound: Tensor = inputs.amax.detach().float().reshape(())
    smoothing = getattr(inputs, "pre_quant_scale", None)
    return QuantizedLayer.from_float(
        layer,
        Quantizer.from_range(WEIGHT, -largest, largest),
        Quantizer.from_range(INPUT, -bound, bound),
        weight=theirs.weight.detach().float(),
        input_scale=None if smoothing is None else 1 / smoothing.detach().float().reshape(-1),
    )
