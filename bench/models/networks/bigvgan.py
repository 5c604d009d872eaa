"""The generator of BigVGAN (Lee et al. 2022, arXiv 2206.04658): log-mel spectrograms to waveforms.

HiFi-GAN's upsampling with the residual blocks of section 3.2: each nonlinearity is a periodic Snake, computed at twice
the rate and filtered on the way up and down, so that the frequencies that it makes do not alias (anti-aliased
multi-periodicity, AMP). The filters are StyleGAN3's (Karras et al. 2021, appendix C.1): sinc under a Kaiser window.
Parameters and buffers have the names of the published generators, weight normalisation folded.
"""

from __future__ import annotations

from math import pi, prod
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, model_validator
from torch import Tensor, nn

TAPS = 12
"""Of either filter: 6 for each of the two samples that stand for one."""
TRANSITION = 0.6
"""Half the width of the transition band, in units of the sampling rate before upsampling."""


class BigVGANConfig(BaseModel):
    """What an args.yml says of the generator; its keys for training are passed over."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    num_mels: int
    upsample_initial_channel: int
    upsample_rates: tuple[int, ...]
    upsample_kernel_sizes: tuple[int, ...]
    resblock: Literal["1"]
    """AMP blocks of pairs of convolutions, the second of each not dilated: the published ones."""
    resblock_kernel_sizes: tuple[int, ...]
    resblock_dilation_sizes: tuple[tuple[int, ...], ...]
    activation: Literal["snake", "snakebeta"]
    snake_logscale: bool
    """Whether alpha and beta are stored as logarithms."""

    @model_validator(mode="after")
    def _pairs(self) -> BigVGANConfig:
        if len(self.upsample_rates) != len(self.upsample_kernel_sizes):
            raise ValueError("expected as many upsample_rates as upsample_kernel_sizes")
        if len(self.resblock_kernel_sizes) != len(self.resblock_dilation_sizes):
            raise ValueError("expected as many resblock_kernel_sizes as resblock_dilation_sizes")
        return self

    def to_dict(self) -> dict[str, Any]:
        """Plain values by key, as a configuration of transformers has them."""
        return self.model_dump(mode="json")

    @property
    def hop(self) -> int:
        """Samples for one frame."""
        return prod(self.upsample_rates)


class BigVGAN(nn.Module):
    """Log-mel spectrograms (n, frames, num_mels) -> waveforms (n, frames * hop), full scale 1."""

    config_class = BigVGANConfig

    def __init__(self, config: BigVGANConfig) -> None:
        super().__init__()
        self.config = config
        width = config.upsample_initial_channel
        self.conv_pre = nn.Conv1d(config.num_mels, width, 7, padding=3)
        self.ups, self.resblocks = nn.ModuleList(), nn.ModuleList()
        for rate, kernel in zip(config.upsample_rates, config.upsample_kernel_sizes, strict=True):
            grow = nn.ConvTranspose1d(width, width // 2, kernel, rate, padding=(kernel - rate) // 2)
            self.ups.append(nn.Sequential(grow))  # one of one: the published names count that level too
            width //= 2
            for size, dilations in zip(config.resblock_kernel_sizes, config.resblock_dilation_sizes, strict=True):
                self.resblocks.append(AMPBlock(width, size, dilations, config))
        self.activation_post = AntiAliased(width, config)
        self.conv_post = nn.Conv1d(width, 1, 7, padding=3)

    def forward(self, spectrogram: Tensor) -> Tensor:
        """See the class."""
        x = self.conv_pre(spectrogram.transpose(1, 2))
        branches = len(self.config.resblock_kernel_sizes)
        for level, grow in enumerate(self.ups):
            x = grow(x)
            blocks = self.resblocks[level * branches : (level + 1) * branches]
            x = sum(block(x) for block in blocks) / branches
        waveforms: Tensor = torch.tanh(self.conv_post(self.activation_post(x)))[:, 0]
        return waveforms


class AMPBlock(nn.Module):
    """Residual pairs of a dilated and a plain convolution, each after a nonlinearity: (n, channels, t) -> the same."""

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...], config: BigVGANConfig) -> None:
        super().__init__()

        def convolution(dilation: int) -> nn.Conv1d:
            return nn.Conv1d(channels, channels, kernel, dilation=dilation, padding=dilation * (kernel - 1) // 2)

        self.convs1 = nn.ModuleList(convolution(dilation) for dilation in dilations)
        self.convs2 = nn.ModuleList(convolution(1) for _ in dilations)
        # in the order in which they run: before the first of a pair, before the second
        self.activations = nn.ModuleList(AntiAliased(channels, config) for _ in range(2 * len(dilations)))

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        for pair, (dilated, plain) in enumerate(zip(self.convs1, self.convs2, strict=True)):
            h = dilated(self.activations[2 * pair](x))
            x = x + plain(self.activations[2 * pair + 1](h))
        return x


class AntiAliased(nn.Module):
    """Snake at twice the rate, between an interpolating and a decimating low-pass: (n, channels, t) -> the same."""

    def __init__(self, channels: int, config: BigVGANConfig) -> None:
        super().__init__()
        self.act = Snake(channels, beta=config.activation == "snakebeta", logscale=config.snake_logscale)
        self.upsample = Upsample()
        self.downsample = Downsample()

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        made: Tensor = self.downsample(self.act(self.upsample(x)))
        return made


class Snake(nn.Module):
    """``x + sin(alpha x)^2 / beta`` for each channel; in plain Snake beta is alpha (Ziyin et al. 2020, eq. 3)."""

    def __init__(self, channels: int, *, beta: bool, logscale: bool) -> None:
        super().__init__()
        start = torch.zeros(channels) if logscale else torch.ones(channels)
        self.alpha = nn.Parameter(start)
        self.beta = nn.Parameter(start.clone()) if beta else None
        self.logscale = logscale

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, t) -> the same."""
        alpha = self.alpha[:, None]
        beta = alpha if self.beta is None else self.beta[:, None]
        if self.logscale:
            alpha, beta = alpha.exp(), beta.exp()
        return x + (alpha * x).sin().square() / (beta + 1e-9)


