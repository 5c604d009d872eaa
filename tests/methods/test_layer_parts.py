"""Folded scales, shifts and low-rank branches: exact in full precision, whatever their numbers."""

import pytest
import torch
from torch import nn

from admbench.methods.core.layers.quantized import QuantizedLayer

LAYERS = {
    "linear": (lambda: nn.Linear(6, 5), (3, 7, 6)),
    "conv1d": (lambda: nn.Conv1d(6, 4, 3, stride=2, padding=1), (2, 6, 9)),
    "conv2d": (lambda: nn.Conv2d(6, 4, (3, 5), padding=(1, 2)), (2, 6, 7, 9)),
}


@pytest.fixture(params=LAYERS)
def layer_and_input(request):
    torch.manual_seed(0)
    make, shape = LAYERS[request.param]
    return make().double(), torch.randn(shape, dtype=torch.float64)


@torch.no_grad()
def test_a_folded_scale_is_exact(layer_and_input):
    layer, x = layer_and_input
    expected, weight = layer(x), layer.weight.clone()
    scale = torch.rand(6, dtype=torch.float64) + 0.1
    layer.weight.mul_(scale.view(1, -1, *[1] * (layer.weight.ndim - 2)))
    scaled = QuantizedLayer(layer, input_scale=scale)
    torch.testing.assert_close(scaled(x), expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(scaled.effective_weight, weight)


@torch.no_grad()
def test_a_low_rank_branch_is_exact(layer_and_input):
    layer, x = layer_and_input
    expected, weight = layer(x), layer.weight.clone()
    down, up = torch.randn(2, *layer.weight.shape[1:]).double(), torch.randn(len(layer.weight), 2).double()
    layer.weight.sub_((up @ down.flatten(1)).view(layer.weight.shape))
    branched = QuantizedLayer(layer, low_rank=(down, up))
    torch.testing.assert_close(branched(x), expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(branched.effective_weight.double(), weight, rtol=1e-5, atol=1e-5)
    assert branched.parts.rank == 2


@torch.no_grad()
def test_a_shift_is_exact_where_nothing_is_padded():
    layer, x = nn.Linear(6, 5).double(), torch.randn(3, 6, dtype=torch.float64)
    expected = layer(x)
    shift = torch.randn(6, dtype=torch.float64)
    layer.bias.add_(layer.weight @ shift)
    torch.testing.assert_close(QuantizedLayer(layer, input_shift=shift)(x), expected)


@pytest.mark.parametrize(
    ("layer", "part", "message"),
    [
        (nn.Conv2d(6, 4, 3, padding=1), {"input_shift": torch.zeros(6)}, "padded"),
        (nn.Conv2d(6, 4, 3, groups=2), {"input_scale": torch.ones(6)}, "groups"),
        (nn.Conv1d(6, 4, 3, groups=2), {"low_rank": (torch.ones(1, 3, 3), torch.ones(4, 1))}, "groups"),
        (nn.Linear(6, 4), {"input_scale": torch.ones(5)}, "6 numbers"),
    ],
)
def test_parts_that_do_not_fit_are_refused(layer, part, message):
    with pytest.raises(ValueError, match=message):
        QuantizedLayer(layer, **part)
