"""Flow matching over latents of sound: noise levels of the model's own, clips of any length, mono of what it makes.

A clip is made of whole latent frames, as many as cover it, and cut to its length; where the autoencoder is stereo, a
clip has both channels; the networks that judge it hear their mean.

Departures that all families of it share: they follow their pipeline's call with one prompt, so padding, which ACE-Step
and LongCat-AudioDiT attend to or convolve over in larger calls, is masked here. Editing, inpainting and following audio
are missing.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import ceil
from typing import Any, ClassVar

import torch
from torch import Tensor

from admbench.bench.models.base import AudioDiffusionModel, ModelCard, without_single_channel
from admbench.bench.models.conditioning import Conditioner
from admbench.bench.models.pipelines.parts import Parts, networks
from admbench.bench.models.sampling import Sampling
from admbench.errors import UsageError


class SoundFlowModel(AudioDiffusionModel):
    """A diffusion transformer that predicts velocities.

    Args:
        parts: the pipeline's, among them `vae` and `scheduler`.
        card: facts; `seconds` is the length of a clip unless another is asked for.
        conditioner: captions to the transformer's conditioning.
        longest: seconds of the longest clip.
    """

    frames_first: ClassVar[bool] = False
    """Whether a latent is (frames, channels), as of a sequence, and not (channels, frames)."""

    def __init__(self, parts: Parts, card: ModelCard, conditioner: Conditioner, longest: float) -> None:
        decoder = SoundDecoder(parts["vae"], self.finish, frames_first=self.frames_first)
        super().__init__(card, networks(parts), conditioner, parts["scheduler"], decoder)
        self._longest = longest

    @abstractmethod
    def sigmas(self, steps: int) -> list[float]:
        """Noise level of each step, falling from 1."""

    def finish(self, waveforms: Tensor) -> Tensor:
        """What the pipeline does to decoded audio (1, channels, samples); nothing, unless a family does otherwise."""
        return waveforms

    def set_seconds(self, seconds: float) -> None:
        """Makes clips of that length from now on. Raises UsageError for one longer than the model makes."""
        if not 0 < seconds <= self._longest:
            raise UsageError(
                f"{self.name}: generation.seconds = {seconds:g}; expected more than 0 and at most {self._longest:g}"
            )
        channels = self.card.latent_shape[-1 if self.frames_first else 0]
        shape = latent_shape(channels, seconds, self.card.latent_rate or 0.0, frames_first=self.frames_first)
        self.card = replace(self.card, seconds=seconds, latent_shape=shape)

    def _sampling(self, steps: int, generators: Sequence[torch.Generator]) -> Sampling:
        return Sampling(self._scheduler, steps, generators, self.sigmas(steps))


class SoundDecoder:
    """Latents to waveforms, one clip at a time: at an autoencoder's last layers a long clip takes gigabytes.

    Args:
        vae: an autoencoder of diffusers over waveforms.
        finish: what is done to the audio of a clip, (1, channels, samples).
        frames_first: whether latents are (frames, channels).
    """

    def __init__(self, vae: Any, finish: Callable[[Tensor], Tensor], *, frames_first: bool) -> None:
        self.vae, self._finish, self._frames_first = vae, finish, frames_first

    def __call__(self, latents: Tensor) -> Tensor:
        """(n, *latent_shape) to (n, samples) or, of a stereo autoencoder, (n, 2, samples)."""
        upright = latents.transpose(1, 2) if self._frames_first else latents
        clips = [self._finish(self.vae.decode(latent[None]).sample) for latent in upright]
        return without_single_channel(torch.cat(clips))


def latent_shape(channels: int, seconds: float, rate: float, *, frames_first: bool) -> tuple[int, int]:
    """The shape of a latent whose frames, so many a second, cover a clip of so many seconds."""
    frames = ceil(round(seconds * rate, 6))
    return (frames, channels) if frames_first else (channels, frames)
