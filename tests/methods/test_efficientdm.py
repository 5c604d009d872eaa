"""`efficientdm` on the two kinds of backbone, and the low-rank updates that it learns."""

import pytest
import torch
from torch import nn

from admbench.methods.core.checkpoint.reading import load
from admbench.methods.core.layers.blocks import Block, BlockInputs
from admbench.methods.core.layers.quantized import QuantizedLayer, quantized_layers
from admbench.methods.core.numbers.quantizer import Quantizer
from admbench.methods.core.numbers.scheme import weight_scheme
from admbench.methods.core.numbers.timesteps import TimestepTable
from admbench.methods.core.reconstruction.low_rank import LowRankUpdate
from admbench.methods.core.reconstruction.objective import BlockTask, Effort, learn

QUICK = "prompts=20,timesteps=2,steps=4,samples=80,iterations=40,learning_rate=0.05"


def test_fine_tuning_helps_or_is_taken_back_and_is_merged_into_the_codes(model, quantize, predict, tmp_path):
    """Whether the prediction is closer than naive's is another question: docs/methods/efficientdm.md."""
    result = quantize(model, f"efficientdm@w4a8[{QUICK}]")
    tuned = predict(model, result.module)
    whole = result.report.blocks[-1]
    assert whole.loss_after < whole.loss_before or whole.kept  # kept: it did not hold on the prompts held out
    assert (whole.block, whole.learned) == ("backbone", "weights+activations")
    layers = quantized_layers(result.module).values()
    assert all(isinstance(layer.activation_quantizer, TimestepTable) for layer in layers)
    assert all(layer.parts.rank == 0 for layer in layers)
    result.pack(tmp_path)
    assert torch.equal(predict(model, load(tmp_path)), tuned)


@pytest.mark.parametrize(("spec", "learned"), [("w4a16", "weights"), ("w16a8", "activations")])
def test_16_leaves_one_side_alone(audioldm, quantize, predict, spec, learned):
    result = quantize(audioldm, f"efficientdm@{spec}[samples=8,iterations=2,prompts=2,timesteps=2,steps=2]")
    assert result.report.blocks[-1].learned == learned
    assert bool(torch.isfinite(predict(audioldm, result.module)).all())


@pytest.fixture
def tuned():
    """A layer whose weights are rounded, its task, and an update that has learned."""
    torch.manual_seed(0)
    layer = nn.Linear(24, 10)
    x = torch.randn(128, 2) @ torch.randn(2, 24)
    weight = Quantizer.min_max(weight_scheme(3, "channel"), layer.weight)
    module = QuantizedLayer.from_float(layer, weight, None)
    task = BlockTask(
        Block("block", "layer", ("block",)), module, {"block": module}, BlockInputs((x,), {}, 128), layer(x).detach()
    )
    return layer, module, task


def test_an_update_lowers_the_objective_and_ends_in_codes(tuned):
    layer, module, task = tuned
    generator = torch.Generator().manual_seed(0)
    update = LowRankUpdate({"block": module}, {"block": layer}, 4, 0.1, 1e-3, generator)
    report = learn(task, [update], Effort(150, 32), generator)
    assert report.loss_after < 0.5 * report.loss_before
    assert module.weight_codes.dtype == torch.uint8
    assert torch.equal(module.weight, module.weight_quantizer.dequantize(module.weight_codes))


def test_an_update_that_does_not_help_is_undone(tuned):
    layer, module, task = tuned
    codes, quantizer = module.weight_codes, module.weight_quantizer
    generator = torch.Generator().manual_seed(0)
    update = LowRankUpdate({"block": module}, {"block": layer}, 4, 1e3, 1.0, generator)
    assert learn(task, [update], Effort(2, 32), generator).kept
    assert module.weight_codes is codes
    assert module.weight_quantizer is quantizer
