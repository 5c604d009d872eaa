"""`passionsr` on the two kinds of backbone, and what it learns of a layer."""

import pytest
import torch
from torch import nn

from admbench.methods.core.checkpoint.reading import load
from admbench.methods.core.layers.blocks import Block, BlockInputs
from admbench.methods.core.layers.quantized import QuantizedLayer, quantized_layers
from admbench.methods.core.numbers.quantizer import Quantizer
from admbench.methods.core.numbers.scheme import LayerScheme, activation_scheme, weight_scheme
from admbench.methods.core.reconstruction.equivalent import EquivalentTransform, LayerState, round_between
from admbench.methods.core.reconstruction.objective import BlockTask, Effort, iterate, learn

QUICK = "prompts=20,samples=40,iterations=40,learning_rate=0.02"


def test_both_stages_lower_the_objective_and_what_they_learn_is_packed(model, quantize, predict, tmp_path):
    """Whether the prediction is closer than naive's is another question: docs/methods/passionsr.md."""
    result = quantize(model, f"passionsr@w4a4[{QUICK},timesteps=2,steps=2]")
    learned = predict(model, result.module)
    assert all(block.loss_after <= block.loss_before for block in result.report.blocks)
    assert [block.learned for block in result.report.blocks] == ["transform", "bounds"]
    assert any(layer.input_shift is not None for layer in quantized_layers(result.module).values())
    result.pack(tmp_path)
    assert torch.equal(predict(model, load(tmp_path)), learned)


@pytest.mark.parametrize("spec", ["w4a16", "w16a8"])
def test_16_leaves_one_side_alone(audioldm, quantize, predict, spec):
    result = quantize(audioldm, f"passionsr@{spec}[samples=4,iterations=1,timesteps=1,steps=1]")
    for layer in quantized_layers(result.module).values():
        assert (layer.activation_quantizer is None) == (spec == "w4a16")
        assert (layer.weight_quantizer is None) == (spec == "w16a8")
    assert bool(torch.isfinite(predict(audioldm, result.module)).all())


@pytest.mark.parametrize("bits", [3, 8])
def test_rounding_between_bounds_is_that_of_a_quantizer_with_gradients_for_the_bounds(bits):
    scheme = activation_scheme(bits)
    low, high = torch.tensor(-1.0, requires_grad=True), torch.tensor(2.0, requires_grad=True)
    values = torch.linspace(-3, 4, 200)
    rounded = round_between(values, scheme, low, high)
    assert torch.allclose(rounded, Quantizer.from_range(scheme, low.detach(), high.detach()).fake_quantize(values))
    rounded[-1].backward(retain_graph=True)  # clipped to the upper end, which it follows
    assert high.grad.item() == pytest.approx(1, abs=0.2)
    high.grad = low.grad = None
    rounded[0].backward()
    assert low.grad.item() == pytest.approx(1, abs=0.2)


@pytest.fixture
def wide():
    """A layer one of whose input channels is shifted and far wider than the others, and its task."""
    torch.manual_seed(0)
    layer = nn.Linear(8, 6)
    x = torch.randn(256, 8)
    x[:, 2] = 20 + 10 * x[:, 2]
    schemes = LayerScheme(weight=weight_scheme(4, "channel"), activation=activation_scheme(4))
    module = QuantizedLayer.from_float(layer, Quantizer.min_max(schemes.weight, layer.weight), None)
    task = BlockTask(
        Block("block", "layer", ("block",)), module, {"block": module}, BlockInputs((x,), {}, 256), layer(x).detach()
    )
    state = LayerState(module, layer, schemes, x.amin(0), x.amax(0), torch.ones(8))
    return module, task, state


def test_the_transformation_takes_a_wide_and_shifted_channel_out_of_the_way(wide):
    module, task, state = wide
    report = learn(task, [EquivalentTransform([state], "transform", 0.1)], Effort(150, 64), torch.Generator())
    assert report.loss_after < 0.3 * report.loss_before
    assert int(module.input_scale.argmax()) == 2
    assert float(module.input_shift[2]) > 1
    bounds = learn(task, [EquivalentTransform([state], "bounds", 0.01)], Effort(50, 64), torch.Generator())
    assert bounds.loss_after <= report.loss_after


def test_what_is_learned_with_is_what_is_left_in_codes(wide):
    module, task, state = wide
    learner = EquivalentTransform([state], "transform", 0.05)
    module.requires_grad_(False)
    for _ in range(5):
        iterate(task, [learner], Effort(5, 64), torch.Generator().manual_seed(0), 0.0)
    learner.prepare()
    with torch.no_grad():
        during = module(task.inputs.args[0])
        learner.finish()
        after = module(task.inputs.args[0])
    assert torch.allclose(during, after, atol=1e-3)
    assert not module._forward_hooks


def test_what_does_not_help_is_undone(wide):
    module, task, state = wide
    codes, scale, bias = module.weight_codes.clone(), module.input_scale.clone(), module.bias.detach().clone()
    report = learn(task, [EquivalentTransform([state], "transform", 50.0)], Effort(1, 64), torch.Generator())
    assert report.kept
    assert torch.equal(module.weight_codes, codes)
    assert torch.equal(module.input_scale, scale)
    assert torch.equal(module.bias, bias)
