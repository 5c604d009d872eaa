"""Reconstruction: learned roundings and step sizes lower their objective or nothing changes."""

import math

import pytest
import torch
from torch import nn

from admbench.errors import DataError
from admbench.methods.core.layers.blocks import Block, BlockInputs
from admbench.methods.core.layers.quantized import QuantizedLayer
from admbench.methods.core.numbers.quantizer import Quantizer
from admbench.methods.core.numbers.scheme import activation_scheme, weight_scheme
from admbench.methods.core.reconstruction import objective as reconstruction
from admbench.methods.core.reconstruction.adaround import AdaRound, learn_weights
from admbench.methods.core.reconstruction.objective import BlockTask, Effort, iterate, objective
from admbench.methods.core.reconstruction.objective import learn as reconstruct
from admbench.methods.core.reconstruction.step_sizes import StepSizes, learn_steps

BLOCK = Block("block", "layer", ("block",))
EFFORT = Effort(iterations=150, batch_size=32, learning_rate=0.05)


def correlated(rows: int, features: int, rank: int = 2) -> torch.Tensor:
    """Inputs in few directions: errors of weights can cancel, which is what there is to gain."""
    return torch.randn(rows, rank) @ torch.randn(rank, features) + 0.02 * torch.randn(rows, features)


@pytest.fixture
def layer():
    torch.manual_seed(0)
    return nn.Linear(24, 10)


@pytest.fixture
def inputs(layer):
    return BlockInputs((correlated(128, 24),), {}, 128)


def quantized(layer, bits=3, inputs=None):
    weight = Quantizer.min_max(weight_scheme(bits, "channel"), layer.weight)
    activation = None if inputs is None else Quantizer.min_max(activation_scheme(4), inputs.args[0])
    return QuantizedLayer.from_float(layer, weight, activation)


def task(layer, module, inputs, held_out=0):
    return BlockTask(BLOCK, module, {"block": module}, inputs, layer(inputs.args[0]).detach(), held_out)


def loss(layer, module, inputs):
    return task(layer, module, inputs).losses().learned


def learn(layer, module, inputs, effort=EFFORT, held_out=0):
    generator = torch.Generator().manual_seed(0)
    return learn_weights(task(layer, module, inputs, held_out), {"block": layer}, effort, generator)


def test_no_sample_comes_twice_in_a_batch_and_none_of_those_held_out(layer, inputs, monkeypatch):
    work = task(layer, quantized(layer), inputs, held_out=28)
    drawn = []
    monkeypatch.setattr(BlockTask, "call", lambda self, index: drawn.append(index) or layer(inputs.args[0][index]))
    for _ in range(20):
        work.descend(Effort(1, batch_size=90), torch.Generator().manual_seed(len(drawn)))
    assert all(len(index.unique()) == len(index) == 90 and int(index.max()) < 100 for index in drawn)
    assert len({tuple(index.tolist()) for index in drawn}) == 20


def test_learned_roundings_beat_nearest_where_errors_can_cancel(layer, inputs):
    module = quantized(layer)
    report = learn(layer, module, inputs)
    assert report.loss_after < 0.25 * report.loss_before
    assert not report.kept
    assert loss(layer, module, inputs) == pytest.approx(report.loss_after)


def test_every_weight_goes_to_one_of_its_two_neighbours(layer, inputs):
    module = quantized(layer)
    nearest = module.weight_codes.clone()
    learn(layer, module, inputs)
    assert module.weight_codes.dtype == torch.uint8
    assert not torch.equal(module.weight_codes, nearest)
    error = (module.weight - layer.weight).abs() / module.weight_quantizer.scale[:, None]
    assert bool((error <= 1 + 1e-4).all())