class Upsample(nn.Module):
    """Interpolates to twice the rate: (n, channels, t) -> (n, channels, 2 t); the ends are held."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("filter", low_pass())

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        held = TAPS // 2 - 1  # so many neighbours does an output see on either side
        padded = F.pad(x, (held, held), mode="replicate")
        channels = x.shape[1]
        kernel = self.get_buffer("filter").expand(channels, 1, TAPS)
        # a zero between every two samples halves the level: twice the filter
        full = F.conv_transpose1d(padded, 2 * kernel, stride=2, groups=channels)
        # without what the padding became, and without the delay of the filter
        start = 2 * held + TAPS // 2 - 1
        return full[..., start : start + 2 * x.shape[-1]]


class Downsample(nn.Module):
    """Decimates to half the rate: (n, channels, 2 t) -> (n, channels, t); the ends are held."""

    def __init__(self) -> None:
        super().__init__()
        self.lowpass = nn.Module()  # holds the filter under its published name
        self.lowpass.register_buffer("filter", low_pass())

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        channels = x.shape[1]
        kernel = self.lowpass.get_buffer("filter").expand(channels, 1, TAPS)
        padded = F.pad(x, (TAPS // 2 - 1, TAPS // 2), mode="replicate")
        return F.conv1d(padded, kernel, stride=2, groups=channels)


def low_pass() -> Tensor:
    """The filter that passes the lower half of the band: (1, 1, TAPS), of sum 1, on the CPU.

    Kaiser's formulas give the window's beta from the transition width: attenuation A = 2.285 (n - 1) width + 7.95 dB,
    with n the taps at the lower rate and the width in radians, and beta = 0.1102 (A - 8.7) above 50 dB.
    """
    attenuation = 2.285 * (TAPS // 2 - 1) * 2 * TRANSITION * pi + 7.95
    beta = 0.1102 * (attenuation - 8.7)
    # on the CPU also where the module is built without memory: a file that lacks the filters must not get empty ones
    window = torch.kaiser_window(TAPS, periodic=False, beta=beta, device="cpu")
    time = torch.arange(TAPS, device="cpu") - (TAPS - 1) / 2
    response = window * torch.sinc(time / 2)
    return (response / response.sum())[None, None]
