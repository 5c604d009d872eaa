"""Stable Audio Open Small (Novack et al. 2025, arXiv 2505.08175) from the files of stable-audio-tools.

Stable Audio's conditioning, but of a clip's length alone; its transformer with queries and keys normalised; a rectified
flow that adversarial training made into a denoiser of few steps. Each step predicts the clean latents, and puts new
noise on them ("ping-pong"), at noise levels even in log-SNR. Facts from github.com/Stability-AI/stable-audio-tools
(read at 50049e3: inference/generation.py, inference/sampling.py, models/conditioners.py).

Departures: the caption's encoder runs in float32 (float16 there); noise comes from each clip's seed, not the batch's.
Guidance is none, for which the paper trains; the authors' function has 6 where its caller names none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers.models.autoencoders.autoencoder_oobleck import AutoencoderOobleck
from diffusers.pipelines.stable_audio.modeling_stable_audio import StableAudioNumberConditioner
from torch import Tensor
from transformers import T5Config, T5EncoderModel

from admbench.bench.models.base import AudioDiffusionModel, ModelCard
from admbench.bench.models.checkpoints.components import check_component, load_component, require_exact
from admbench.bench.models.checkpoints.files import WEIGHTS
from admbench.bench.models.checkpoints.stable_audio_tools import (
    CheckpointConfig,
    read_config,
    rotary_is_usual,
    split_tensors,
)
from admbench.bench.models.checkpoints.tensors import build, read_tensors
from admbench.bench.models.families.stable_audio import T5_BASE
from admbench.bench.models.networks.normed_stable_audio import NormedStableAudioDiTModel
from admbench.bench.models.networks.untrained import ByteTokenizer
from admbench.bench.models.pipelines.parts import Parts, load_tokenizer
from admbench.bench.models.pipelines.stable_audio import StableAudioModel
from admbench.bench.models.sampling import Sampling
from admbench.errors import CheckpointError
from admbench.methods.core.layers.canonical import make_canonical, quiet_weight_norm

SECONDS = 10.0
NOISIEST, CLEANEST = -6.0, 2.0
"""Log-SNR of the first noise level, which is then set to noise alone, and of the last, which is set to none."""
ROTARY = 32
"""Fewest channels of a head that rotary positions turn; of wider heads they turn half."""
CAPTION_TOKENS, LONGEST_TOLD = 64, 256
"""Of random weights: tokens of a caption, and the seconds that the conditioning on time tells apart."""
ORDER = ("backbone", "text_encoder", "vae", "duration_embedder")


class StableAudioOpenSmallModel(StableAudioModel):
    """Stable Audio Open Small: conditioned on the caption and on the clip's length.

    Args:
        parts: `backbone`, `text_encoder`, `vae`, `duration_embedder`, `tokenizer`, `scheduler`.
        card: facts; `seconds` is the length of a clip unless another is asked for.
        longest: seconds of the latents.
    """

    def __init__(self, parts: Parts, card: ModelCard, longest: float) -> None:
        super().__init__(parts, replace(card, seconds=longest))
        self.card = card
        self._rotary_width = max(self._rotary_width, ROTARY)

    @torch.inference_mode()
    def encode_text(self, prompts: Sequence[str], *, guided: bool) -> dict[str, Tensor]:
        """`encoder_hidden_states` (n, tokens + 1, width) and `global_hidden_states` (n, 1, width)."""
        text = self._conditioner(prompts)
        words = text["encoder_hidden_states"] * text["encoder_attention_mask"].unsqueeze(-1)
        length = self.components["duration_embedder"](
            torch.full((len(prompts),), float(self.seconds), device=self.device)
        )
        states = torch.cat([words, length], dim=1)
        if guided:
            states, length = torch.cat([torch.zeros_like(states), states]), torch.cat([length, length])
        return {"encoder_hidden_states": states, "global_hidden_states": length}

    def _sampling(self, steps: int, generators: Sequence[torch.Generator]) -> Sampling:
        return Sampling(self._scheduler, steps, generators, noise_levels(steps))


def noise_levels(steps: int) -> list[float]:
    """Return the noise level of each step.

    >>> [round(level, 3) for level in noise_levels(4)]
    [1.0, 0.982, 0.881, 0.5]
    """
    levels = torch.sigmoid(-torch.linspace(NOISIEST, CLEANEST, steps + 1))
    return [1.0, *levels[1:-1].tolist()]


def untrained(known: dict[str, Any]) -> AudioDiffusionModel:
    """Make the published architecture (341 M backbone, 110 M text encoder), its weights drawn as torch does it.

    Args:
        known: the fields of the model's card that do not follow from the architecture.
    """
    parts = {
        "backbone": NormedStableAudioDiTModel(),
        "text_encoder": T5EncoderModel(T5Config(**T5_BASE)),
        "vae": AutoencoderOobleck(),
        "duration_embedder": StableAudioNumberConditioner(T5_BASE["d_model"], 0, LONGEST_TOLD),
        "tokenizer": ByteTokenizer(CAPTION_TOKENS, pad=0),
    }
    return _assemble(parts, known)


def load(config: Path, *, main: Path, texts: Path, known: dict[str, Any]) -> AudioDiffusionModel:
    """Load a folder of stable-audio-tools in float32.

    Args:
        config: its model_config.json.
        main: weights of transformer, autoencoder and the conditioning on length.
        texts: folder of the text encoder: configuration, weights, tokenizer.
        known: the fields of the model's card that do not follow from the parts.

    Raises:
        CheckpointError: a file is missing or damaged, or its tensors are not those of its configuration.
    """
    chosen = read_config(config)
    tensors = read_tensors(main, None if main.suffix == ".safetensors" else "state_dict")
    check_component(T5EncoderModel, texts, WEIGHTS["transformers"])
    encoder = load_component(T5EncoderModel, texts, WEIGHTS["transformers"])
    tokenizer = load_tokenizer(texts)
    caption, _ = chosen.model.conditioning.configs
    tokenizer.model_max_length = caption.config.max_length
    with quiet_weight_norm():
        networks = _networks(chosen, tensors, str(main), encoder.config.d_model)
    return _assemble({**networks, "text_encoder": encoder, "tokenizer": tokenizer}, known)


def _networks(chosen: CheckpointConfig, tensors: dict[str, Tensor], main: str, text_width: int) -> dict[str, Any]:
    """Make the networks whose weights the checkpoint holds.

    Raises:
        CheckpointError: its tensors are not theirs, or their widths do not fit each other.
    """
    transformer, autoencoder = chosen.model.diffusion.config, chosen.model.pretransform.config
    _, number = chosen.model.conditioning.configs
    width = chosen.model.conditioning.cond_dim
    told = {text_width, width, transformer.cond_token_dim, transformer.global_cond_dim}
    if len(told) > 1 or autoencoder.latent_dim != transformer.io_channels:
        raise CheckpointError(f"{main}: its configuration's widths of conditioning and latents differ; expected equal")
    if not rotary_is_usual(tensors, transformer.embed_dim // transformer.num_heads):
        raise CheckpointError(f"{main}: rotary_pos_emb.inv_freq: expected frequencies from 1 with base 10,000")
    parts = split_tensors(tensors, len(autoencoder.encoder.config.strides))
    require_exact(main, [], parts.left)
    return {
        "backbone": build(
            f"{main}: model",
            lambda: NormedStableAudioDiTModel(**transformer.arguments(chosen.frames)),
            parts.transformer,
        ),
        "vae": build(
            f"{main}: pretransform",
            lambda: AutoencoderOobleck(**autoencoder.arguments, sampling_rate=chosen.sample_rate),
            parts.autoencoder,
        ),
        "duration_embedder": build(
            f"{main}: seconds_total",
            lambda: StableAudioNumberConditioner(width, number.config.min_val, number.config.max_val),
            parts.length,
        ),
    }


def _assemble(parts: dict[str, Any], known: dict[str, Any]) -> AudioDiffusionModel:
    transformer, vae = parts["backbone"], parts["vae"]
    frames, rate = int(transformer.config["sample_size"]), int(vae.config["sampling_rate"])
    longest = frames * vae.hop_length / rate
    card = ModelCard(
        sample_rate=rate,
        seconds=min(SECONDS, longest),
        latent_shape=(transformer.config["in_channels"], frames),
        **known,
    )
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(num_train_timesteps=1, stochastic_sampling=True)
    networks = {name: make_canonical(parts[name]) for name in ORDER}
    return StableAudioOpenSmallModel(
        {**networks, "tokenizer": parts["tokenizer"], "scheduler": scheduler}, card, longest
    )
