"""`eda-dm` on the two kinds of backbone."""

import pytest
import torch

from admbench import methods
from admbench.errors import UsageError
from admbench.methods.core.checkpoint.reading import load

QUICK = "prompts=20,timesteps=2,samples=80,iterations=50,learning_rate=0.1"


def relative_error(prediction: torch.Tensor, target: torch.Tensor) -> float:
    return ((prediction - target).norm() / target.norm()).item()


def test_it_is_closer_to_full_precision_than_rounding_to_nearest(model, quantize, predict, tmp_path):
    # At 3 bits: with 4 the last bits of products decide which is nearer on so small a network.
    target = predict(model)
    naive = quantize(model, "naive@w3a8[prompts=20]")
    result = quantize(model, f"eda-dm@w3a8[{QUICK}]")
    reconstructed = predict(model, result.module)
    assert relative_error(reconstructed, target) < 0.9 * relative_error(predict(model, naive.module), target)
    assert {block.learned for block in result.report.blocks} == {"weights+activations"}
    assert all(0 <= block.loss_after <= block.loss_before for block in result.report.blocks)
    result.pack(tmp_path)
    assert torch.equal(predict(model, load(tmp_path)), reconstructed)


def test_w16a16_is_full_precision_bit_for_bit(audioldm, quantize, predict):
    assert torch.equal(predict(audioldm, quantize(audioldm, "eda-dm@w16a16").module), predict(audioldm))


@pytest.mark.parametrize(("spec", "learned"), [("w4a16", "weights"), ("w16a8", "activations")])
def test_16_leaves_one_side_alone(audioldm, quantize, predict, spec, learned):
    result = quantize(audioldm, f"eda-dm@{spec}[samples=4,iterations=1]")
    assert {block.learned for block in result.report.blocks} == {learned}
    assert bool(torch.isfinite(predict(audioldm, result.module)).all())


def test_its_calibration_is_allotted_by_density_and_variety(audioldm, prompts):
    method = methods.from_spec("eda-dm@w4a8[prompts=2,timesteps=2,steps=4]")
    assert method.calibrate(audioldm, prompts, seed=0).recipe["sampler"] == "tdac"
    with pytest.raises(UsageError, match="needs a calibration set of tiny-audioldm"):
        method.quantize(audioldm, None)
