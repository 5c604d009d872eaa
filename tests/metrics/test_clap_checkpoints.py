"""The two CLAP judges: one network in two published formats, whose independent implementations must agree."""

import re

import numpy as np
import pytest
import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import ClapConfig, ClapFeatureExtractor, ClapModel, RobertaTokenizerFast

from admbench.errors import CheckpointError
from admbench.hashing import sha256_file
from admbench.metrics.embedders import laion_clap, registry

CAPTIONS = ["a dog barks", "rain falls on a tin roof while a bell rings", "wind " * 200]
TEXT = {"vocab_size": 400, "max_position_embeddings": 100, "num_hidden_layers": 1, "layer_norm_eps": 1e-5}
"""Two small things are smaller than published: the vocabulary and the number of text layers."""
FROM_LAION = (
    (r"^text_branch\.", "text_model."),
    (r"^audio_branch\.bn0\.", "audio_model.audio_encoder.batch_norm."),
    (r"^audio_branch\.", "audio_model.audio_encoder."),
    (r"^(text|audio)_projection\.0\.", r"\1_projection.linear1."),
    (r"^(text|audio)_projection\.2\.", r"\1_projection.linear2."),
    (r"\.norm1\.", ".layernorm_before."),
    (r"\.norm2\.", ".layernorm_after."),
    (r"\.mlp\.fc1\.", ".intermediate.dense."),
    (r"\.mlp\.fc2\.", ".output.dense."),
    (r"\.attn\.proj\.", ".attention.output.dense."),
    (r"\.attn\.(relative|qkv)", r".attention.self.\1"),
)
"""Names of LAION's tensors -> those of transformers."""


def as_transformers_names(tensors):
    renamed = {}
    for name, tensor in tensors.items():
        for pattern, to in FROM_LAION:
            name = re.sub(pattern, to, name)
        if ".self.qkv." in name:
            parts = tensor.chunk(3)
            renamed |= {
                name.replace(".qkv.", f".{part}."): one
                for part, one in zip(("query", "key", "value"), parts, strict=True)
            }
        else:
            renamed[name] = tensor
    return renamed


@pytest.fixture(scope="module")
def network():
    """LAION's network with random weights, and norms that have seen something."""
    before = dict(laion_clap.ROBERTA_BASE)
    laion_clap.ROBERTA_BASE.update(TEXT)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            made = laion_clap.make_network("tiny", 768).eval()
            made.audio_branch.bn0.running_mean.normal_(-40, 5)
            made.audio_branch.bn0.running_var.uniform_(100, 300)
        yield made
    finally:
        laion_clap.ROBERTA_BASE.clear()
        laion_clap.ROBERTA_BASE.update(before)


@pytest.fixture(scope="module")
def tokenizer_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text") / "roberta-base"
    folder.mkdir()
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(
        CAPTIONS, vocab_size=400, min_frequency=1, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    )
    tokenizer.save_model(str(folder))
    return folder


@pytest.fixture(scope="module")
def checkpoint(network, tokenizer_folder):
    """A file as LAION publishes it: written by data-parallel training, with a constant that later ones leave out."""
    tensors = {f"module.{name}": tensor for name, tensor in network.state_dict().items()}
    tensors["module.text_branch.embeddings.position_ids"] = torch.arange(100)[None]
    path = tokenizer_folder.parent / "random.pt"
    torch.save({"epoch": 3, "name": "random", "state_dict": tensors}, path)
    return path


