"""PaSST on the network of its package: a local file by its path, strictly, and the clips as the package hears them."""

import importlib
import math
import warnings

import numpy as np
import pytest
import torch

from admbench.errors import CheckpointError, PluginError
from admbench.hashing import sha256_file
from admbench.metrics.embedders import registry

FILE = "passt-s-f128-p16-s10-ap.476-swa.pt"
SMALL = {"width": 24, "depth": 2, "heads": 2, "classes": 5}


@pytest.fixture
def passt(monkeypatch, tmp_path):
    """The judge's module where the extra is installed, its network small; a published file of it lies in a folder."""
    pytest.importorskip("hear21passt")
    module = importlib.import_module("admbench.metrics.embedders.passt")
    monkeypatch.setattr(module.make_network, "__defaults__", tuple(SMALL.values()))
    monkeypatch.setenv("ADMBENCH_WEIGHTS", str(tmp_path))
    torch.manual_seed(0)
    torch.save({name: 3 * tensor for name, tensor in module.make_network().state_dict().items()}, tmp_path / FILE)
    return module


def clips(seconds):
    """Two clips of noise at 32 kHz."""
    generator = torch.Generator().manual_seed(1)
    return (0.1 * torch.randn(2, int(seconds * 32_000), generator=generator)).numpy()


def test_without_the_extra_it_is_listed_with_what_it_needs(tmp_path, monkeypatch):
    info = registry.info("passt")
    assert info.requires == ("hear21passt", "timm")
    if info.unavailable is None:
        pytest.skip("the extra is installed")
    assert "hear21passt" in info.unavailable
    monkeypatch.setenv("ADMBENCH_WEIGHTS", str(tmp_path))
    torch.save({"cls_token": torch.zeros(1)}, tmp_path / FILE)
    with pytest.raises(PluginError, match=r"pip install 'admbench\[passt\]'"):
        registry.get("passt").load()


def test_a_missing_file_is_named_with_the_command_that_gets_it(tmp_path, monkeypatch):
    monkeypatch.setenv("ADMBENCH_WEIGHTS", str(tmp_path))
    with pytest.raises(CheckpointError, match=r"ap\.476-swa\.pt is not in .*wget -O"):
        registry.get("passt").find()


def test_the_published_network_has_86_million_parameters(passt):
    network = passt.make_network(passt.WIDTH, 1, passt.HEADS, passt.CLASSES)
    block = sum(parameter.numel() for parameter in network.blocks.parameters())
    assert sum(parameter.numel() for parameter in network.parameters()) + 11 * block == pytest.approx(86.2e6, rel=0.01)


def test_a_local_file_is_loaded_and_the_same_clip_is_heard_alike(passt, tmp_path, capsys):
    judge = registry.get("passt")
    embedder = judge.load()
    assert (embedder.name, embedder.sample_rate, embedder.embedding_dim) == ("passt", 32_000, 24)
    assert embedder.sha256 == judge.fingerprint() == sha256_file(tmp_path / FILE)
    waveforms = clips(2.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        heard = embedder.embed_audio(waveforms)
    assert heard.embedding.shape == (2, 24)
    assert heard.logits.shape == (2, 5)
    np.testing.assert_array_equal(heard.embedding, judge.load(str(tmp_path / FILE)).embed_audio(waveforms).embedding)
    np.testing.assert_allclose(heard.logits[1:], embedder.embed_audio(waveforms[1:]).logits, rtol=1e-4, atol=1e-5)
    assert capsys.readouterr().out == ""


def test_logits_are_the_files_own_layer_on_the_features(passt, tmp_path):
    """`head` is a layer norm and a linear layer on the features; both from the tensors of the file."""
    tensors = torch.load(tmp_path / FILE, weights_only=True)
    heard = registry.get("passt").load().embed_audio(clips(1.0))
    features = torch.from_numpy(heard.embedding)
    normed = (features - features.mean(1, keepdim=True)) / (features.var(1, correction=0, keepdim=True) + 1e-5).sqrt()
    normed = normed * tensors["head.0.weight"] + tensors["head.0.bias"]
    expected = normed @ tensors["head.1.weight"].T + tensors["head.1.bias"]
    np.testing.assert_allclose(heard.logits, expected.numpy(), rtol=1e-4, atol=1e-5)


def test_the_front_end_is_that_of_an_independent_computation(passt):
    """Pre-emphasis, 25 ms Hann windows every 10 ms in frames of 1024, Kaldi's 128 mel triangles up to 15 kHz, log."""
    waveform = clips(1.0)[0].astype(np.float64)
    emphasised = waveform[1:] - 0.97 * waveform[:-1]
    window = np.pad(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(800) / 799), 112)
    padded = np.pad(emphasised, 512, mode="reflect")
    frames = np.stack([padded[at : at + 1024] * window for at in range(0, len(padded) - 1023, 320)])
    power = np.abs(np.fft.rfft(frames)) ** 2
    edges = np.linspace(0, 1127 * math.log(1 + 15_000 / 700), 130)
    mel = 1127 * np.log(1 + np.arange(513) * 32_000 / 1024 / 700)
    bands = np.stack([np.interp(mel, edges[i : i + 3], [0, 1, 0], left=0, right=0) for i in range(128)])
    bands[:, 512] = 0
    expected = (np.log(power @ bands.T + 1e-5) + 4.5) / 5
    front_end = registry.get("passt").load()._scenes.mel
    with passt._quiet(), torch.inference_mode():
        picture = front_end(torch.from_numpy(waveform).float()[None])[0].T
    np.testing.assert_allclose(picture.numpy(), expected, atol=2e-3)


def test_a_longer_clip_is_the_mean_of_its_windows(passt):
    embedder = registry.get("passt").load()
    long = clips(10.24)
    padded = np.pad(long, [(0, 0), (160_000, 160_000)], mode="reflect")
    parts = [padded[:, at : at + 320_000] for at in range(0, padded.shape[1] - 319_999, 80_000)]
    assert len(parts) == 5
    expected = np.mean([embedder.embed_audio(part).embedding for part in parts], axis=0)
    np.testing.assert_allclose(embedder.embed_audio(long).embedding, expected, rtol=1e-4, atol=1e-5)


def test_another_file_is_refused_in_one_line(passt, tmp_path):
    torch.save({"cls_token": torch.zeros(1, 1, 24)}, tmp_path / FILE)
    with pytest.raises(CheckpointError, match="lacks blocks"):
        registry.get("passt").load()
