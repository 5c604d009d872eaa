"""`MODEL[outliers]`: a twin is a model as any other, computes what its model computes, and is harder to round."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from admbench.bench import api
from admbench.bench.exporting.pipeline_source import pipeline_folder
from admbench.bench.models import fingerprint, load_model, quantizable, random_fingerprint
from admbench.bench.models.base import AudioDiffusionModel
from admbench.bench.models.checks import check_model
from admbench.bench.models.twins import GAINS, KINDS, SHARE, parse
from admbench.bench.studies.stress.climbing import TOLERANCE
from admbench.errors import UsageError

MODEL = "tiny-dit"
IN_BLOCKS = 4 * 10
"""Layers of the transformer's blocks: what a twin makes hard."""


@pytest.fixture(scope="module")
def model() -> AudioDiffusionModel:
    return load_model(MODEL)


@pytest.fixture(scope="module")
def calls(model: AudioDiffusionModel) -> list[dict[str, Tensor]]:
    taken = model.trajectories(["a dog barks", "rain falls"], seeds=[1, 2], steps=3, guidance=3.0, batch_size=2)
    return [call.inputs for call in taken]


def _layers(model: AudioDiffusionModel) -> dict[str, nn.Linear]:
    named = model.backbone.named_modules()
    return {name: one for name, one in named if isinstance(one, nn.Linear) and name.startswith("transformer_blocks")}


def _inputs(model: AudioDiffusionModel, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Largest number of each input channel of each layer of the blocks."""
    seen: dict[str, Tensor] = {}
    hooks = [
        layer.register_forward_pre_hook(
            lambda _, given, name=name: seen.__setitem__(name, given[0].abs().flatten(0, -2).amax(0))
        )
        for name, layer in _layers(model).items()
    ]
    model.call_backbone(inputs)
    for hook in hooks:
        hook.remove()
    return seen


@pytest.mark.parametrize("kind", KINDS)
def test_a_twin_predicts_the_same_of_other_numbers(
    kind: str, model: AudioDiffusionModel, calls: list[dict[str, Tensor]]
) -> None:
    name = f"{MODEL}[{kind}]"
    twin = load_model(name)
    for inputs in calls:
        exact, made = model.call_backbone(inputs), twin.call_backbone(inputs)
        assert float((exact - made).abs().max() / exact.abs().max()) < TOLERANCE
    assert twin.name == name
    assert twin.weights_sha256 == fingerprint(name)
    assert len({twin.weights_sha256, fingerprint(MODEL), *(fingerprint(f"{MODEL}[{other}]") for other in KINDS)}) == 3
    own, hard = _inputs(model, calls[0]), _inputs(twin, calls[0])
    assert len(hard) == IN_BLOCKS
    for layer, largest in hard.items():
        gains = largest / own[layer] if kind == "outliers" else own[layer] / largest
        stand_out = gains > GAINS[0] * 0.99
        assert float(gains.max()) < GAINS[1] * 1.01
        # where keys and values have fewer heads than queries, each of their channels is read as often as queries are
        assert len(gains) // SHARE <= int(stand_out.sum()) <= 2 * len(gains) // SHARE, layer
        torch.testing.assert_close(gains[~stand_out], torch.ones_like(gains[~stand_out]), rtol=1e-3, atol=0)


def test_its_checkpoints_and_folders_are_found_by_its_name(tmp_path: Path) -> None:
    twin = api.load_model(f"{MODEL}[outliers]")
    quantized = api.quantize(twin, "naive@w8a8[prompts=2,timesteps=2,steps=2]")
    api.save_checkpoint(quantized, tmp_path / "packed")
    again = api.load_checkpoint(tmp_path / "packed")
    clips = [api.generate(one, ["a dog barks"], [3], steps=2) for one in (quantized.model, again)]
    assert torch.equal(*(torch.as_tensor(one) for one in clips))
    assert quantizable(twin.name) == quantizable(MODEL)
    with pytest.raises(UsageError, match="diffusers has no pipeline class"):  # nor has its model: it is found
        pipeline_folder(twin.name)


def test_random_weights_have_a_twin_that_their_hash_tells() -> None:
    name = f"{MODEL}[heavy-tails]"
    assert load_model(name, random_weights=True).weights_sha256 == random_fingerprint(name) != random_fingerprint(MODEL)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("tiny-dit[outlier]", r'no twin "outlier": expected one of outliers, heavy-tails\. Did you mean'),
        ("tiny-dti[outliers]", r'unknown model "tiny-dti"\..*tiny-dit'),
        ("tiny-tango[outliers]", "expected a model whose backbone is StableAudioDiTModel, found UNet2DConditionModel"),
    ],
)
def test_what_has_no_twin_is_refused(name: str, expected: str) -> None:
    known = check_model if "tango" not in name else load_model  # what a backbone is, only loading tells
    with pytest.raises(UsageError, match=expected):
        known(name)


def test_other_names_are_no_twins() -> None:
    assert parse("tiny-dit") is None
    assert parse("dir:weights[old]") is None
