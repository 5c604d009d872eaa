"""VGGish loads the published state dictionary by its own names and computes what its authors' description says."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from admbench.errors import CheckpointError
from admbench.hashing import sha256_file
from admbench.metrics.embedders import registry, vggish
from admbench.metrics.embedders.vggish import VGGish, examples, mel_bands

SMALL = {"channels": (2, 3, 4, 4, 5, 5), "hidden": 7, "dim": 6}
CONVOLUTIONS = (0, 3, 6, 8, 11, 13)  # places of the published names among ReLUs and poolings
POOLED = (0, 3, 8, 13)


def published_shapes(channels=(64, 128, 256, 256, 512, 512), hidden=4096, dim=128):
    """Names and shapes of the published file, as torchvggish's modules name them."""
    shapes = {}
    for place, inputs, outputs in zip(CONVOLUTIONS, (1, *channels[:-1]), channels, strict=True):
        shapes |= {f"features.{place}.weight": (outputs, inputs, 3, 3), f"features.{place}.bias": (outputs,)}
    for place, (inputs, outputs) in {0: (24 * channels[-1], hidden), 2: (hidden, hidden), 4: (hidden, dim)}.items():
        shapes |= {f"embeddings.{place}.weight": (outputs, inputs), f"embeddings.{place}.bias": (outputs,)}
    return shapes


def state():
    generator = torch.Generator().manual_seed(0)
    shapes = published_shapes(**SMALL)
    return {
        name: torch.randn(shape, generator=generator) * (2 / math.prod(shape[1:])) ** 0.5
        for name, shape in shapes.items()
    }


def embedded(pictures, tensors):
    """Embeddings of pictures (n, 96, 64), straight from the tensors."""
    hidden = pictures[:, None]
    for place in CONVOLUTIONS:
        hidden = F.conv2d(hidden, tensors[f"features.{place}.weight"], tensors[f"features.{place}.bias"], padding=1)
        hidden = hidden.clamp(min=0)
        if place in POOLED:
            n, channels, frames, bands = hidden.shape
            hidden = hidden.reshape(n, channels, frames // 2, 2, bands // 2, 2).amax(dim=(3, 5))
    flat = torch.einsum("nchw->nhwc", hidden).reshape(len(hidden), -1)
    for place in (0, 2, 4):
        flat = flat @ tensors[f"embeddings.{place}.weight"].T + tensors[f"embeddings.{place}.bias"]
        flat = flat.clamp(min=0) if place < 4 else flat
    return flat


def log_mel(waveform):
    """The front end sample by sample, in numpy: frames, their spectra, triangles between equal steps of mel."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    frames = [waveform[at : at + 400] * window for at in range(0, len(waveform) - 399, 160)]
    magnitudes = np.abs(np.fft.rfft(frames, 512))
    edges = np.linspace(*(1127 * math.log(1 + f / 700) for f in (125, 7500)), 66)
    mel = 1127 * np.log(1 + np.arange(257) * 16_000 / 512 / 700)
    bands = np.stack([np.interp(mel, edges[i : i + 3], [0, 1, 0], left=0, right=0) for i in range(64)])
    bands[:, 0] = 0
    return np.log(magnitudes @ bands.T + 0.01)


def clips(n, seconds):
    generator = torch.Generator().manual_seed(1)
    return (0.1 * torch.randn(n, int(seconds * 16_000), generator=generator)).numpy()


def test_the_network_has_exactly_the_tensors_of_the_published_file():
    with torch.device("meta"):
        network = VGGish()
    assert {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()} == published_shapes()


def test_the_front_end_is_that_of_an_independent_computation():
    waveform = clips(1, 2.5)[0].astype(np.float64)
    pictures = examples(torch.from_numpy(waveform)[None])
    assert pictures.shape == (1, 2, 96, 64), "two whole examples; the half one is dropped"
    np.testing.assert_allclose(pictures[0].flatten(0, 1), log_mel(waveform)[:192], atol=1e-5)


def test_a_tone_is_loudest_in_the_band_that_holds_it():
    assert mel_bands().shape == (257, 64)
    tone = torch.sin(2 * torch.pi * 1000 * torch.arange(16_000) / 16_000)[None]
    centres = np.linspace(*(1127 * math.log(1 + f / 700) for f in (125, 7500)), 66)[1:-1]
    nearest = int(np.abs(centres - 1127 * math.log(1 + 1000 / 700)).argmin())
    assert int(examples(tone).mean(dim=(0, 1, 2)).argmax()) == nearest


def test_silence_is_the_logarithm_of_the_offset():
    assert torch.allclose(examples(torch.zeros(1, 16_000)), torch.tensor(math.log(0.01)))


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A folder of weights with a file as it was published, of a small network."""
    monkeypatch.setattr(vggish.VGGish.__init__, "__defaults__", tuple(SMALL.values()))
    monkeypatch.setenv("ADMBENCH_WEIGHTS", str(tmp_path))
    torch.save(state(), tmp_path / "vggish-10086976.pth")
    return tmp_path / "vggish-10086976.pth"


def test_a_published_file_is_found_by_name_and_hears_every_window(weights):
    judge = registry.get("vggish")
    embedder = judge.load()
    assert (embedder.name, embedder.sample_rate, embedder.embedding_dim) == ("vggish", 16_000, 6)
    assert embedder.sha256 == judge.fingerprint() == sha256_file(weights)
    waveforms = clips(3, 3.0)
    heard = embedder.embed_audio(waveforms)
    assert heard.windows.shape == (3, 3, 6)
    pictures = torch.tensor(np.stack([log_mel(one)[:288] for one in waveforms])).float().reshape(9, 96, 64)
    expected = embedded(pictures, state()).reshape(3, 3, 6)
    assert expected.min() < 0, "before any activation"
    assert np.abs(heard.windows - expected.numpy()).max() < 1e-4 * expected.abs().max()
    np.testing.assert_allclose(heard.embedding, heard.windows.mean(axis=1), rtol=1e-5)
    assert heard.logits is None


def test_a_clip_shorter_than_an_example_counts_as_followed_by_silence(weights):
    embedder, short = registry.get("vggish").load(), clips(1, 0.5)
    padded = np.pad(short, [(0, 0), (0, 15_600 - short.shape[1])])
    np.testing.assert_array_equal(embedder.embed_audio(short).windows, embedder.embed_audio(padded).windows)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"features.0.weight": torch.zeros(1)}, r"lacks embeddings\.0\.bias"),
        ({"model": {}}, "expected a dictionary with the tensors"),
    ],
)
def test_another_file_is_refused_in_one_line(weights, content, message):
    torch.save(content, weights)
    with pytest.raises(CheckpointError, match=message) as refused:
        registry.get("vggish").load()
    assert "\n" not in str(refused.value)
