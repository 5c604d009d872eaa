"""Backbones whose layers have, in turn, every part that an export has to express."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from torch import Tensor, nn

from admbench.bench.conformance.tiny_models import TinyModel
from admbench.bench.exporting.subject import Subject
from admbench.methods.core.checkpoint.header import (
    FORMAT_VERSION,
    BackboneHeader,
    Header,
    MethodHeader,
    SourceHeader,
)
from admbench.methods.core.layers.attention import AttentionSites, attentions, set_sites
from admbench.methods.core.layers.kinds import QuantizableLayer, quantizable_layers, replace_layer
from admbench.methods.core.layers.quantized import QuantizedLayer
from admbench.methods.core.layers.rotation import rotate
from admbench.methods.core.layers.split import split_layers
from admbench.methods.core.numbers.codebooks import FloatZeroQuantizer
from admbench.methods.core.numbers.dynamic import DynamicQuantizer
from admbench.methods.core.numbers.formats import FORMATS
from admbench.methods.core.numbers.gguf import HalfScaleQuantizer
from admbench.methods.core.numbers.quantizer import Quantizer
from admbench.methods.core.numbers.scheme import Scheme, activation_scheme, weight_scheme
from admbench.methods.core.numbers.timesteps import TimestepTable, attach_clock

GROUPS = Scheme(bits=3, granularity="group", symmetric=False, group_size=8)
HQQ = Scheme(bits=4, granularity="group", symmetric=False, group_size=8, zero="float")
TOKEN = Scheme(bits=8, granularity="token", symmetric=False, dynamic=True)
SAMPLE = Scheme(bits=8, granularity="sample", symmetric=False, dynamic=True)
CHANNEL_4, CHANNEL_8 = weight_scheme(4, "channel"), weight_scheme(8, "channel")


@torch.no_grad()
def quantized_in_every_way(model: TinyModel, *, inputs: bool) -> nn.Module:
    """Return a quantized copy of a model's backbone, of evenly spaced codes; `inputs` says whether it rounds inputs."""
    backbone = copy.deepcopy(model.backbone)
    split_layers(backbone, {"up_blocks.0.resnets.0.conv1": 5})
    for number, (name, layer) in enumerate(quantizable_layers(backbone).items()):
        replace_layer(backbone, name, _quantized(number, layer, inputs))
    if inputs:
        wide = Quantizer.from_range(activation_scheme(8), torch.tensor(-4.0), torch.tensor(4.0))
        narrow = Quantizer.from_range(activation_scheme(6), torch.tensor(0.0), torch.tensor(1.0))
        sites = {"query": wide, "key": copy.deepcopy(wide), "softmax": narrow}
        set_sites(backbone, next(iter(attentions(backbone))), AttentionSites(sites))
    attach_clock(backbone)
    return backbone.eval()


def subject_of(model: TinyModel, backbone: nn.Module) -> Subject:
    """Return a model with a backbone in place, as an export takes it; one call has rows at different timesteps."""
    model.backbone = backbone
    subject = Subject.of(model, {"backbone": _header(model, backbone)})
    first, last = subject.inputs[0], subject.inputs[2]
    mixed = {name: torch.cat([first[name], last[name][1:]]) for name in first}
    return replace(subject, inputs=(*subject.inputs, mixed))


def _header(model: TinyModel, backbone: nn.Module) -> Header:
    """Return a header that says where a backbone is from, and nothing of its layers."""
    return Header(
        format_version=FORMAT_VERSION,
        component="backbone",
        method=MethodHeader(name="naive", spec="naive@w4a8", version="1", config={}),
        source=SourceHeader(model=model.name, weights_sha256=model.weights_sha256, license=model.license),
        backbone=BackboneHeader(architecture=type(backbone).__name__, config={}, dtype="float32"),
        layers={},
        tensors={},
    )


def _quantized(number: int, layer: QuantizableLayer, inputs: bool) -> QuantizedLayer:
    linear = isinstance(layer, nn.Linear)
    terms, channels = layer.weight[0].numel(), layer.weight.shape[1]
    generator = torch.Generator().manual_seed(number)
    parts: dict[str, Tensor | tuple[Tensor, Tensor]] = {}
    weight = layer.weight.detach().clone()
    if number % 2:
        scale = torch.rand(channels, generator=generator) + 0.5
        parts["input_scale"] = scale
        weight = weight * scale.view(1, -1, *[1] * (weight.ndim - 2))
    rotation = 4 if number % 4 == 1 and channels % 4 == 0 else 0
    if rotation:
        weight = rotate(weight, rotation, 1)
    if number % 3 == 0:
        down = torch.randn(2, *weight.shape[1:], generator=generator) * 0.01
        parts["low_rank"] = (down.half(), torch.randn(len(weight), 2, generator=generator).half())
    if linear and layer.bias is not None and number % 5 == 0:
        parts["input_shift"] = torch.randn(channels, generator=generator) * 0.1
    assert CHANNEL_4 is not None
    assert CHANNEL_8 is not None
    weights = [
        Quantizer.min_max(GROUPS.for_terms(terms), weight),
        Quantizer.min_max(CHANNEL_4, weight),
        FloatZeroQuantizer.fit(HQQ.for_terms(terms), weight),
        Quantizer.min_max(CHANNEL_8, weight),
        HalfScaleQuantizer.fit(FORMATS["q8_0"].weight.for_terms(terms), weight),
    ]
    table = TimestepTable(
        activation_scheme(8),
        torch.tensor([0.05, 0.06, 0.07]),
        torch.full((3,), 128, dtype=torch.uint8),
        torch.tensor([0.0, 500.0, 999.0]),
    )
    rounded = [
        DynamicQuantizer(TOKEN if linear else SAMPLE, -1 if linear else 1),
        table,
        None,
        Quantizer.from_range(activation_scheme(8), torch.tensor(-6.0), torch.tensor(6.0)),
    ]
    return QuantizedLayer.from_float(
        layer,
        weights[number % len(weights)],
        rounded[number % 4] if inputs else None,
        weight=weight,
        rotation=rotation,
        **parts,
    )
