"""`qncd`: what its smoothing is made from, that noise is corrected by timestep, and what it leaves alone."""

import pytest
import torch

from admbench import methods
from admbench.methods.core.checkpoint.reading import load
from admbench.methods.core.layers.quantized import quantized_layers
from admbench.methods.core.reconstruction.correction import correction_of
from admbench.methods.qncd import adds_embedding, embedding_scales

QUICK = "samples=8,iterations=2"


def test_scales_are_means_of_the_normed_embedding_of_at_least_one_times_the_norms_weight(model, prompts):
    method = methods.from_spec("qncd@w8a8[prompts=2,timesteps=2,steps=2]")
    calibration = method.calibrate(model, prompts, seed=0)
    for block in model.backbone.modules():
        if adds_embedding(block):
            block.norm2.weight.data = torch.linspace(-0.5, 1.5, len(block.norm2.weight))
    scales = embedding_scales(model, calibration)
    blocks = {name: block for name, block in model.backbone.named_modules() if adds_embedding(block)}
    assert set(scales) == {f"{name}.conv2" for name in blocks}
    name, block = next(iter(blocks.items()))
    seen = []
    hook = block.time_emb_proj.register_forward_hook(lambda module, args, output: seen.append(output))
    for inputs in calibration.batches(3):
        model.call_backbone(inputs)
    hook.remove()
    embedding = torch.cat(seen).unflatten(1, (block.norm2.num_groups, -1))
    mean, variance = embedding.mean(2, keepdim=True), embedding.var(2, keepdim=True, unbiased=False)
    normed = ((embedding - mean) / (variance + block.norm2.eps).sqrt()).flatten(1)
    expected = normed.clamp(min=1).mean(0) * block.norm2.weight.detach().abs()
    torch.testing.assert_close(scales[f"{name}.conv2"], expected.clamp(min=1e-5), rtol=1e-4, atol=1e-5)
    assert all(bool((scale > 0).all()) for scale in scales.values())


def test_only_second_convolutions_are_smoothed_and_the_checkpoint_is_the_same(model, quantize, predict, tmp_path):
    exact = predict(model)
    result = quantize(model, f"qncd@w4a8[{QUICK}]")
    smoothed = {name for name, layer in quantized_layers(result.module).items() if layer.input_scale is not None}
    assert smoothed == {f"{name}.conv2" for name, block in model.backbone.named_modules() if adds_embedding(block)}
    predicted = predict(model, result.module)
    assert float((predicted - exact).square().mean()) < float(exact.square().mean())
    result.pack(tmp_path / "packed")
    assert torch.equal(predict(model, load(tmp_path / "packed")), predicted)


def test_the_correction_has_the_timesteps_of_the_calibration_and_can_be_left_out(audioldm, quantize, predict):
    with_it = quantize(audioldm, f"qncd@w4a8[{QUICK}]").module
    without = quantize(audioldm, f"qncd@w4a8[{QUICK},correction=false]").module
    assert correction_of(without) is None
    correction = correction_of(with_it)
    assert correction.timesteps.tolist() == [499, 999]
    difference = predict(audioldm, without) - predict(audioldm, with_it)
    assert torch.allclose(difference, correction.mean[1], atol=1e-5)


@pytest.mark.parametrize("spec", ["w4a16", "w16a8"])
def test_16_leaves_one_side_alone(audioldm, quantize, spec):
    for layer in quantized_layers(quantize(audioldm, f"qncd@{spec}[{QUICK}]").module).values():
        assert (layer.activation_quantizer is None) == (spec == "w4a16")
        assert (layer.weight_quantizer is None) == (spec == "w16a8")


def test_w16a16_is_full_precision_bit_for_bit(model, quantize, predict):
    assert torch.equal(predict(model, quantize(model, "qncd@w16a16").module), predict(model))
