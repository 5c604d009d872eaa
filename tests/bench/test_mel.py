"""Log-mel spectrograms and Griffin-Lim, on physical signals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torchaudio

from admbench.bench.models import phases
from admbench.bench.models.mel import MelSpec, griffin_lim, log_mel

SPECS = [MelSpec(hop=160, n_mels=64), MelSpec(hop=256, n_mels=80)]


def tone(frequency: float, samples: int = 40_960) -> torch.Tensor:
    time = torch.arange(samples) / 16_000
    return 0.3 * torch.sin(2 * torch.pi * frequency * time)[None]


@pytest.mark.parametrize("spec", SPECS)
def test_a_clip_gives_samples_over_hop_frames(spec):
    assert log_mel(tone(440), spec).shape == (1, 40_960 // spec.hop, spec.n_mels)


@pytest.mark.parametrize("spec", SPECS)
def test_silence_is_the_floor(spec):
    spectrogram = log_mel(torch.zeros(1, 40_960), spec) * spec.scale + spec.mean
    assert torch.allclose(spectrogram, torch.full_like(spectrogram, np.log(1e-5)), atol=1e-3)


@pytest.mark.parametrize("spec", SPECS)
def test_a_higher_tone_lies_in_a_higher_band(spec):
    bands = [int(log_mel(tone(f), spec).mean(dim=1).argmax()) for f in (200, 800, 2000, 6000)]
    assert bands == sorted(set(bands))


@pytest.mark.parametrize("spec", SPECS)
def test_twice_the_amplitude_is_log_two_higher(spec):
    quiet, loud = log_mel(tone(1000), spec), log_mel(2 * tone(1000), spec)
    band = int(quiet.mean(dim=1).argmax())
    assert torch.allclose(
        (loud - quiet)[0, 5:-5, band] * spec.scale, torch.tensor(np.log(2.0), dtype=torch.float32), atol=1e-3
    )


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("frequency", [300.0, 1000.0, 3000.0])
def test_griffin_lim_keeps_the_pitch_of_a_tone(spec, frequency):
    made = griffin_lim(log_mel(tone(frequency), spec), spec)[0].numpy()
    assert made.shape == (40_960,)
    peak = np.abs(np.fft.rfft(made)).argmax() * 16_000 / 40_960
    width = 0.1 * frequency + 50  # a mel band is wider at high frequencies
    assert abs(peak - frequency) < width


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("momentum", [0.0, 0.99])
def test_phases_are_those_of_torchaudio(spec, momentum):
    """But for float noise, which the iteration lets grow: 1e-4 of the loudest sample after four of them."""
    clips = torch.cat([tone(500), tone(3000)]) + 0.1 * torch.randn(
        2, 40_960, generator=torch.Generator().manual_seed(0)
    )
    window = torch.hann_window(spec.n_fft)
    magnitude = torch.stft(clips, spec.n_fft, spec.hop, window=window, return_complex=True).abs()
    length = (magnitude.shape[-1] - 1) * spec.hop
    theirs = torchaudio.functional.griffinlim(
        magnitude, window, spec.n_fft, spec.hop, spec.n_fft, 1.0, 4, momentum, length, rand_init=False
    )
    ours = phases.griffin_lim(magnitude.transpose(1, 2), spec.n_fft, spec.hop, iterations=4, momentum=momentum)
    assert ours.shape == (2, length)
    assert (ours - theirs).abs().max() < 1e-4 * theirs.abs().max()


def test_a_clip_is_heard_alike_whatever_is_beside_it():
    both = log_mel(torch.cat([tone(500), tone(800)]), SPECS[0])
    assert torch.equal(griffin_lim(both, SPECS[0])[1:], griffin_lim(both[1:], SPECS[0]))


def test_griffin_lim_is_deterministic():
    spectrogram = log_mel(tone(500), SPECS[0])
    assert torch.equal(griffin_lim(spectrogram, SPECS[0], 4), griffin_lim(spectrogram, SPECS[0], 4))
