"""EnCodec and MERT through transformers: loaded from a folder, they are what transformers computes, or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import EncodecConfig, EncodecModel, HubertConfig, HubertModel, Wav2Vec2FeatureExtractor

from admbench.errors import CheckpointError
from admbench.hashing import sha256_file
from admbench.metrics.embedders import registry

ENCODEC = {
    "num_filters": 4,
    "upsampling_ratios": [8, 5],
    "hidden_size": 12,
    "codebook_dim": 12,
    "codebook_size": 16,
    "num_lstm_layers": 1,
    "kernel_size": 3,
    "target_bandwidths": [1.5],
}
HUBERT = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "conv_dim": [8, 8],
    "conv_kernel": [10, 3],
    "conv_stride": [5, 8],
    "num_conv_pos_embeddings": 6,
    "num_conv_pos_embedding_groups": 2,
}
MERT_KEYS = {"feature_extractor_cqt": False, "deepnorm": False, "attention_relax": -1.0, "sample_rate": 24_000}


def seeded(network: Any, config: Any) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return network(config).eval()


@pytest.fixture(scope="module")
def waveforms() -> np.ndarray:
    return (0.2 * np.random.default_rng(0).normal(size=(6, 24_000))).astype(np.float32)


@pytest.fixture
def encodec_folder(tmp_path: Path) -> Path:
    seeded(EncodecModel, EncodecConfig(**ENCODEC)).save_pretrained(tmp_path / "small-encodec")
    return tmp_path / "small-encodec"


@pytest.fixture
def mert_folder(tmp_path: Path) -> Path:
    """A folder as MERT's authors publish it: weights by the names of old, and a configuration of its own type."""
    folder = tmp_path / "small-mert"
    model = seeded(HubertModel, HubertConfig(**HUBERT))
    model.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text()) | MERT_KEYS
    auto = {"AutoModel": "modeling_MERT.MERTModel", "AutoConfig": "configuration_MERT.MERTConfig"}
    config |= {"model_type": "mert_model", "architectures": ["MERTModel"], "auto_map": auto}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "modeling_MERT.py").write_text("raise SystemExit('the code of a checkpoint was run')")
    Wav2Vec2FeatureExtractor(sampling_rate=24_000, do_normalize=True).save_pretrained(folder)
    (folder / "model.safetensors").unlink()
    old = {"original0": "weight_g", "original1": "weight_v"}
    tensors = {
        name.replace(f"parametrizations.weight.{name[-9:]}", old.get(name[-9:], "")): tensor
        for name, tensor in model.state_dict().items()
    }
    assert "encoder.pos_conv_embed.conv.weight_g" in tensors
    torch.save(tensors, folder / "pytorch_model.bin")
    return folder


def test_encodec_is_the_encoder_of_transformers_frame_by_frame(encodec_folder: Path, waveforms: np.ndarray) -> None:
    judge = registry.get("encodec").load(str(encodec_folder))
    assert (judge.name, judge.sample_rate, judge.embedding_dim) == ("encodec:small-encodec", 24_000, 12)
    assert judge.sha256 == sha256_file(encodec_folder / "model.safetensors")
    found = judge.embed_audio(waveforms)
    with torch.inference_mode():
        model = EncodecModel.from_pretrained(encodec_folder).eval()
        expected = model.encoder(torch.from_numpy(waveforms)[:, None]).transpose(1, 2).numpy()
    assert expected.shape == (6, 600, 12)  # a frame of 12 numbers for each 8 x 5 samples
    np.testing.assert_allclose(found.windows, expected, atol=1e-6)
    np.testing.assert_allclose(found.embedding, expected.mean(axis=1), atol=1e-6)
    assert found.logits is None
    alone = judge.embed_audio(waveforms[4:5]).embedding
    np.testing.assert_allclose(alone, found.embedding[4:5], atol=1e-6)


def test_mert_is_the_last_layer_of_transformers_hubert_and_its_own_code_is_not_run(
    mert_folder: Path, waveforms: np.ndarray
) -> None:
    judge = registry.get("mert").load(str(mert_folder))
    assert (judge.name, judge.sample_rate, judge.embedding_dim) == ("mert:small-mert", 24_000, 16)
    found = judge.embed_audio(waveforms)
    extractor = Wav2Vec2FeatureExtractor(sampling_rate=24_000, do_normalize=True)
    with torch.inference_mode():
        model = seeded(HubertModel, HubertConfig(**HUBERT))
        inputs = extractor(list(waveforms), sampling_rate=24_000, return_tensors="pt")
        states = model(**inputs, output_hidden_states=True).hidden_states
    assert len(states) == 3  # what goes into the layers, and what comes out of each
    np.testing.assert_allclose(found.embedding, states[-1].mean(dim=1).numpy(), atol=1e-6)
    assert (found.logits, found.windows) == (None, None)
    louder = judge.embed_audio(2 * waveforms).embedding
    np.testing.assert_allclose(louder, found.embedding, atol=1e-4)  # clips are brought to one level


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"audio_channels": 2, "normalize": True, "chunk_length_s": 1.0, "overlap": 0.01}, "an EnCodec of 2 channels"),
        ({"normalize": True}, "with chunks or levels of its own"),
    ],
)
def test_an_encodec_in_stereo_or_with_levels_of_its_own_is_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    seeded(EncodecModel, EncodecConfig(**ENCODEC | change)).save_pretrained(tmp_path / "other")
    with pytest.raises(CheckpointError, match=message) as caught:
        registry.get("encodec").load(str(tmp_path / "other"))
    assert "expected one such as facebook/encodec_24khz" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"feature_extractor_cqt": True}, "has feature_extractor_cqt"),
        ({"deepnorm": True}, "has deepnorm"),
        ({"model_type": "hubert"}, 'model_type "hubert"; expected "mert_model"'),
        ({"hidden_size": 18}, "not a MERT model of transformers"),
    ],
)
def test_what_is_no_mert_that_hubert_computes_is_refused(
    mert_folder: Path, change: dict[str, Any], message: str
) -> None:
    file = mert_folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(CheckpointError, match=message) as caught:
        registry.get("mert").load(str(mert_folder))
    assert str(mert_folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_weights_that_lack_a_tensor_are_refused(mert_folder: Path) -> None:
    file = mert_folder / "pytorch_model.bin"
    tensors = torch.load(file, weights_only=True)
    del tensors["encoder.layers.1.final_layer_norm.weight"]
    torch.save(tensors, file)
    with pytest.raises(CheckpointError, match=r"lacks encoder\.layers\.1\.final_layer_norm\.weight of the network"):
        registry.get("mert").load(str(mert_folder))


@pytest.mark.parametrize(("name", "hub_id"), [("encodec", "facebook/encodec_24khz"), ("mert", "m-a-p/MERT-v1-95M")])
def test_missing_weights_are_one_line_that_says_how_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, hub_id: str, encodec_folder: Path
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("ADMBENCH_WEIGHTS", raising=False)
    with pytest.raises(CheckpointError, match=f"{name}: no weights: .*hf download {hub_id}"):
        registry.get(name).find()
    monkeypatch.setenv("ADMBENCH_WEIGHTS", str(tmp_path))
    (tmp_path / hub_id).parent.mkdir()
    encodec_folder.rename(tmp_path / hub_id)
    assert registry.get(name).find() == (tmp_path / hub_id / "model.safetensors").resolve()
    assert registry.get(name).checkpoint(None) == hub_id
