"""`ptq4dm`: normally distributed timesteps, symmetric schemes, roundings and step sizes learned together."""

import torch

from admbench import methods
from admbench.methods.core.checkpoint.reading import load
from admbench.methods.core.layers.quantized import quantized_layers

QUICK = "prompts=5,timesteps=2,steps=3,iterations=10,learning_rate=0.1"


def test_blocks_come_closer_to_full_precision_or_stay_as_they_are(model, quantize, predict, tmp_path):
    result = quantize(model, f"ptq4dm@w4a8[{QUICK}]")
    blocks = result.report.blocks
    assert {block.learned for block in blocks} == {"weights+activations"}
    assert all(block.loss_after <= block.loss_before for block in blocks)
    assert all(block.held_out_after <= block.held_out_before for block in blocks)
    assert any(block.loss_after < 0.95 * block.loss_before for block in blocks)
    prediction = predict(model, result.module)
    assert bool(torch.isfinite(prediction).all())
    result.pack(tmp_path)
    assert torch.equal(predict(model, load(tmp_path)), prediction)


def test_everything_is_symmetric_and_the_ends_keep_eight_bits(audioldm, quantize):
    result = quantize(audioldm, "ptq4dm@w4a6[iterations=1]")
    for name, layer in quantized_layers(result.module).items():
        end = name in ("conv_in", "conv_out")
        assert layer.scheme.weight.symmetric
        assert layer.scheme.activation.symmetric
        assert (layer.scheme.weight.bits, layer.scheme.activation.bits) == ((8, 8) if end else (4, 6))


def test_w16a16_is_full_precision_bit_for_bit(model, quantize, predict):
    assert torch.equal(predict(model, quantize(model, "ptq4dm@w16a16").module), predict(model))


def test_timesteps_are_normally_distributed_unless_told_otherwise(audioldm):
    assert methods.from_spec("ptq4dm@w8a8").config.recipe_for(audioldm).sampler == "normal"
    assert methods.from_spec("ptq4dm@w8a8[calibration=uniform]").config.recipe_for(audioldm).sampler == "uniform"
    paper = methods.from_spec("ptq4dm@w8a8[preset=paper]").config
    assert (paper.prompts * paper.timesteps, paper.iterations) == (1024, 100)
