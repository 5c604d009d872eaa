"""MusicLDM's route: the text embedding of a whole CLAP as a class; clips as long as the U-Net's sample size.

Departure: what transformers 5 broke in the pipeline is done by `networks/workarounds.py`.
"""

from __future__ import annotations

from typing import Any

from admbench.bench.models.base import AudioDiffusionModel
from admbench.bench.models.conditioning import ClapTextFeatures, limit_roberta_tokens
from admbench.bench.models.pipelines.mel_latents import MelLatents
from admbench.bench.models.pipelines.parts import Parts, networks


def assemble(parts: Parts, known: dict[str, Any]) -> AudioDiffusionModel:
    """Make the model of the pipeline's parts."""
    clap = parts["text_encoder"]
    limit_roberta_tokens(parts["tokenizer"], clap.config.text_config)
    latents = MelLatents(parts["vae"], parts["vocoder"])
    card = latents.card(parts["backbone"], latents.default_seconds(parts["backbone"], known["name"]), known)
    conditioner = ClapTextFeatures(parts["tokenizer"], clap)
    return AudioDiffusionModel(card, networks(parts), conditioner, parts["scheduler"], latents.decoder())
