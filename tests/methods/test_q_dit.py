"""`q-dit`: sizes of groups by layer, which never lose to one size for all, and take no more bytes."""

import pytest
import torch
from torch import nn

from admbench import methods
from admbench.errors import UsageError
from admbench.methods.core.layers.allocation import weight_bytes
from admbench.methods.core.layers.quantized import QuantizedLayer, dynamic_input, quantized_layers
from admbench.methods.core.numbers.fitting import fit_weight
from admbench.methods.core.numbers.scheme import LayerScheme, Scheme
from admbench.methods.core.reconstruction.run_layer import RunLayer
from admbench.methods.q_dit import SIZES, search_sizes


def _scheme(size):
    return LayerScheme(
        weight=Scheme(bits=4, granularity="group", symmetric=False, group_size=size),
        activation=Scheme(bits=8, granularity="group", symmetric=False, group_size=size, dynamic=True),
    )


@torch.no_grad()
def _noise(run, scheme):
    """The error of the layer as it runs, over the power of its outputs, by the layer itself."""
    layer = QuantizedLayer.from_float(
        run.layer, fit_weight(scheme.weight, run.layer.weight), dynamic_input(scheme.activation, run.layer)
    )
    exact = run.layer(run.rows)
    return float((layer(run.rows) - exact).square().sum() / (exact - run.layer.bias).square().sum())


def test_searched_sizes_never_lose_to_one_size_for_all_and_take_no_more_bytes():
    torch.manual_seed(0)
    runs = {}
    for index in range(6):
        layer, rows = nn.Linear(576, 48), torch.randn(64, 576)
        with torch.no_grad():
            layer.weight[:, :: 96 * (index + 1)] *= 4**index  # layers whose channels differ by more and more
        runs[str(index)] = RunLayer.of(layer, _scheme(128), rows)
    found = search_sizes(runs)
    fixed = {name: _scheme(96) for name in runs}  # the largest size below 128 that divides 576
    sums = [sum(_noise(runs[name], one[name]) for name in runs) for one in (found, fixed)]
    assert sums[0] < 0.9 * sums[1]
    bytes_ = [sum(weight_bytes(runs[name].layer, one[name].weight) for name in runs) for one in (found, fixed)]
    assert bytes_[0] <= bytes_[1]
    sizes = {scheme.weight.group_size for scheme in found.values()}
    assert len(sizes) > 1
    assert all(scheme.weight.group_size == scheme.activation.group_size for scheme in found.values())
    assert sizes <= {32, 64, 96, 192, 288}
    assert SIZES == (32, 64, 128, 192, 288)


def test_a_layers_groups_are_those_of_its_weight_and_of_its_input_at_run_time(audioldm, quantize):
    common = "prompts=2,timesteps=2,steps=2,positions=64,tried=64"
    searched, fixed = (quantize(audioldm, f"q-dit@w4a8[{common},search={own}]") for own in ("true", "false"))
    layers = quantized_layers(searched.module)
    assert {layer.scheme.activation.granularity for layer in layers.values()} == {"group"}
    assert {layer.scheme.activation.symmetric for layer in layers.values()} == {False}
    assert {name for name, layer in layers.items() if layer.scheme.weight.bits == 8} == {"conv_in", "conv_out"}
    assert len({layer.scheme.weight.group_size for layer in layers.values()}) > 2
    bytes_ = [
        sum(layer.weight_quantizer.stored_bytes for layer in quantized_layers(one.module).values())
        for one in (searched, fixed)
    ]
    assert bytes_[0] <= bytes_[1]


def test_a_number_format_has_no_groups_to_search():
    with pytest.raises(UsageError, match="q-dit takes no number format"):
        methods.from_spec("q-dit@mxfp4")
