"""VGGish: the embedding that the Frechet audio distance (FAD) was defined with.

Hershey et al. 2017, "CNN Architectures for Large-Scale Audio Classification" (network), Kilgour et al. 2019 (FAD).
Facts from github.com/tensorflow/models (research/audioset/vggish): sound at 16 kHz, windows of 25 ms every 10 ms under
a periodic Hann, magnitudes of a Fourier transform of 512, 64 bands from 125 to 7500 Hz that are triangles on the mel
scale, log(mel + 0.01), examples of 96 frames without overlap, an incomplete one dropped; six 3x3 convolutions with ReLU
and four 2x2 max poolings; two layers of 4096 with ReLU, and 128 numbers before any activation.

Modules are named as in the state dictionary that torchvggish publishes, converted from the original checkpoint;
flattening is channels last, as in the original. The whitening and 8-bit rounding that AudioSet's released embeddings
went through are no part of FAD.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from admbench.hashing import sha256_file
from admbench.metrics.embedders.base import AudioFeatures
from admbench.metrics.embedders.published import load_pickle, load_strictly

SAMPLE_RATE = 16_000
WINDOW, HOP, N_FFT = 400, 160, 512
MELS, F_MIN, F_MAX = 64, 125.0, 7500.0
LOG_OFFSET = 0.01
FRAMES = 96
"""Of an example: 0.96 s."""
CHANNELS = (64, 128, 256, 256, 512, 512)
POOLED_AFTER = (0, 1, 3, 5)
"""Convolutions that a max pooling follows."""
HIDDEN = 4096
DIM = 128
EXAMPLES_AT_A_TIME = 64


def mel_bands() -> Tensor:
    """The weights of magnitudes in bands, (257, 64): triangles whose sides are straight on the mel scale.

    On the scale of 1127 ln(1 + f / 700); the constant component belongs to no band.
    """
    mel = 1127.0 * torch.log1p(torch.linspace(0, SAMPLE_RATE / 2, N_FFT // 2 + 1, dtype=torch.float64) / 700.0)
    low, high = (1127.0 * float(np.log1p(frequency / 700.0)) for frequency in (F_MIN, F_MAX))
    edges = torch.linspace(low, high, MELS + 2, dtype=torch.float64)
    rising = (mel[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - mel[:, None]) / (edges[2:] - edges[1:-1])
    bands = torch.minimum(rising, falling).clamp(min=0.0)
    bands[0] = 0.0
    return bands.float()


def examples(waveforms: Tensor) -> Tensor:
    """Waveforms (n, samples) in [-1, 1] at 16 kHz, 0.975 s or more -> log-mel pictures (n, examples, 96, 64)."""
    frames = waveforms.unfold(1, WINDOW, HOP) * torch.hann_window(WINDOW, dtype=waveforms.dtype)
    mel = torch.fft.rfft(frames, N_FFT).abs() @ mel_bands().to(waveforms.dtype)
    count = mel.shape[1] // FRAMES
    return (mel[:, : count * FRAMES] + LOG_OFFSET).log().unflatten(1, (count, FRAMES))


class VGGish(nn.Module):
    """Pictures (n, 96, 64) -> embeddings (n, dim).

    The defaults are the published sizes; others serve tests.
    """

    def __init__(self, channels: tuple[int, ...] = CHANNELS, hidden: int = HIDDEN, dim: int = DIM) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for number, (inputs, outputs) in enumerate(zip((1, *channels[:-1]), channels, strict=True)):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
            if number in POOLED_AFTER:
                layers.append(nn.MaxPool2d(2, 2))
        shrink = 2 ** len(POOLED_AFTER)
        flat = channels[-1] * (FRAMES // shrink) * (MELS // shrink)
        self.features = nn.Sequential(*layers)
        self.embeddings = nn.Sequential(
            nn.Linear(flat, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, dim)
        )

    def forward(self, pictures: Tensor) -> Tensor:
        """See the class."""
        hidden = self.features(pictures[:, None])
        embedded: Tensor = self.embeddings(hidden.permute(0, 2, 3, 1).flatten(1))
        return embedded


class VGGishEmbedder:
    """A VGGish as a :class:`admbench.metrics.embedders.base.AudioEmbedder`; without classes."""

    name = "vggish"
    sample_rate = SAMPLE_RATE

    def __init__(self, network: VGGish, sha256: str) -> None:
        self.network, self.sha256 = network.eval(), sha256
        last = network.embeddings[-1]
        assert isinstance(last, nn.Linear)
        self.embedding_dim = last.out_features

    @torch.inference_mode()
    def embed_audio(self, waveforms: NDArray[np.float32]) -> AudioFeatures:
        """Embeddings of float32 waveforms (n, samples) in [-1, 1] at 16 kHz: of each example, and their mean per clip.

        Clips shorter than an example are followed by silence up to it.
        """
        clips = torch.from_numpy(np.ascontiguousarray(waveforms))
        least = WINDOW + HOP * (FRAMES - 1)
        pictures = examples(F.pad(clips, (0, max(0, least - clips.shape[1]))))
        parts = pictures.flatten(0, 1).split(EXAMPLES_AT_A_TIME)
        windows = torch.cat([self.network(part) for part in parts]).unflatten(0, pictures.shape[:2])
        return AudioFeatures(embedding=windows.mean(dim=1).numpy(), logits=None, windows=windows.numpy())


def load_vggish(path: Path) -> VGGishEmbedder:
    """Load the published state dictionary, strictly by its own names.

    Raises:
        CheckpointError: it is another network's, or not readable; names the file.
    """
    with torch.device("meta"):
        network = VGGish()
    load_strictly(network, load_pickle(path, None), path)
    return VGGishEmbedder(network, sha256_file(path))
