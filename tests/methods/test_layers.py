"""Quantized layers compute what their codes say, in the geometry of the layer they replace."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from admbench.methods.core.layers.kinds import quantizable_layers
from admbench.methods.core.layers.quantized import QuantizedLayer
from admbench.methods.core.numbers.quantizer import Quantizer
from admbench.methods.core.numbers.scheme import Scheme, activation_scheme, weight_scheme

LAYERS = {
    "linear": (lambda: nn.Linear(6, 5), (3, 7, 6)),
    "linear without bias": (lambda: nn.Linear(6, 5, bias=False), (3, 6)),
    "conv1d": (lambda: nn.Conv1d(6, 4, 3, stride=2, padding=1), (2, 6, 9)),
    "conv2d": (lambda: nn.Conv2d(6, 4, (3, 5), padding=(1, 2)), (2, 6, 7, 9)),
    "conv2d, grouped and dilated": (lambda: nn.Conv2d(6, 4, 3, groups=2, dilation=2, bias=False), (1, 6, 9, 8)),
    "conv2d, same padding": (lambda: nn.Conv2d(6, 4, 3, padding="same"), (1, 6, 5, 4)),
}


@pytest.fixture(params=LAYERS)
def layer_and_input(request):
    torch.manual_seed(0)
    make, shape = LAYERS[request.param]
    return make(), torch.randn(shape)


@torch.no_grad()
def test_a_layer_computes_with_the_weights_and_inputs_that_its_codes_stand_for(layer_and_input):
    layer, x = layer_and_input
    weight = Quantizer.min_max(weight_scheme(4, "channel"), layer.weight)
    activation = Quantizer.min_max(activation_scheme(4), x)
    expected = copy.deepcopy(layer)
    expected.weight.copy_(weight.dequantize(weight.codes(layer.weight)))
    quantized = QuantizedLayer.from_float(layer, weight, activation)
    assert torch.equal(quantized(x), expected(activation.dequantize(activation.codes(x))))


@torch.no_grad()
def test_either_side_can_stay_in_floating_point(layer_and_input):
    layer, x = layer_and_input
    weight = Quantizer.min_max(weight_scheme(4, "tensor"), layer.weight)
    activation = Quantizer.min_max(activation_scheme(4), x)
    only_input = QuantizedLayer.from_float(layer, None, activation)
    assert torch.equal(only_input(x), layer(activation.fake_quantize(x)))
    only_weight = QuantizedLayer.from_float(layer, weight, None)
    layer.weight.copy_(weight.fake_quantize(layer.weight))
    assert torch.equal(only_weight(x), layer(x))


@torch.no_grad()
def test_the_codes_are_the_only_copy_of_the_weight():
    layer = nn.Linear(4, 3)
    quantized = QuantizedLayer.from_float(layer, Quantizer.min_max(weight_scheme(8, "channel"), layer.weight), None)
    x = torch.randn(2, 4)
    before = quantized(x)
    assert set(quantized.state_dict()) == {
        "weight_codes",
        "weight_quantizer.scale",
        "weight_quantizer.zero_point",
        "bias",
    }
    state = quantized.state_dict()
    state["weight_codes"] = torch.full((3, 4), 128, dtype=torch.uint8)
    quantized.load_state_dict(state)
    assert torch.equal(quantized(x), layer.bias.expand(2, 3))
    assert not torch.equal(quantized(x), before)


@torch.no_grad()
def test_codes_that_are_set_are_what_it_computes_with():
    layer, x = nn.Conv1d(4, 3, 1, bias=False), torch.randn(2, 4, 5)
    quantized = QuantizedLayer.from_float(layer, Quantizer.min_max(weight_scheme(8, "channel"), layer.weight), None)
    before = quantized(x)
    quantized.set_codes(quantized.weight_quantizer.codes(-layer.weight))
    torch.testing.assert_close(quantized(x), -before, rtol=1e-5, atol=1e-6)


def test_code_that_asks_a_layer_for_its_weight_gets_it_in_floating_point():
    layer = nn.Conv1d(3, 2, 1)
    quantized = QuantizedLayer.from_float(layer, Quantizer.min_max(weight_scheme(8, "channel"), layer.weight), None)
    assert quantized.weight.dtype == torch.float32
    assert torch.allclose(quantized.weight, layer.weight, atol=0.01)


def test_a_layer_that_ran_without_gradients_can_still_learn():
    layer = nn.Linear(4, 3)
    quantized = QuantizedLayer.from_float(layer, Quantizer.min_max(weight_scheme(8, "channel"), layer.weight), None)
    with torch.inference_mode():
        quantized(torch.randn(2, 4))
    x = torch.randn(2, 4, requires_grad=True)
    quantized(x).sum().backward()
    assert torch.allclose(x.grad, quantized.weight.sum(0).expand(2, 4))


@torch.no_grad()
def test_zero_padding_is_exact_under_any_input_range():
    """Padding is added after the input is quantized: it must be a value that the codes have."""
    conv = nn.Conv1d(1, 1, 3, padding=1, bias=False)
    positive = Quantizer.from_range(activation_scheme(2), torch.tensor(5.0), torch.tensor(6.0))
    x = torch.full((1, 1, 3), 5.5)
    padded = F.pad(x, (1, 1))
    assert torch.equal(
        QuantizedLayer.from_float(conv, None, positive)(x), F.conv1d(positive.fake_quantize(padded), conv.weight)
    )


def test_only_layers_whose_computation_is_known_are_quantizable():
    class Special(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) * 2

    module = nn.ModuleDict(
        {
            "linear": nn.Linear(2, 2),
            "special": Special(2, 2),
            "circular": nn.Conv1d(2, 2, 3, padding=1, padding_mode="circular"),
            "transposed": nn.ConvTranspose1d(2, 2, 3),
            "norm": nn.LayerNorm(2),
            "inner": nn.Sequential(nn.Conv2d(2, 2, 1)),
        }
    )
    assert list(quantizable_layers(module)) == ["linear", "inner.0"]


def test_a_layer_prints_what_it_is():
    layer = nn.Linear(4, 3)
    scheme = Scheme(bits=4, granularity="channel", symmetric=False)
    text = repr(QuantizedLayer.from_float(layer, Quantizer.min_max(scheme, layer.weight), None))
    assert "linear, (3, 4)" in text
    assert "4 bits per channel, asymmetric" in text
