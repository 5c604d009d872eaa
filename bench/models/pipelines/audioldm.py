"""AudioLDM's route: CLAP's text embedding as a class, latents of mel spectrograms, HiFi-GAN.

As diffusers' pipeline runs it, and as the authors' own program does. Facts of the latter from
github.com/haoheliu/AudioLDM (audioldm/pipeline.py, ldm.py, utils.py, latent_diffusion/ddim.py).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from numpy.typing import NDArray
from torch import Tensor

from admbench.bench.models.base import AudioDiffusionModel
from admbench.bench.models.conditioning import ClapEmbedding, limit_roberta_tokens
from admbench.bench.models.networks.published_sizes import attention_heads
from admbench.bench.models.pipelines.mel_latents import MelLatents
from admbench.bench.models.pipelines.parts import Parts, networks
from admbench.bench.models.samplers import check_has_sampler
from admbench.bench.models.sampling import Sampling
from admbench.errors import CheckpointError, CheckpointWarning

SECONDS = 10.0
AUTHORS_SECOND = 1.024
"""Seconds that the authors' program makes for each one that is asked for: 25.6 latent frames, of 25 a second."""
CONVERTED_HEADS = 8
"""What diffusers' conversion script leaves of the number of attention heads: its default, at every level."""
FAR, CLIP = 100.0, 10.0
"""Latents that reach further than the first are clipped at the second, before they are decoded."""


class AuthorsAudioLDM(AudioDiffusionModel):
    """AudioLDM as its authors' program samples it: DDIM with all of DDPM's noise, 256 latent frames for 10 s, a clip.

    Departures: latents are clipped clip by clip (there all of a batch, if one of it reaches far), and the clip ends at
    the length that was asked for (10 s make 10.24 s there). Lengths that are no multiple of 2.5 s, which the program
    refuses, have frames enough to cover them. The choice among candidates is `admbench.bench.scoring.candidates`.
    """

    def decode(self, latents: Tensor) -> NDArray[np.float32]:
        """See the base class; latents (n, channels, frames, bands) of a clip that reaches far are clipped."""
        far = latents.abs().amax(dim=tuple(range(1, latents.ndim)), keepdim=True) > FAR
        return super().decode(torch.where(far, latents.clamp(-CLIP, CLIP), latents))

    def set_sampler(self, name: str | None) -> None:
        """See the base class; the authors' sampler is what this model is about."""
        check_has_sampler(self.name, (), name)

    def _latent_frames(self, seconds: float, rate: float) -> int:
        return max(int(round(seconds * AUTHORS_SECOND * rate, 6)), super()._latent_frames(seconds, rate))

    def _sampling(self, steps: int, generators: Sequence[torch.Generator]) -> Sampling:
        return Sampling(self._scheduler, steps, generators, eta=1.0)


def assemble(parts: Parts, known: dict[str, Any]) -> AudioDiffusionModel:
    """Make the model of the pipeline's parts, as diffusers' pipeline runs it."""
    expected = authors_heads(parts["backbone"])
    if expected is not None and not known.get("random_weights"):
        warnings.warn(
            f"{known['name']}: unet/config.json gives {CONVERTED_HEADS} attention heads to every level, as diffusers'"
            f" conversion script leaves it; AudioLDM was trained with {list(expected)}: other numbers come out. Write"
            f' "attention_head_dim": {list(expected)} there if the weights are AudioLDM\'s',
            CheckpointWarning,
            stacklevel=2,
        )
    return _assemble(AudioDiffusionModel, parts, known)


def assemble_as_authors(parts: Parts, known: dict[str, Any]) -> AudioDiffusionModel:
    """Make the model of the pipeline's parts with its authors' attention heads and sampling.

    Heads are the authors' where the folder has the conversion script's; a folder that names others has them.

    Raises:
        CheckpointError: the folder names another scheduler than DDIM, by which the authors sample.
    """
    sampler = type(parts["scheduler"]).__name__
    if sampler != "DDIMScheduler":
        raise CheckpointError(
            f"{known['name']}: the folder names {sampler}; the authors sample by DDIM: expected DDIMScheduler, or the"
            f" name {known['name'].removesuffix('-authors')}"
        )
    heads = authors_heads(parts["backbone"])
    if heads is not None:
        parts = {**parts, "backbone": with_heads(parts["backbone"], heads)}
    return _assemble(AuthorsAudioLDM, parts, known)


def authors_heads(unet: UNet2DConditionModel) -> tuple[int, ...] | None:
    """Return the authors' attention heads of each level, where a U-Net of a published size has the conversion's.

    Returns:
        None for a U-Net of another size, or with other heads than 8 at every level.
    """
    config: Any = unet.config
    found, widths = config["attention_head_dim"], tuple(config["block_out_channels"])
    named = {found} if isinstance(found, int) else set(found)
    return attention_heads(widths) if named == {CONVERTED_HEADS} else None


def with_heads(unet: UNet2DConditionModel, heads: tuple[int, ...]) -> UNet2DConditionModel:
    """Return a U-Net of the same tensors, its attention split into so many heads at each level."""
    # a configuration remembers which of its values were left out, and would take the default for them once more
    config = {name: value for name, value in dict(unet.config).items() if name != "_use_default_values"}
    with torch.device("meta"):
        made: Any = UNet2DConditionModel.from_config(config | {"attention_head_dim": heads})
    made.load_state_dict(unet.state_dict(), assign=True)
    made.eval()
    return made


def _assemble(model: type[AudioDiffusionModel], parts: Parts, known: dict[str, Any]) -> AudioDiffusionModel:
    encoder = parts["text_encoder"]
    limit_roberta_tokens(parts["tokenizer"], encoder.config)
    latents = MelLatents(parts["vae"], parts["vocoder"])
    conditioner = ClapEmbedding(parts["tokenizer"], encoder)
    card = latents.card(parts["backbone"], SECONDS, known)
    made = model(card, networks(parts), conditioner, parts["scheduler"], latents.decoder())
    frames = made._latent_frames(made.seconds, latents.latent_rate)
    made.card = replace(card, latent_shape=(card.latent_shape[0], frames, card.latent_shape[2]))
    return made
