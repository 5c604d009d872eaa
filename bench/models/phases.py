"""Phases for magnitude spectrograms by the fast Griffin-Lim iteration, clip by clip so that it works in the cache.

The iteration is that of `torchaudio.functional.griffinlim` (Perraudin, Balazs, Sondergaard 2013), from zero phase. It
differs from it in float noise, and takes half the time: arrays of one clip at a time, overlapping frames added hop by
hop, the squared windows summed once, and no complex division.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

_SMALLEST = 1e-16
"""Added to a magnitude before division by it."""


def griffin_lim(magnitude: Tensor, n_fft: int, hop: int, *, iterations: int, momentum: float) -> Tensor:
    """Return waveforms, float32 (n, (frames - 1) * hop), whose centred spectrograms have magnitudes close to the given.

    Args:
        magnitude: float32 (n, frames, n_fft // 2 + 1), of a periodic Hann window of `n_fft` samples.
        n_fft: samples of a frame.
        hop: samples from one frame to the next, at most half a frame.
        iterations: more come closer.
        momentum: 0 (the iteration of Griffin and Lim) to less than 1.
    """
    return torch.stack([_one(clip, n_fft, hop, iterations, momentum) for clip in magnitude])


def _one(magnitude: Tensor, n_fft: int, hop: int, iterations: int, momentum: float) -> Tensor:
    window = torch.hann_window(n_fft, device=magnitude.device)
    weight = _added(window.square().expand(len(magnitude), n_fft), hop).reciprocal()
    kept = momentum / (1 + momentum)
    spectrum, before = torch.complex(magnitude, torch.zeros_like(magnitude)), None
    for _ in range(iterations):
        waveform = _added(torch.fft.irfft(spectrum, n_fft).mul_(window), hop).mul_(weight)
        padded = F.pad(waveform[None], (n_fft // 2, n_fft // 2), mode="reflect")[0]
        rebuilt = torch.fft.rfft(padded.unfold(0, n_fft, hop) * window)
        ahead = rebuilt if before is None else torch.sub(rebuilt, before, alpha=kept)
        before = rebuilt
        # magnitude * ahead / |ahead|, in real numbers: complex ones are divided far slower
        scale = magnitude / ahead.abs().add_(_SMALLEST)
        spectrum = torch.view_as_complex(torch.view_as_real(ahead) * torch.stack([scale, scale], -1))
    return _added(torch.fft.irfft(spectrum, n_fft).mul_(window), hop).mul_(weight)


def _added(frames: Tensor, hop: int) -> Tensor:
    """Add frames (frames, n_fft) where they overlap; without the half frame at either end, (frames - 1) * hop."""
    count, n_fft = frames.shape
    parts = -(-n_fft // hop)
    hops = frames.new_zeros(count + parts - 1, hop)
    for number in range(parts):
        part = frames[:, number * hop : (number + 1) * hop]
        hops[number : number + count, : part.shape[1]] += part
    start = n_fft // 2
    return hops.view(-1)[start : start + (count - 1) * hop]
