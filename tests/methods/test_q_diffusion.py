"""`q-diffusion` on the two kinds of backbone."""

import pytest
import torch

from admbench import methods
from admbench.errors import UsageError
from admbench.methods.core.checkpoint.reading import load
from admbench.methods.core.layers.kinds import quantizable_layers
from admbench.methods.core.layers.quantized import quantized_layers
from admbench.methods.core.layers.split import splits_of

QUICK = "prompts=20,samples=80,iterations=20,batch=4,learning_rate=0.1,step_iterations=5"


def relative_error(prediction: torch.Tensor, target: torch.Tensor) -> float:
    return ((prediction - target).norm() / target.norm()).item()


def test_it_is_closer_to_full_precision_than_rounding_to_nearest(model, quantize, predict, tmp_path):
    """And says what it did to each block, packs, and loads bit for bit."""
    target = predict(model)
    naive = quantize(model, "naive@w4a8[prompts=20]")
    result = quantize(model, f"q-diffusion@w4a8[{QUICK}]")
    reconstructed = predict(model, result.module)
    assert relative_error(reconstructed, target) < relative_error(predict(model, naive.module), target)
    assert torch.equal(predict(model), target)

    blocks = result.report.blocks
    names = [block.block for block in blocks if block.learned == "weights"]
    assert [block.learned for block in blocks] == ["weights"] * len(names) + ["activations"] * len(names)
    assert [block.block for block in blocks] == names * 2
    assert all(0 <= block.loss_after <= block.loss_before for block in blocks)
    assert sum(block.kept for block in blocks if block.learned == "weights") < len(names) / 2

    result.pack(tmp_path)
    loaded = load(tmp_path)
    assert torch.equal(predict(model, loaded), reconstructed)
    assert splits_of(loaded).keys() == {
        name for name in quantizable_layers(model.backbone) if "up_blocks" in name and name.endswith("conv_shortcut")
    }
    reported = {layer.name: layer for layer in result.report.layers}
    assert reported.keys() == quantized_layers(loaded).keys()
    assert all(layer.weight_bits == (8 if name in ("conv_in", "conv_out") else 4) for name, layer in reported.items())


def test_w16a16_is_full_precision_bit_for_bit(model, quantize, predict):
    result = quantize(model, "q-diffusion@w16a16")
    assert torch.equal(predict(model, result.module), predict(model))
    assert not result.report.simulated


@pytest.mark.parametrize(("spec", "learned"), [("w4a16", {"weights"}), ("w16a4", {"activations"})])
def test_16_leaves_one_side_alone(audioldm, quantize, predict, spec, learned):
    result = quantize(audioldm, f"q-diffusion@{spec}[samples=4,iterations=1,step_iterations=1]")
    assert {block.learned for block in result.report.blocks} == learned
    for layer in quantized_layers(result.module).values():
        assert (layer.activation_quantizer is None) == (spec == "w4a16")
        assert (layer.weight_quantizer is None) == (spec == "w16a4")
    assert bool(torch.isfinite(predict(audioldm, result.module)).all())


def test_quantizing_twice_gives_the_same(audioldm, quantize, predict):
    spec = "q-diffusion@w4a8[samples=4,iterations=2,step_iterations=2]"
    first, second = (predict(audioldm, quantize(audioldm, spec).module) for _ in range(2))
    assert torch.equal(first, second)


def test_layers_of_zeros_and_constant_inputs_do_no_harm(audioldm, quantize, predict):
    with torch.no_grad():
        audioldm.backbone.mid_block.resnets[0].conv1.weight.zero_()
        audioldm.backbone.class_embedding.weight.zero_()
        audioldm.backbone.class_embedding.bias.zero_()
    result = quantize(audioldm, "q-diffusion@w2a2[samples=4,iterations=2,step_iterations=2]")
    assert bool(torch.isfinite(predict(audioldm, result.module)).all())


def test_weights_need_data_too(audioldm, prompts):
    method = methods.from_spec("q-diffusion@w4a16")
    assert method.calibration_key(audioldm, prompts, seed=0) is not None
    with pytest.raises(UsageError, match="needs a calibration set of tiny-audioldm"):
        method.quantize(audioldm, None)
    with pytest.raises(UsageError, match="calibration needs 16 prompts, there are 3"):
        method.calibrate(audioldm, prompts[:3], seed=0)


def test_the_presets_are_those_of_the_page():
    quick, paper = (methods.from_spec(f"q-diffusion@w4a8[preset={preset}]").config for preset in ("quick", "paper"))
    assert (paper.prompts, paper.timesteps, paper.iterations, paper.step_iterations) == (128, 25, 20_000, 5000)
    assert (paper.learning_rate, paper.step_learning_rate, paper.batch) == (1e-3, 4e-4, 8)
    assert quick.iterations < paper.iterations
