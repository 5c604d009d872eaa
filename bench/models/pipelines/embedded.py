"""The embedded models' shipped pipeline directories to models; a rectified flow for the one of few steps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from transformers import PreTrainedTokenizerFast, SpeechT5HifiGan

from admbench.bench.models.base import AudioDiffusionModel, ModelCard
from admbench.bench.models.checkpoints import shipped
from admbench.bench.models.checkpoints.components import load_component
from admbench.bench.models.checkpoints.files import WEIGHTS
from admbench.bench.models.mel import MelSpec
from admbench.bench.models.networks.untrained import random_sha256, seeded
from admbench.bench.models.pipelines.mel_latents import MelDecoder
from admbench.bench.models.sampling import Sampling
from admbench.files import read_json
from admbench.registry import load_target


class RectifiedFlow(AudioDiffusionModel):
    """Goes from noise, at time 1, to the clip, at 0, in equal steps of Euler's method (Liu et al. 2022, 2209.03003)."""

    def _sampling(self, steps: int, generators: Sequence[torch.Generator]) -> Sampling:
        # left to itself the scheduler goes to time 1/1000 in one step less, and spends the last on that
        return Sampling(self._scheduler, steps, generators, [1 - step / steps for step in range(steps)])


def load(
    name: str,
    *,
    text_encoder: str,
    conditioner: str,
    rectified_flow: bool,
    defaults: dict[str, Any],
    random_weights: bool,
) -> AudioDiffusionModel:
    """Load a shipped pipeline directory in float32.

    Args:
        name: of the model.
        text_encoder: its class as `module:Class`.
        conditioner: its class as `module:Class`: the route from captions to the backbone.
        rectified_flow: whether it is one, and not a diffusion.
        defaults: `default_steps` and `default_guidance` of the card.
        random_weights: draw the backbone's from a fixed seed.

    Raises:
        CheckpointError: a file is missing or not what was shipped; names it.
    """
    shipped.verify(name)
    facts = read_json(shipped.folder_of(name) / "admbench.json")
    mel = MelSpec(**facts["mel"])
    backbone = load_backbone(UNet2DConditionModel, shipped.place(name, "unet"), random_weights=random_weights)
    vae = load_component(AutoencoderKL, shipped.place(name, "vae"), WEIGHTS["diffusers"])
    encoder = load_component(load_target(text_encoder), shipped.place(name, "text_encoder"), WEIGHTS["transformers"])
    vocoder = load_vocoder(name, facts["decoder"])
    tokenizer = load_tokenizer(name)
    card = shipped_card(name, facts, defaults, random_weights=random_weights)
    parts = {"backbone": backbone, "text_encoder": encoder, "vae": vae}
    if vocoder is not None:
        parts["vocoder"] = vocoder
    decoder = MelDecoder(vae, vocoder, mel, facts["decoder"], facts["transposed"])
    scheduler_class: Any = FlowMatchEulerDiscreteScheduler if rectified_flow else DDIMScheduler
    scheduler = scheduler_class.from_pretrained(shipped.place(name, "scheduler"), local_files_only=True)
    route = load_target(conditioner)(tokenizer, encoder)
    model_class = RectifiedFlow if rectified_flow else AudioDiffusionModel
    return model_class(card, parts, route, scheduler, decoder)


def load_backbone(network: Any, folder: Path, *, random_weights: bool) -> Any:
    """Load a backbone of a class of diffusers; with `random_weights`, its architecture with some from a fixed seed."""
    trained = load_component(network, folder, WEIGHTS["diffusers"])
    if not random_weights:
        return trained
    with seeded():
        return network.from_config(trained.config)


def load_vocoder(name: str, decoder: str) -> SpeechT5HifiGan | None:
    """Load the vocoder of a shipped model; None where clips are heard without it, by Griffin-Lim."""
    if decoder == "griffin-lim":
        return None
    vocoder: SpeechT5HifiGan = load_component(SpeechT5HifiGan, shipped.place(name, "vocoder"), WEIGHTS["transformers"])
    return vocoder


def load_tokenizer(name: str) -> Any:
    """Load the word-level tokenizer of a shipped model."""
    return PreTrainedTokenizerFast.from_pretrained(shipped.place(name, "tokenizer"), local_files_only=True)


def shipped_card(name: str, facts: dict[str, Any], defaults: dict[str, Any], *, random_weights: bool) -> ModelCard:
    """The card of a shipped model.

    Args:
        name: of the model.
        facts: content of its admbench.json.
        defaults: `default_steps` and `default_guidance`.
        random_weights: whether the backbone's are drawn.
    """
    trained = shipped.fingerprint(name)
    return ModelCard(
        name=name,
        source="embedded",
        revision=facts["version"],
        weights_sha256=random_sha256(name, trained) if random_weights else trained,
        license="Apache-2.0",
        sample_rate=facts["mel"]["sample_rate"],
        seconds=facts["seconds"],
        latent_shape=tuple(facts["latent_shape"]),
        random_weights=random_weights,
        **defaults,
    )
