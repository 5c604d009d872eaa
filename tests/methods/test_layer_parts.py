"""Folded scales, shifts and low-rank branches: exact in full precision, whatever their numbers."""

import pytest
import torch
from torch import nn

from admbench.methods.core.layers.quantized import QuantizedLayer
from admbench.methods.core.layers.rotation import regular_hadamard, rotate

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


ROTATED = {
    "linear": (lambda: nn.Linear(32, 5), (3, 7, 32)),
    "conv1d": (lambda: nn.Conv1d(32, 4, 3, stride=2, padding=1), (2, 32, 9)),
    "conv2d": (lambda: nn.Conv2d(32, 4, (3, 5), padding=(1, 2)), (2, 32, 7, 9)),
}


@pytest.mark.parametrize("kind", ROTATED)
@torch.no_grad()
def test_a_rotation_is_exact_beside_a_scale_and_a_branch(kind):
    torch.manual_seed(0)
    make, shape = ROTATED[kind]
    layer, x = make().double(), torch.randn(shape, dtype=torch.float64)
    expected, weight = layer(x), layer.weight.clone()
    parts = {
        "rotation": 16,
        "input_scale": torch.rand(32, dtype=torch.float64) + 0.1,
        "low_rank": (torch.randn(2, *weight.shape[1:]).double(), torch.randn(len(weight), 2).double()),
    }
    down, up = parts["low_rank"]
    scaled = weight * parts["input_scale"].view(1, -1, *[1] * (weight.ndim - 2))
    layer.weight.copy_(rotate(scaled, 16, 1) - (up @ down.flatten(1)).view(weight.shape))
    torch.testing.assert_close(QuantizedLayer(layer, **parts).folded(weight), layer.weight, rtol=1e-5, atol=1e-5)
    rotated = QuantizedLayer(layer, **parts)
    torch.testing.assert_close(rotated(x), expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(rotated.effective_weight, weight, rtol=1e-5, atol=1e-5)
    assert rotated.parts.rotation == 16
    assert not torch.allclose(rotated.prepare_input(x), x / rotated._over_channels(parts["input_scale"], x))


@pytest.mark.parametrize("size", [4, 16, 64, 256])
def test_a_regular_hadamard_matrix_is_orthogonal_and_its_rows_have_one_sum(size):
    matrix = regular_hadamard(size)
    assert torch.equal(matrix, matrix.T)
    assert torch.equal(matrix @ matrix, torch.eye(size, dtype=torch.float64))
    assert torch.equal(matrix.abs(), torch.full_like(matrix, size**-0.5))
    assert torch.equal(matrix.sum(1), torch.ones(size, dtype=torch.float64))


@pytest.mark.parametrize("size", [1, 2, 8, 32, 12])
def test_there_is_no_regular_hadamard_matrix_of_other_sizes(size):
    with pytest.raises(ValueError, match="4, 16, 64"):
        regular_hadamard(size)


def test_a_rotation_spreads_an_outlier_channel_and_an_outlier_token():
    channel, token = torch.zeros(2, 64, dtype=torch.float64)
    channel[5], token[:] = 40, 1
    assert float(rotate(channel, 64, 0).abs().max()) == 40 / 8
    assert float(rotate(token, 64, 0).abs().max()) == 1


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
        (nn.Linear(12, 4), {"rotation": 16}, "12 input channels cannot be rotated in groups of 16"),
        (nn.Linear(16, 4), {"rotation": 8}, "cannot be rotated in groups of 8"),
        (nn.Conv2d(8, 4, 3, groups=2), {"rotation": 4}, "groups"),
    ],
)
def test_parts_that_do_not_fit_are_refused(layer, part, message):
    with pytest.raises(ValueError, match=message):
        QuantizedLayer(layer, **part)