@pytest.mark.parametrize("granularity", ["tensor", "channel"])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_codes_stay_within_their_scheme_where_the_range_clips(layer, inputs, bits, granularity):
    scheme = weight_scheme(bits, granularity)
    narrow = Quantizer.min_max(scheme, layer.weight * 0.5)
    module = QuantizedLayer.from_float(layer, narrow, None)
    learn(layer, module, inputs)
    assert scheme.code_min <= int(module.weight_codes.min()) <= int(module.weight_codes.max()) <= scheme.code_max


@pytest.mark.parametrize("learning_rate", [1e-3, 0.05, 5.0])
@pytest.mark.parametrize("iterations", [1, 30])
def test_reconstruction_is_never_worse_than_nearest_on_its_objective(layer, inputs, iterations, learning_rate):
    module = quantized(layer)
    nearest, before = module.weight_codes.clone(), loss(layer, module, inputs)
    report = learn(layer, module, inputs, Effort(iterations, 4, learning_rate))
    assert report.loss_before == pytest.approx(before)
    assert loss(layer, module, inputs) == pytest.approx(report.loss_after)
    assert report.loss_after <= report.loss_before
    assert report.kept == torch.equal(module.weight_codes, nearest)


def test_roundings_that_fit_the_samples_and_nothing_else_are_not_taken():
    """Three inputs say nothing of 48 weights a row: what fits them is worse than nearest on others."""
    torch.manual_seed(0)
    layer = nn.Linear(48, 10)
    few = torch.randn(3, 48).repeat(20, 1)
    inputs = BlockInputs((torch.cat([few, torch.randn(40, 48)]),), {}, 100)
    module = quantized(layer)
    overfitted = learn(layer, module, BlockInputs((few,), {}, 60))
    assert overfitted.loss_after < 0.5 * overfitted.loss_before
    module = quantized(layer)
    nearest = module.weight_codes.clone()
    guarded = learn(layer, module, inputs, held_out=40)
    assert guarded.kept
    assert guarded.held_out_after == guarded.held_out_before
    assert torch.equal(module.weight_codes, nearest)


def test_inputs_in_all_directions_alike_leave_nothing_to_gain_over_nearest():
    """With uncorrelated inputs of equal power the objective is the weights' squared error: nearest is its best."""
    torch.manual_seed(0)
    layer = nn.Linear(16, 8)
    everything = BlockInputs((torch.cat([torch.eye(16), -torch.eye(16)]) * 4,), {}, 32)
    module = quantized(layer)
    nearest = module.weight_codes.clone()
    report = learn(layer, module, everything)
    assert report.kept
    assert torch.equal(module.weight_codes, nearest)


def test_the_written_out_gradient_is_that_of_the_soft_weights_and_the_rounding_term(layer):
    module = quantized(layer)
    effort = Effort(1, round_weight=0.03, warm_up=0.0)
    rounding = AdaRound({"block": module}, {"block": layer}, effort)
    x, target = torch.randn(9, 24), torch.randn(9, 10)

    alpha = rounding._alpha.detach().clone().requires_grad_()
    scale = module.weight_quantizer.scale[:, None]
    zero = module.weight_quantizer.zero_point.float()[:, None]
    height = (torch.sigmoid(alpha.view(10, 24)) * 1.2 - 0.1).clamp(0, 1)
    steps = ((layer.weight.detach() / scale).floor() + height).clamp(-zero, 7 - zero)
    loss = ((nn.functional.linear(x, steps * scale, layer.bias) - target) ** 2).mean()
    beta = 20 + (2 - 20) * 0.4
    (loss + 0.03 * (1 - (2 * height - 1).abs() ** beta).sum()).backward()

    rounding.prepare()
    assert torch.allclose(module.weight, steps * scale, atol=1e-6)
    ((module(x) - target) ** 2).mean().backward()
    rounding.step(0.4)
    assert torch.allclose(rounding._alpha.grad, alpha.grad, atol=1e-5, rtol=1e-3)


