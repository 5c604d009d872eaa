"""A backbone with every part that a checkpoint can hold: for checkpoints, and for whatever copies backbones."""

import copy

import torch
from torch import nn

from admbench.methods.core.layers.attention import AttentionSites, attentions, set_sites
from admbench.methods.core.layers.kinds import quantizable_layers, replace_layer
from admbench.methods.core.layers.quantized import QuantizedLayer
from admbench.methods.core.numbers.codebooks import FloatZeroQuantizer, Log2Quantizer, NF4Quantizer
from admbench.methods.core.numbers.dynamic import DynamicQuantizer
from admbench.methods.core.numbers.quantizer import Quantizer
from admbench.methods.core.numbers.scheme import Scheme, activation_scheme, weight_scheme
from admbench.methods.core.numbers.timesteps import TimestepTable, attach_clock

GROUPS = Scheme(bits=3, granularity="group", symmetric=False, group_size=8)
NF4 = Scheme(bits=4, granularity="group", symmetric=True, group_size=8, codebook="nf4")
HQQ = Scheme(bits=4, granularity="group", symmetric=False, group_size=8, zero="float")
TOKEN = Scheme(bits=8, granularity="token", symmetric=False, dynamic=True)
SAMPLE = Scheme(bits=8, granularity="sample", symmetric=False, dynamic=True)
LOG2 = Scheme(bits=8, granularity="tensor", symmetric=False, codebook="log2")


@torch.no_grad()
def quantize_everything(backbone: nn.Module) -> nn.Module:
    """Return a copy of a U-Net in whose layers every kind of quantizer and every optional part occurs in turn."""
    result = copy.deepcopy(backbone)
    for number, (name, layer) in enumerate(quantizable_layers(result).items()):
        replace_layer(result, name, _quantized(number, layer))
    name = next(iter(attentions(result)))
    eight = Quantizer.from_range(activation_scheme(8), torch.tensor(-4.0), torch.tensor(4.0))
    sites = {"query": eight, "key": copy.deepcopy(eight), "softmax": Log2Quantizer.fit(LOG2, torch.tensor(1.0))}
    set_sites(result, name, AttentionSites(sites))
    attach_clock(result)
    return result.eval()


def _quantized(number: int, layer: nn.Module) -> QuantizedLayer:
    linear = isinstance(layer, nn.Linear)
    terms, channels = layer.weight[0].numel(), layer.weight.shape[1]
    generator = torch.Generator().manual_seed(number)
    parts = {}
    if number % 2:
        parts["input_scale"] = torch.rand(channels, generator=generator) + 0.5
        layer.weight.mul_(parts["input_scale"].view(1, -1, *[1] * (layer.weight.ndim - 2)))
    if number % 3 == 0:
        down = torch.randn(2, *layer.weight.shape[1:], generator=generator) * 0.01
        parts["low_rank"] = (down.half(), torch.randn(len(layer.weight), 2, generator=generator).half())
    if linear and number % 5 == 0:
        parts["input_shift"] = torch.randn(channels, generator=generator) * 0.1
    weights = [
        Quantizer.min_max(GROUPS.for_terms(terms), layer.weight),
        NF4Quantizer.fit(NF4.for_terms(terms), layer.weight),
        FloatZeroQuantizer.fit(HQQ.for_terms(terms), layer.weight),
        Quantizer.min_max(weight_scheme(8, "channel"), layer.weight),
    ]
    quantizer = weights[number % len(weights)]
    return QuantizedLayer(
        layer,
        weight_codes=quantizer.codes(layer.weight),
        weight_quantizer=quantizer,
        activation_quantizer=[
            DynamicQuantizer(TOKEN if linear else SAMPLE, -1 if linear else 1),
            TimestepTable(
                activation_scheme(8),
                torch.tensor([0.05, 0.06, 0.07]),
                torch.full((3,), 128, dtype=torch.uint8),
                torch.tensor([0.0, 500.0, 999.0]),
            ),
            None,
        ][number % 3],
        **parts,
    )
