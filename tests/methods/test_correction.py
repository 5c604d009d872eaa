"""A correction of predictions: what it is measured as, what it does to guided predictions, and that it is packed."""

import copy
import json

import pytest
import torch
from torch import nn

from admbench import methods
from admbench.errors import CheckpointError
from admbench.methods.core.checkpoint.header import read_header, sealed
from admbench.methods.core.checkpoint.reading import load
from admbench.methods.core.checkpoint.writing import pack
from admbench.methods.core.kernels import with_kernels
from admbench.methods.core.reconstruction.correction import NoiseCorrection, correct, correction_of, mean_noise


@pytest.fixture
def calibration(audioldm, prompts):
    return methods.from_spec("naive@w8a8[prompts=3,timesteps=4,steps=4]").calibrate(audioldm, prompts, seed=0)


@pytest.fixture
def corrected(audioldm):
    """Return a copy of a backbone with a correction of two timesteps."""
    module = copy.deepcopy(audioldm.backbone)
    correct(module, NoiseCorrection(torch.tensor([0.5, -2.0]), torch.tensor([100.0, 900.0])))
    return module


def guided(predictions, conditional, scale):
    unconditional = predictions[~conditional]
    return unconditional + scale * (predictions[conditional] - unconditional)


class Drifting(nn.Module):
    """A backbone that adds to another's prediction a number for each timestep, another one without a condition."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone

    def forward(self, sample, timestep, **others):
        output = self.backbone(sample, timestep, **others)
        unconditional = others["class_labels"].abs().sum(1) == 0
        output.sample += (timestep / 1000 + 0.5 * unconditional).view(-1, 1, 1, 1)
        return output


def test_the_mean_is_that_of_the_noise_in_the_guided_prediction(audioldm, calibration):
    found = mean_noise(audioldm, Drifting(audioldm.backbone), calibration)
    expected = found.timesteps / 1000 + (1 - calibration.recipe["guidance"]) * 0.5
    assert found.timesteps.tolist() == sorted(set(calibration.timestep.tolist()))
    torch.testing.assert_close(found.mean, expected, rtol=1e-3, atol=1e-4)


def test_the_mean_of_the_error_of_a_guided_prediction_is_gone_and_with_it_some_of_the_error(audioldm, calibration):
    quantized = methods.from_spec("naive@w2a8[prompts=3,timesteps=4,steps=4]").quantize(audioldm, calibration).module
    full, scale = audioldm.backbone, calibration.recipe["guidance"]
    with_correction = copy.deepcopy(quantized)
    correct(with_correction, mean_noise(audioldm, quantized, calibration))
    predictions = {}
    for name, module in {"full": full, "without": quantized, "with": with_correction}.items():
        audioldm.backbone = module
        predictions[name] = guided(audioldm.call_backbone(calibration.inputs), calibration.conditional, scale)
    step = calibration.step[calibration.conditional]
    for one in step.unique():
        before, after = ((predictions[name] - predictions["full"])[step == one] for name in ("without", "with"))
        assert abs(float(after.mean())) < 1e-3 * float(before.square().mean().sqrt())
        assert float(after.square().mean()) <= float(before.square().mean())


def test_rows_have_the_correction_of_the_nearest_timestep(audioldm, corrected):
    call = next(audioldm.trajectories(["a", "b"], seeds=[0, 1], steps=2, guidance=1.0, batch_size=2))
    inputs = {**call.inputs, "timestep": torch.tensor([499, 501])}
    plain = audioldm.call_backbone(inputs)
    audioldm.backbone = corrected
    assert torch.equal(audioldm.call_backbone(inputs), plain - torch.tensor([0.5, -2.0]).view(2, 1, 1, 1))


@torch.no_grad()
def test_whatever_a_backbone_returns_is_corrected(audioldm, corrected):
    call = next(audioldm.trajectories(["a"], seeds=[0], steps=2, guidance=1.0, batch_size=1))
    inputs = {"encoder_hidden_states": None, **call.inputs, "timestep": torch.tensor(900)}
    as_output, (as_tuple,) = corrected(**inputs).sample, corrected(**inputs, return_dict=False)
    assert torch.equal(as_output, as_tuple)
    assert torch.equal(as_output, audioldm.backbone(**inputs).sample + 2)


def test_a_correction_is_packed_and_copied_and_a_header_without_one_does_not_speak_of_it(
    audioldm, corrected, everything, predict, tmp_path
):
    module, method, source = everything
    pack(tmp_path / "plain", module, method, source)
    assert "correction" not in json.loads((tmp_path / "plain" / "quantization.json").read_text())
    assert correction_of(load(tmp_path / "plain")) is None
    pack(tmp_path / "corrected", corrected, method, source)
    assert read_header(tmp_path / "corrected").correction == 2
    loaded = load(tmp_path / "corrected")
    expected = predict(audioldm, corrected)
    for one in (loaded, copy.deepcopy(loaded), copy.deepcopy(corrected)):
        assert torch.equal(predict(audioldm, one), expected)
    with_products = with_kernels(corrected, streamlined=False).module
    torch.testing.assert_close(predict(audioldm, with_products), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("timesteps", [[900.0, 100.0], [100.0, 100.0]])
def test_timesteps_that_do_not_increase_are_refused(audioldm, everything, timesteps, tmp_path):
    _, method, source = everything
    correct(audioldm.backbone, NoiseCorrection(torch.zeros(2), torch.tensor(timesteps)))
    pack(tmp_path / "packed", audioldm.backbone, method, source)
    with pytest.raises(CheckpointError, match=r"noise_correction.timesteps: holds timesteps that do not increase"):
        load(tmp_path / "packed")


def test_a_header_that_claims_more_timesteps_than_there_are_is_refused(corrected, everything, tmp_path):
    _, method, source = everything
    pack(tmp_path / "packed", corrected, method, source)
    header = json.loads((tmp_path / "packed" / "quantization.json").read_text())
    for entries, words in ((3, "noise_correction.mean: expected"), (0, "does not belong"), (-1, "correction")):
        (tmp_path / "packed" / "quantization.json").write_text(json.dumps(sealed({**header, "correction": entries})))
        with pytest.raises(CheckpointError, match=words):
            load(tmp_path / "packed")