def test_soft_weights_start_at_full_precision_up_to_clipping(layer):
    module = quantized(layer)
    quantizer = module.weight_quantizer
    ends = [
        quantizer.dequantize(torch.full((10, 1), code, dtype=torch.uint8))
        for code in (quantizer.scheme.code_min, quantizer.scheme.code_max)
    ]
    AdaRound({"block": module}, {"block": layer}, EFFORT).prepare()
    assert torch.allclose(module.weight, torch.clamp(layer.weight, *ends), atol=1e-6)


def learn_step(layer, module, inputs, effort):
    return learn_steps(task(layer, module, inputs), effort, torch.Generator().manual_seed(0))


def test_a_step_size_that_is_too_wide_is_narrowed(layer, inputs):
    module = quantized(layer, bits=8)
    module.activation_quantizer = Quantizer.min_max(activation_scheme(4), inputs.args[0] * 3)
    wide = module.activation_quantizer.scale.item()
    report = learn_step(layer, module, inputs, Effort(200, 32, 0.02))
    assert report.loss_after < 0.6 * report.loss_before
    assert module.activation_quantizer.scale.item() < 0.8 * wide
    assert type(module.activation_quantizer) is Quantizer
    assert not module.activation_quantizer.scale.requires_grad


def test_step_sizes_are_never_worse_than_where_they_started(layer, inputs):
    for rate in (1e-3, 1.0, 30.0):
        module = quantized(layer, 8, inputs)
        start = module.activation_quantizer
        report = learn_step(layer, module, inputs, Effort(5, 8, rate, power=2.4))
        assert report.loss_after <= report.loss_before
        assert report.kept == (module.activation_quantizer is start)


def test_dropping_keeps_some_inputs_in_full_precision_while_learning_only(layer, inputs):
    module = quantized(layer, 8, inputs)
    learn_step(layer, module, inputs, Effort(5, 8, 0.01, drop=0.5))
    with torch.no_grad():
        assert torch.equal(module(inputs.args[0]), module(inputs.args[0]))


def test_an_objective_that_is_not_finite_names_the_block(layer):
    module = quantized(layer)
    endless = BlockInputs((torch.full((4, 24), math.inf),), {}, 4)
    with pytest.raises(DataError, match="block block: its reconstruction error is"):
        learn(layer, module, endless)
    huge = BlockInputs((torch.full((4, 24), 1e30),), {}, 4)
    with pytest.raises(DataError, match="block block"):
        learn(layer, module, huge)


def test_parameters_that_are_not_learned_are_left_alone(layer, inputs):
    module = quantized(layer)
    bias = module.bias.detach().clone()
    learn(layer, module, inputs)
    assert torch.equal(module.bias, bias)
    assert module.bias.grad is None
    assert module.bias.requires_grad


def test_roundings_and_step_sizes_learn_side_by_side(layer, inputs):
    module = quantized(layer, 3, inputs)
    start = module.activation_quantizer.scale.item()
    effort = Effort(100, 32, 0.05, step_learning_rate=0.01, drop=0.5)
    generator = torch.Generator().manual_seed(0)
    learners = [
        AdaRound({"block": module}, {"block": layer}, effort),
        StepSizes({"block": module}, effort, effort.step_learning_rate, generator),
    ]
    report = reconstruct(task(layer, module, inputs), learners, effort, generator)
    assert report.learned == "weights+activations"
    assert report.loss_after < 0.8 * report.loss_before
    assert module.activation_quantizer.scale.item() != start
    assert type(module.activation_quantizer) is Quantizer


def test_what_was_learned_and_does_not_hold_is_undone_altogether(layer, inputs):
    module = quantized(layer, 3, inputs)
    codes, start = module.weight_codes.clone(), module.activation_quantizer
    effort = Effort(1, 4, 50.0, step_learning_rate=5.0)
    generator = torch.Generator().manual_seed(0)
    learners = [
        AdaRound({"block": module}, {"block": layer}, effort),
        StepSizes({"block": module}, effort, effort.step_learning_rate, generator),
    ]
    report = reconstruct(task(layer, module, inputs), learners, effort, generator)
    assert report.kept
    assert module.activation_quantizer is start
    assert torch.equal(module.weight_codes, codes)


