"""`tcaq-dm` on the two kinds of backbone, and its parts."""

import pytest
import torch

from admbench.methods.core.calibration.samplers.recipe import CalibrationRecipe
from admbench.methods.core.checkpoint.reading import load
from admbench.methods.core.layers.attention import attention_sites, attentions
from admbench.methods.core.layers.kinds import quantizable_layers
from admbench.methods.core.layers.quantized import quantized_layers
from admbench.methods.core.numbers.codebooks import Log2Quantizer
from admbench.methods.tcaq_dm import channel_scales, follows_power_law

QUICK = "prompts=20,timesteps=2,samples=80,iterations=30,learning_rate=0.1,again=10"


def relative_error(prediction: torch.Tensor, target: torch.Tensor) -> float:
    return ((prediction - target).norm() / target.norm()).item()


def test_it_is_closer_to_full_precision_than_rounding_to_nearest(model, quantize, predict, tmp_path):
    target, own = predict(model), model.backbone
    naive = quantize(model, "naive@w4a8[prompts=20]")
    result = quantize(model, f"tcaq-dm@w4a8[{QUICK}]")
    reconstructed = predict(model, result.module)
    assert relative_error(reconstructed, target) < relative_error(predict(model, naive.module), target)
    assert model.backbone is own
    assert attention_sites(result.module).keys() == attentions(model.backbone).keys()
    assert all(layer.input_scale is not None for layer in quantized_layers(result.module).values())
    learned = [block.block for block in result.report.blocks if block.learned == "weights"]
    assert learned == learned[: len(learned) // 2] * 2
    result.pack(tmp_path)
    assert torch.equal(predict(model, load(tmp_path)), reconstructed)


@pytest.mark.parametrize("spec", ["w4a16", "w16a8"])
def test_16_leaves_one_side_alone(audioldm, quantize, predict, spec):
    result = quantize(audioldm, f"tcaq-dm@{spec}[samples=4,iterations=1,again=1]")
    for layer in quantized_layers(result.module).values():
        assert (layer.activation_quantizer is None) == (spec == "w4a16")
        assert (layer.weight_quantizer is None) == (spec == "w16a8")
    assert bool(torch.isfinite(predict(audioldm, result.module)).all())


def test_heavy_tails_are_told_from_light_ones():
    torch.manual_seed(0)
    pareto = (1 - torch.rand(5000)) ** (-1 / 1.5) * 1e-3
    exponential = -torch.log(1 - torch.rand(5000)) * 1e-3
    assert follows_power_law(pareto)
    assert not follows_power_law(exponential)
    assert not follows_power_law(torch.full((10,), 0.25))
    assert not follows_power_law(torch.zeros(10))


def test_attention_weights_are_rounded_to_powers_of_two_or_evenly(audioldm, quantize):
    result = quantize(audioldm, "tcaq-dm@w16a8[samples=4,again=0]")
    for sites in attention_sites(result.module).values():
        assert sites.softmax is not None
        assert isinstance(sites.softmax, Log2Quantizer) == (sites.softmax.scheme.codebook == "log2")
        assert sites.query is sites.key is sites.value is None


def test_channels_that_are_wide_at_some_steps_are_divided_by_more(audioldm, prompts):
    """A channel of the latent that is a hundred times as wide as the others gets the largest scale."""
    calibration = CalibrationRecipe("uniform", 4, 4, 4, 3.0).draw(audioldm, prompts, seed=0)
    calibration.inputs["sample"][:, 3] *= 100
    with torch.no_grad():
        audioldm.backbone.conv_in.weight.copy_(audioldm.backbone.conv_in.weight[:, :1].expand(-1, 8, -1, -1))
    scales = channel_scales(audioldm, calibration, alpha=0.5)
    assert scales.keys() == quantizable_layers(audioldm.backbone).keys()
    assert int(scales["conv_in"].argmax()) == 3
