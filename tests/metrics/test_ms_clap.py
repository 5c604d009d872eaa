"""MS-CLAP on the network of its package: a local file, strictly, and windows and texts as the package makes them."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import ByteLevelBPETokenizer

from admbench.errors import CheckpointError, PluginError
from admbench.hashing import sha256_file
from admbench.metrics.embedders import registry
from admbench.metrics.embedders.judges import MsClap

FILE = "CLAP_weights_2023.pth"
CAPTIONS = ["a dog barks", "rain falls on a tin roof while a bell rings", "wind " * 200]
SMALL_TEXT = {"vocab_size": 400, "n_layer": 1, "n_positions": 80}
"""Smaller than published: vocabulary, layers and positions of the text encoder. The audio encoder is as published."""


def test_without_the_package_it_is_listed_with_the_command_that_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "msclap" else find_spec(name))
    with pytest.raises(PluginError, match="msclap: no msclap here: pip install --no-deps msclap torchlibrosa"):
        MsClap.find()
    assert registry.info("msclap").requires == ()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A published file of random weights, the masks that GPT-2 used to save among them, and a tokenizer beside it."""
    pytest.importorskip("msclap")
    module = importlib.import_module("admbench.metrics.embedders.ms_clap")
    module.GPT2.update(SMALL_TEXT)
    folder = tmp_path_factory.mktemp("weights")
    (folder / "gpt2").mkdir()
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(CAPTIONS, vocab_size=399, min_frequency=1, special_tokens=["!", "<|endoftext|>"])
    tokenizer.save_model(str(folder / "gpt2"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = module.make_network().eval()
        network.audio_encoder.base.htsat.bn0.running_mean.normal_(-40, 5)
        network.audio_encoder.base.htsat.bn0.running_var.uniform_(100, 300)
    masks = [f"caption_encoder.base.h.0.attn.{name}" for name in ("bias", "masked_bias")]
    tensors = network.state_dict() | dict.fromkeys(masks, torch.ones(1))
    torch.save({"model": tensors}, folder / FILE)
    yield folder, network
    module.GPT2.clear()


@pytest.fixture(scope="module")
def judge(folder: Any) -> Any:
    return registry.get("msclap").load(str(folder[0] / FILE))


def unit(vectors: torch.Tensor) -> np.ndarray:
    return torch.nn.functional.normalize(vectors, dim=-1).numpy()


def test_audio_is_what_the_package_computes_of_seven_seconds(folder: Any, judge: Any) -> None:
    path, network = folder[0] / FILE, folder[1]
    assert (judge.name, judge.sample_rate, judge.embedding_dim) == (f"msclap:{FILE}", 44_100, 1024)
    assert judge.sha256 == sha256_file(path)
    whole = (0.1 * np.random.default_rng(0).normal(size=(2, 7 * 44_100))).astype(np.float32)
    with torch.inference_mode():
        expected = unit(network.audio_encoder(torch.from_numpy(whole))[0])
    np.testing.assert_allclose(judge.embed_audio(whole).embedding, expected, atol=1e-6)
    assert np.abs(expected[0] - expected[1]).max() > 1e-3  # told apart, or agreement would mean nothing
    short = whole[:1, : 3 * 44_100]  # repeated, and cut off where 7 s are full
    with torch.inference_mode():
        expected = unit(network.audio_encoder(torch.from_numpy(np.tile(short, 3)[:, : 7 * 44_100]))[0])
    np.testing.assert_allclose(judge.embed_audio(short).embedding, expected, atol=1e-6)


def test_a_caption_is_read_at_its_last_token_which_is_the_end_of_text(folder: Any, judge: Any) -> None:
    network, tokenizer = folder[1], judge.tokenizer
    found = judge.embed_text(CAPTIONS)
    assert found.shape == (3, 1024)
    for caption, vector in zip(CAPTIONS, found, strict=True):
        ids = tokenizer(caption + " <|endoftext|>")["input_ids"]
        ids = ids if len(ids) <= 77 else [*ids[:76], ids[-1]]
        assert tokenizer.convert_ids_to_tokens(ids[-1]) == "<|endoftext|>"
        with torch.inference_mode():
            hidden = network.caption_encoder.base(torch.tensor([ids])).last_hidden_state[:, -1]
            expected = unit(network.caption_encoder.projection(hidden))[0]
        np.testing.assert_allclose(vector, expected, atol=1e-5)


def test_another_networks_file_and_a_missing_tokenizer_are_refused(folder: Any, tmp_path: Path) -> None:
    content = torch.load(folder[0] / FILE, weights_only=True, mmap=True)
    lonely = tmp_path / FILE
    lonely.symlink_to(folder[0] / FILE)
    load = importlib.import_module("admbench.metrics.embedders.ms_clap").load_ms_clap
    with pytest.raises(CheckpointError, match=r"no tokenizer gpt2 .* hf download gpt2"):
        load(lonely)
    del content["model"]["audio_encoder.projection.linear1.weight"]
    (tmp_path / "gpt2").symlink_to(folder[0] / "gpt2")
    torch.save(content, tmp_path / "damaged.pth")
    with pytest.raises(CheckpointError, match=r"damaged\.pth: .*lacks audio_encoder\.projection\.linear1\.weight"):
        load(tmp_path / "damaged.pth")
