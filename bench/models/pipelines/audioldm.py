"""AudioLDM's route: CLAP's text embedding as a class, latents of mel spectrograms, HiFi-GAN."""

from __future__ import annotations

from typing import Any

from admbench.bench.models.base import AudioDiffusionModel
from admbench.bench.models.conditioning import ClapEmbedding, limit_roberta_tokens
from admbench.bench.models.pipelines.mel_latents import MelLatents
from admbench.bench.models.pipelines.parts import Parts, networks

SECONDS = 10.0


def assemble(parts: Parts, known: dict[str, Any]) -> AudioDiffusionModel:
    """Make the model of the pipeline's parts."""
    encoder = parts["text_encoder"]
    limit_roberta_tokens(parts["tokenizer"], encoder.config)
    latents = MelLatents(parts["vae"], parts["vocoder"])
    conditioner = ClapEmbedding(parts["tokenizer"], encoder)
    card = latents.card(parts["backbone"], SECONDS, known)
    return AudioDiffusionModel(card, networks(parts), conditioner, parts["scheduler"], latents.decoder())