def test_the_objective_of_layers_inside_is_added():
    """A block that returns a constant says nothing of its first layer: that layer's own objective does."""
    torch.manual_seed(0)

    class Blind(nn.Module):
        def __init__(self, first: nn.Module) -> None:
            super().__init__()
            self.first = first

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + 0 * self.first(x).sum()

    first = nn.Linear(24, 10)
    inputs = BlockInputs((correlated(128, 24),), {}, 128)
    module = Blind(quantized(first))
    layers = {"first": module.first}
    inner = {"first": first(inputs.args[0]).detach()}
    block = BlockTask(Block("block", "layer", ("first",)), module, layers, inputs, inputs.args[0], inner=inner)
    for weight, moved in ((0.0, False), (0.8, True)):
        effort = Effort(30, 32, 0.1, round_weight=0, inner_weight=weight)
        rounding = AdaRound(layers, {"first": first}, effort)
        module.first.substitute_weight(first.weight.detach())
        module.requires_grad_(False)
        iterate(block, [rounding], effort, torch.Generator().manual_seed(0), 0.5)
        assert bool(rounding._alpha.grad.any()) == moved


def test_weights_of_zeros_stay_zero(inputs):
    layer = nn.Linear(24, 10)
    nn.init.zeros_(layer.weight)
    module = quantized(layer)
    report = learn(layer, module, inputs)
    assert not bool(module.weight.any())
    assert report.loss_before == report.loss_after == 0


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_a_constant_input_is_learned_from_without_harm(layer, value):
    constant = BlockInputs((torch.full((64, 24), value),), {}, 64)
    module = quantized(layer, 3, constant)
    report = learn(layer, module, constant)
    assert report.loss_after <= report.loss_before
    learn_step(layer, module, constant, Effort(5, 8, 0.01))
    assert bool(torch.isfinite(module(constant.args[0])).all())


def test_codes_of_a_scaled_input_are_those_of_the_scaled_weight(layer, inputs):
    """Whatever the scale, roundings are between the neighbours of the weight that meets the divided input."""
    scale = torch.linspace(0.5, 2, 24)
    folded = layer.weight * scale
    weight = Quantizer.min_max(weight_scheme(3, "channel"), folded)
    module = QuantizedLayer(layer, weight_codes=weight.codes(folded), weight_quantizer=weight, input_scale=scale)
    report = learn(layer, module, inputs)
    assert report.loss_after < 0.5 * report.loss_before
    assert bool(((module.weight - folded).abs() / weight.scale[:, None] <= 1 + 1e-4).all())


def test_a_block_that_returns_several_tensors_is_held_to_all_of_them():
    first, second = torch.ones(2, 3), torch.zeros(2, 3)
    assert objective((first, second), (second, second)).item() == pytest.approx(3)
    assert objective([first, first], (second, second)).item() == pytest.approx(6)


def test_bfloat16_is_for_large_blocks_whose_error_of_quantization_is_larger(monkeypatch):
    monkeypatch.setattr(reconstruction, "has_bf16", lambda device: True)
    torch.manual_seed(0)
    wide = nn.Linear(2048, 16)
    inputs = BlockInputs((torch.randn(128, 2048),), {}, 128)
    for bits, expected in ((3, True), (8, False)):
        module = quantized(wide, bits)
        block = task(wide, module, inputs)
        assert block.gains_from_bf16(Effort(1, 64), block.losses().learned) == expected
    assert not block.gains_from_bf16(Effort(1, 8), 1e9)
    module = quantized(wide, 3)
    report = learn(wide, module, inputs, Effort(10, 64, 0.02))
    assert report.bf16
    assert module.weight.dtype == torch.float32
    assert report.loss_after < report.loss_before