@pytest.fixture(scope="module")
def folder(network, tokenizer_folder, tmp_path_factory):
    """The same weights as transformers saves them."""
    folder = tmp_path_factory.mktemp("clap-hf")
    model = ClapModel(ClapConfig(text_config=TEXT, audio_config={}))
    tensors = as_transformers_names(network.state_dict())
    wanted = model.state_dict()
    missing = wanted.keys() - tensors.keys()
    assert all(name.endswith(("position_ids", "token_type_ids")) for name in missing)
    model.load_state_dict({name: tensors[name] for name in wanted.keys() - missing}, strict=False)
    model.save_pretrained(folder)
    ClapFeatureExtractor(frequency_min=50).save_pretrained(folder)  # as published; the default is another
    RobertaTokenizerFast(
        vocab=str(tokenizer_folder / "vocab.json"), merges=str(tokenizer_folder / "merges.txt"), model_max_length=77
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def waveforms():
    """Two clips of 12 s: a chirp with a click, and noise."""
    time = np.arange(12 * 48_000) / 48_000
    chirp = 0.3 * np.sin(2 * np.pi * (200 + 300 * time) * time)
    chirp[100_000:100_100] = 0.9
    noise = 0.1 * np.random.default_rng(0).normal(size=time.size)
    return np.stack([chirp, noise]).astype(np.float32)


def test_both_formats_give_the_same_embeddings(checkpoint, folder, waveforms):
    original = registry.get("laion-clap").load(str(checkpoint))
    converted = registry.get("clap-hf").load(str(folder))
    heard, also = (judge.embed_audio(waveforms).embedding for judge in (original, converted))
    assert heard.shape == (2, 512)
    np.testing.assert_allclose(heard, also, atol=1e-4)
    assert np.abs(heard[0] - heard[1]).max() > 1e-2  # the clips are told apart, or agreement would mean nothing
    read, again = (judge.embed_text(CAPTIONS) for judge in (original, converted))
    np.testing.assert_allclose(read, again, atol=1e-4)
    for vectors in (heard, read):
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)


def test_scores_name_checkpoint_and_hash(checkpoint, folder):
    original = registry.get("laion-clap").load(str(checkpoint))
    assert original.name == "laion-clap:random.pt"
    assert original.sha256 == sha256_file(checkpoint) == registry.get("laion-clap").fingerprint(str(checkpoint))
    converted = registry.get("clap-hf").load(str(folder))
    assert converted.name == f"clap-hf:{folder.name}"
    assert converted.sha256 == registry.get("clap-hf").fingerprint(str(folder))


def test_nothing_is_drawn(checkpoint, waveforms):
    judge = registry.get("laion-clap").load(str(checkpoint))
    np.testing.assert_array_equal(judge.embed_audio(waveforms).embedding, judge.embed_audio(waveforms).embedding)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda tensors: tensors.pop("module.audio_projection.0.bias"), "lacks audio_projection.0.bias"),
        (lambda tensors: tensors.update(odd=torch.zeros(1)), "has odd"),
        (lambda tensors: tensors.update({"module.audio_branch.fusion_model.x": torch.zeros(1)}), "fusion"),
        (lambda tensors: tensors.pop("module.audio_branch.patch_embed.proj.weight"), "not a LAION-CLAP checkpoint"),
    ],
)
def test_another_networks_checkpoint_is_refused_by_name(checkpoint, change, reason, tmp_path):
    content = torch.load(checkpoint, weights_only=True, mmap=True)
    change(content["state_dict"])
    damaged = tmp_path / "damaged.pt"
    torch.save(content, damaged)
    (tmp_path / "roberta-base").symlink_to(checkpoint.parent / "roberta-base")
    with pytest.raises(CheckpointError, match=reason) as raised:
        registry.get("laion-clap").load(str(damaged))
    assert "damaged.pt" in str(raised.value)


def test_a_missing_tokenizer_is_said_with_the_way_to_get_it(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    lonely = tmp_path / "lonely.pt"
    lonely.symlink_to(checkpoint)
    with pytest.raises(CheckpointError, match="hf download roberta-base"):
        laion_clap.load_laion_clap(lonely)


def test_a_fused_model_of_transformers_is_refused(folder, tmp_path):
    fused = tmp_path / "fused"
    fused.mkdir()
    for file in folder.iterdir():
        (fused / file.name).symlink_to(file)
    (fused / "config.json").unlink()
    ClapConfig(text_config=TEXT, audio_config={"enable_fusion": True}).save_pretrained(fused)
    with pytest.raises(CheckpointError, match="fusion"):
        registry.get("clap-hf").load(str(fused))


def test_a_folder_of_transformers_without_vocabulary_is_refused(folder, tmp_path):
    mute = tmp_path / "mute"
    mute.mkdir()
    for file in folder.iterdir():
        if file.name != "tokenizer.json":
            (mute / file.name).symlink_to(file)
    with pytest.raises(CheckpointError, match="no vocabulary"):
        registry.get("clap-hf").load(str(mute))
