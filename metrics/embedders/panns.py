"""PANNs CNN14: the AudioSet tagger whose features and class logits published FD, KL and IS are mostly computed with.

Kong et al. 2020, "PANNs: Large-Scale Pretrained Audio Neural Networks for Audio Pattern Recognition" (table 2, section
III): log-mel input, batch normalisation per mel band, six blocks of two 3x3 convolutions with batch normalisation and
ReLU, 2x2 average pooling after all blocks but the last, mean over frequency, sum of maximum and mean over time, a fully
connected layer with ReLU (2048 features), and one to 527 logits of AudioSet's classes. The modules are named as in
the published state dictionaries, which bring their own windowed Fourier and mel matrices: those are used as they are.

Features are the 2048 after the ReLU. Logits are those before the sigmoid: KL and IS take their softmax, which is the
convention of audioldm_eval and av-benchmark, though the classes do not exclude each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from admbench.hashing import sha256_file
from admbench.metrics.embedders.base import AudioFeatures
from admbench.metrics.embedders.published import load_pickle, load_strictly

MELS = 64
CLASSES = 527
CHANNELS = (64, 128, 256, 512, 1024, 2048)
POWER_FLOOR = 1e-10  # powers below it are raised to it before the logarithm, whose reference is 1
AT_A_TIME = 8  # clips: ten seconds of one are 16 million numbers after the first convolution


@dataclass(frozen=True)
class FrontEnd:
    """Sizes of the log-mel front end that a published CNN14 was trained with: periodic Hann window, reflected ends."""

    sample_rate: int
    """Hz."""
    n_fft: int
    """Samples in a window."""
    hop: int
    """Samples between windows."""
    f_min: float
    """Hz, lower edge of the mel bands."""
    f_max: float
    """Hz, upper edge; the bands are on Slaney's scale and of his area normalisation."""


AT_16K = FrontEnd(16_000, 512, 160, 50.0, 8000.0)
AT_32K = FrontEnd(32_000, 1024, 320, 50.0, 14_000.0)


class _Fourier(nn.Module):
    """Windowed discrete Fourier transform as two convolutions."""

    def __init__(self, front_end: FrontEnd) -> None:
        super().__init__()
        bins = front_end.n_fft // 2 + 1
        self.conv_real = nn.Conv1d(1, bins, front_end.n_fft, front_end.hop, bias=False)
        self.conv_imag = nn.Conv1d(1, bins, front_end.n_fft, front_end.hop, bias=False)

    def forward(self, waveforms: Tensor) -> Tensor:
        """Waveforms (n, samples) -> power (n, bins, frames)."""
        margin = self.conv_real.kernel_size[0] // 2
        padded = F.pad(waveforms[:, None], (margin, margin), mode="reflect")
        power: Tensor = self.conv_real(padded).square() + self.conv_imag(padded).square()
        return power


class _Spectrogram(nn.Module):
    def __init__(self, front_end: FrontEnd) -> None:
        super().__init__()
        self.stft = _Fourier(front_end)


class _LogMel(nn.Module):
    def __init__(self, front_end: FrontEnd) -> None:
        super().__init__()
        self.melW = nn.Parameter(torch.empty(front_end.n_fft // 2 + 1, MELS))  # (bins, mel bands), the published name


class _Block(nn.Module):
    """Two 3x3 convolutions, each with batch normalisation and ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.bn2 = nn.BatchNorm2d(outputs)

    def forward(self, hidden: Tensor) -> Tensor:
        hidden = F.relu(self.bn1(self.conv1(hidden)))
        return F.relu(self.bn2(self.conv2(hidden)))


class Cnn14(nn.Module):
    """Waveforms (n, samples) -> features (n, channels[-1]), not negative, and logits (n, classes).

    The defaults are the published sizes; others serve tests.
    """

    def __init__(self, front_end: FrontEnd, channels: tuple[int, ...] = CHANNELS, classes: int = CLASSES) -> None:
        super().__init__()
        self.front_end = front_end
        self.spectrogram_extractor = _Spectrogram(front_end)
        self.logmel_extractor = _LogMel(front_end)
        self.bn0 = nn.BatchNorm2d(MELS)
        for number, (inputs, outputs) in enumerate(zip((1, *channels[:-1]), channels, strict=True), start=1):
            self.add_module(f"conv_block{number}", _Block(inputs, outputs))
        self.fc1 = nn.Linear(channels[-1], channels[-1])
        self.fc_audioset = nn.Linear(channels[-1], classes)
        self.blocks = len(channels)

    @property
    def minimum_samples(self) -> int:
        """Samples of the shortest clip that leaves a frame after all poolings; 0.31 s at the published sizes."""
        return self.front_end.hop * (2 ** (self.blocks - 1) - 1)

    def log_mel(self, waveforms: Tensor) -> Tensor:
        """Waveforms (n, samples) in [-1, 1] -> log-mel power in dB, (n, 1, frames, 64)."""
        power = self.spectrogram_extractor.stft(waveforms)
        mel = power.transpose(1, 2) @ self.logmel_extractor.melW
        return 10 * mel.clamp(min=POWER_FLOOR).log10()[:, None]

    def forward(self, waveforms: Tensor) -> tuple[Tensor, Tensor]:
        """See the class; clips shorter than `minimum_samples` are followed by silence up to that length."""
        waveforms = F.pad(waveforms, (0, max(0, self.minimum_samples - waveforms.shape[1])))
        hidden = self.bn0(self.log_mel(waveforms).transpose(1, 3)).transpose(1, 3)
        for number in range(1, self.blocks + 1):
            hidden = self.get_submodule(f"conv_block{number}")(hidden)
            if number < self.blocks:
                hidden = F.avg_pool2d(hidden, 2)
        over_time = hidden.mean(dim=3)
        features = F.relu(self.fc1(over_time.amax(dim=2) + over_time.mean(dim=2)))
        return features, self.fc_audioset(features)


class PannsTagger:
    """A CNN14 as a :class:`admbench.metrics.embedders.base.AudioEmbedder`."""

    def __init__(self, name: str, network: Cnn14, sha256: str) -> None:
        self.name, self.network, self.sha256 = name, network.eval(), sha256
        self.sample_rate = network.front_end.sample_rate
        self.embedding_dim = network.fc1.out_features

    @torch.inference_mode()
    def embed_audio(self, waveforms: NDArray[np.float32]) -> AudioFeatures:
        """Features (n, 2048) and logits (n, 527) of float32 waveforms (n, samples) in [-1, 1] at `sample_rate`."""
        parts = torch.from_numpy(np.ascontiguousarray(waveforms)).split(AT_A_TIME)
        features, logits = zip(*(self.network(part) for part in parts), strict=True)
        return AudioFeatures(embedding=torch.cat(features).numpy(), logits=torch.cat(logits).numpy())


def load_cnn14(name: str, path: Path, front_end: FrontEnd) -> PannsTagger:
    """Load a published state dictionary, strictly by its own names.

    Raises:
        CheckpointError: it is another network's, or not readable; names the file.
    """
    with torch.device("meta"):
        network = Cnn14(front_end)
    load_strictly(network, load_pickle(path, "model"), path)
    return PannsTagger(name, network, sha256_file(path))
