"""`tfmq-dm` on the two kinds of backbone, and the temporal block that it reconstructs."""

import torch

from admbench import methods
from admbench.methods.core.checkpoint.reading import load
from admbench.methods.core.layers.quantized import quantized_layers
from admbench.methods.core.layers.temporal import TemporalBlock
from admbench.methods.core.numbers.timesteps import TimestepTable

QUICK = "prompts=20,timesteps=2,steps=4,samples=80,iterations=50,learning_rate=0.1"


def relative_error(prediction: torch.Tensor, target: torch.Tensor) -> float:
    return ((prediction - target).norm() / target.norm()).item()


def test_it_is_closer_to_full_precision_than_rounding_to_nearest(model, quantize, predict, tmp_path):
    target = predict(model)
    naive = quantize(model, "naive@w4a8[prompts=20]")
    result = quantize(model, f"tfmq-dm@w4a8[{QUICK}]")
    reconstructed = predict(model, result.module)
    assert relative_error(reconstructed, target) < relative_error(predict(model, naive.module), target)
    result.pack(tmp_path)
    assert torch.equal(predict(model, load(tmp_path)), reconstructed)


def test_layers_behind_the_timestep_are_one_block_and_in_no_other(model, quantize):
    blocks = quantize(model, f"tfmq-dm@w4a8[{QUICK}]").report.blocks
    assert blocks[0].block == blocks[0].kind == "temporal"
    learned = [block.block for block in blocks if block.learned == "weights"]
    assert not any(name.startswith(("time_embedding", "class_embedding")) for name in learned)
    assert "mid_block.resnets.0" in learned


def test_inputs_have_a_range_for_each_timestep(audioldm, quantize):
    result = quantize(audioldm, f"tfmq-dm@w4a8[{QUICK}]")
    for layer in quantized_layers(result.module).values():
        assert isinstance(layer.activation_quantizer, TimestepTable)
        assert layer.activation_quantizer.timesteps.tolist() == [249, 499, 749, 999]


@torch.no_grad()
def test_the_temporal_block_returns_what_the_projections_return_in_the_backbone(model):
    """Whether a vector of the caption is part of the embedding or not."""
    block = TemporalBlock(model.backbone)
    call = next(model.trajectories(["a", "b"], seeds=[0, 1], steps=2, guidance=3.0, batch_size=2))
    seen = {}
    names = [*block.inputs, *(name for name in dict(model.backbone.named_modules()) if name.endswith("time_emb_proj"))]
    for name in names:
        model.backbone.get_submodule(name).register_forward_hook(
            lambda module, args, output, name=name: seen.update({name: (args[0], output)})
        )
    model.call_backbone(call.inputs)
    outputs = block(*(seen[name][0] for name in block.inputs))
    for name, output in zip(names[len(block.inputs) :], outputs, strict=True):
        assert torch.allclose(output, seen[name][1], atol=1e-6)


def test_w16a16_is_full_precision_and_calibration_has_every_step(audioldm, quantize, predict, prompts):
    assert torch.equal(predict(audioldm, quantize(audioldm, "tfmq-dm@w16a16").module), predict(audioldm))
    method = methods.from_spec("tfmq-dm@w4a8[prompts=4,timesteps=2,steps=4]")
    assert set(method.calibrate(audioldm, prompts, seed=0).step.tolist()) == {0, 1, 2, 3}
