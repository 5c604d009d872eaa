"""A small log-mel CNN of the shape of PANNs' CNN14: the audio half of the embedded judges.

Kong et al. 2020, "PANNs: Large-Scale Pretrained Audio Neural Networks for Audio Pattern Recognition": log-mel input,
batch normalisation per mel band, blocks of two 3x3 convolutions with batch normalisation and ReLU, average pooling
between blocks, mean over frequency, sum of maximum and mean over time, one fully connected layer with ReLU.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchaudio import functional as audio_functional

SAMPLE_RATE = 16_000
N_FFT, HOP, MELS, F_MIN, F_MAX = 512, 320, 64, 50.0, 8000.0


class LogMel(nn.Module):
    """Log-mel power spectrogram in dB as PANNs computes it: (n, samples) -> (n, 1, frames, 64)."""

    filters: Tensor
    window: Tensor

    def __init__(self) -> None:
        super().__init__()
        filters = audio_functional.melscale_fbanks(N_FFT // 2 + 1, F_MIN, F_MAX, MELS, SAMPLE_RATE, "slaney", "slaney")
        self.register_buffer("filters", filters, persistent=False)
        self.register_buffer("window", torch.hann_window(N_FFT), persistent=False)

    def forward(self, waveforms: Tensor) -> Tensor:
        """Waveforms in [-1, 1] at 16 kHz."""
        spectrum = torch.stft(waveforms, N_FFT, HOP, window=self.window, center=True, return_complex=True)
        power = spectrum.real.square() + spectrum.imag.square()
        decibels = 10.0 * (power.transpose(1, 2) @ self.filters).clamp(min=1e-10).log10()
        return decibels[:, None]


class ConvBlock(nn.Sequential):
    """Two 3x3 convolutions, each with batch normalisation and ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )


class AudioCNN(nn.Module):
    """Waveforms (n, samples) at 16 kHz -> embeddings (n, dim), non-negative (after ReLU)."""

    def __init__(self, dim: int = 64, channels: Sequence[int] = (16, 32, 64, 128)) -> None:
        super().__init__()
        self.front_end = LogMel()
        self.normalise = nn.BatchNorm2d(MELS)
        self.blocks = nn.ModuleList(ConvBlock(a, b) for a, b in zip((1, *channels[:-1]), channels, strict=True))
        self.embed = nn.Linear(channels[-1], dim)

    def forward(self, waveforms: Tensor) -> Tensor:
        """See the class."""
        return self.embed_picture(self.front_end(waveforms))

    def embed_picture(self, picture: Tensor) -> Tensor:
        """What `forward` does after the front end: pictures in dB (n, 1, frames, 64) -> (n, dim)."""
        hidden = self.normalise(picture.transpose(1, 3)).transpose(1, 3)
        for number, block in enumerate(self.blocks):
            hidden = block(hidden)
            if number + 1 < len(self.blocks):
                hidden = F.avg_pool2d(hidden, 2)
        over_time = hidden.mean(dim=3)
        pooled = over_time.amax(dim=2) + over_time.mean(dim=2)
        embedding: Tensor = F.relu(self.embed(pooled))
        return embedding
