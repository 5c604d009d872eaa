"""TangoFlux's files to its networks, and those to a model: Flux's transformer over the latents of Stable Audio.

Facts from github.com/declare-lab/TangoFlux (read at 164420f: tangoflux/__init__.py, tangoflux/model.py).

A caption's states, and after them one of its clip's length, go to joint attention; their mean, projected, to the
modulation. The latents are those of 30 s whatever the clip's length, which is cut. The empty caption of guidance is
padded to its caption's length, and that padding is attended to, as there.

Departures: captions of a batch are padded behind a mask, so that each means what it means alone, as in a call of the
authors' with one caption; they end at 128 tokens (512 there, 64 without guidance).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_oobleck import AutoencoderOobleck
from diffusers.models.transformers.transformer_flux import FluxTransformer2DModel
from diffusers.pipelines.stable_audio.modeling_stable_audio import StableAudioNumberConditioner
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from torch import Tensor, nn
from transformers import T5Config, T5EncoderModel

from admbench.bench.models.base import AudioDiffusionModel, ModelCard
from admbench.bench.models.checkpoints.components import require_exact
from admbench.bench.models.checkpoints.tensors import build, read_tensors, split
from admbench.bench.models.conditioning import TokenStates
from admbench.bench.models.networks import published_sizes as sizes
from admbench.bench.models.networks.untrained import ByteTokenizer
from admbench.bench.models.pipelines.parts import load_tokenizer
from admbench.bench.models.pipelines.stable_audio import OobleckDecoder
from admbench.bench.models.sampling import UNITS_OF_TIME, Sampling
from admbench.errors import CheckpointError, UsageError
from admbench.files import read_json
from admbench.methods.core.layers.canonical import make_canonical, quiet_weight_norm

CONFIG: dict[str, Any] = {
    "num_layers": 6,
    "num_single_layers": 18,
    "in_channels": 64,
    "attention_head_dim": 128,
    "joint_attention_dim": 1024,
    "num_attention_heads": 8,
    "audio_seq_len": 645,
    "max_duration": 30,
}
"""What config.json leaves out is so, as in the authors' code."""
TRANSFORMER = ("num_layers", "num_single_layers", "in_channels", "attention_head_dim", "num_attention_heads")
VAE: dict[str, Any] = {}
"""The autoencoder is diffusers' default, which no file configures."""
CAPTION_TOKENS = 128
SECONDS = 10.0


class TangoFluxModel(AudioDiffusionModel):
    """TangoFlux: velocities from time 1000 (noise) to 0 in equal steps of Euler's method.

    Args:
        card: facts.
        components: `backbone`, `text_encoder`, `vae`, `duration_embedder`, `caption_projection`.
        tokenizer: of the text encoder.
        longest: seconds.
    """

    _conditioner: TokenStates

    def __init__(self, card: ModelCard, components: dict[str, nn.Module], tokenizer: Any, longest: float) -> None:
        conditioner = TokenStates(tokenizer, components["text_encoder"])
        decoder = OobleckDecoder(components["vae"])  # type: ignore[arg-type]
        scheduler = FlowMatchEulerDiscreteScheduler(num_train_timesteps=UNITS_OF_TIME)
        super().__init__(card, components, conditioner, scheduler, lambda latents: decoder(latents.transpose(1, 2)))
        self._longest = longest

    def set_seconds(self, seconds: float) -> None:
        """Makes clips of that length from now on. Raises UsageError for one longer than the latents are."""
        if not 0 < seconds <= self._longest:
            raise UsageError(
                f"{self.name}: generation.seconds = {seconds:g}; expected more than 0 and at most {self._longest:g}"
            )
        self.card = replace(self.card, seconds=seconds)

    @torch.inference_mode()
    def encode_text(self, prompts: Sequence[str], *, guided: bool) -> dict[str, Tensor]:
        """`encoder_hidden_states` (n, tokens + 1, width) with their mask, and `pooled_projections` (n, width)."""
        text = self._conditioner(prompts)
        states, own = text["encoder_hidden_states"], text["encoder_attention_mask"]
        attended = own
        if guided:
            empty = self._conditioner([""] * len(prompts))
            states = torch.cat([empty["encoder_hidden_states"], states])
            own, attended = torch.cat([empty["encoder_attention_mask"], own]), torch.cat([own, own])
        mean = (states * own[..., None]).sum(1) / own.sum(1, keepdim=True)
        seconds = torch.full((len(states),), float(self.seconds), device=self.device)
        length = self.components["duration_embedder"](seconds)
        return {
            "encoder_hidden_states": torch.cat([states, length], dim=1),
            "encoder_attention_mask": torch.cat([attended, attended.new_ones(len(attended), 1)], dim=1),
            "pooled_projections": self.components["caption_projection"](mean),
        }

    def _sampling(self, steps: int, generators: Sequence[torch.Generator]) -> Sampling:
        return Sampling(self._scheduler, steps, generators, [1 - step / steps for step in range(steps)])

    def _predict(self, sample: Tensor, timestep: Tensor, conditioning: dict[str, Tensor]) -> Tensor:
        states, mask = conditioning["encoder_hidden_states"], conditioning["encoder_attention_mask"]
        frames = torch.arange(sample.shape[1], device=sample.device, dtype=sample.dtype)
        attended = torch.cat([mask, mask.new_ones(len(mask), sample.shape[1])], dim=1)
        predicted: Tensor = self.backbone(
            hidden_states=sample,
            timestep=timestep / UNITS_OF_TIME,
            encoder_hidden_states=states,
            pooled_projections=conditioning["pooled_projections"],
            txt_ids=sample.new_zeros(states.shape[1], 3),
            img_ids=frames[:, None].expand(-1, 3),
            joint_attention_kwargs={"attention_mask": attended[:, None, None]},
            return_dict=False,
        )[0]
        return predicted


def untrained(known: dict[str, Any]) -> AudioDiffusionModel:
    """Make the published architecture (517 M backbone, 341 M text encoder), its weights drawn as torch does it.

    Args:
        known: the fields of the model's card that do not follow from the architecture.
    """
    encoder = T5EncoderModel(T5Config(**sizes.FLAN_T5_LARGE))
    parts = _projections(CONFIG, encoder.config.d_model)
    parts |= {"backbone": _transformer(CONFIG, encoder.config.d_model), "text_encoder": encoder}
    return _assemble(parts | {"vae": AutoencoderOobleck(**VAE)}, ByteTokenizer(CAPTION_TOKENS, pad=0), CONFIG, known)


def load(config: Path, *, main: Path, vae: Path, texts: Path, known: dict[str, Any]) -> AudioDiffusionModel:
    """Load a folder of declare-lab's layout in float32.

    Args:
        config: its config.json.
        main: weights of transformer, text encoder and projections.
        vae: weights of the autoencoder.
        texts: folder with the text encoder's configuration and tokenizer.
        known: the fields of the model's card that do not follow from the parts.

    Raises:
        CheckpointError: a file is missing or damaged, or its tensors are not those of its configuration.
    """
    content = read_json(config)
    if not isinstance(content, dict):
        raise CheckpointError(f"{config}: expected an object")
    chosen = {key: content.get(key, value) for key, value in CONFIG.items()}
    for key, value in chosen.items():
        if type(value) is not int or not 0 < value <= 65_536:
            raise CheckpointError(
                f"{config}: {key} is {str(value)[:40]}; expected a whole number, such as {CONFIG[key]}"
            )
    flux, text, length, caption, rest = split(
        read_tensors(main), "transformer.", "text_encoder.", "duration_emebdder.", "fc."
    )
    require_exact(str(main), [] if flux else ["transformer.x_embedder.weight"], rest)
    if "shared.weight" in text:  # one table under two names, of which the file has one
        text.setdefault("encoder.embed_tokens.weight", text["shared.weight"])
    text_config = T5Config.from_pretrained(texts, local_files_only=True)
    encoder = build(f"{main}: text_encoder", lambda: T5EncoderModel(text_config), text)
    encoder.encoder.embed_tokens.weight = encoder.shared.weight
    width = text_config.d_model
    parts: dict[str, nn.Module] = {
        "backbone": build(f"{main}: transformer", lambda: _transformer(chosen, width), flux),
        "text_encoder": encoder,
    }
    for name, tensors in (("duration_embedder", length), ("caption_projection", caption)):
        parts[name] = build(f"{main}: {name}", lambda name=name: _projections(chosen, width)[name], tensors)  # type: ignore[misc]
    with quiet_weight_norm():
        parts["vae"] = build(str(vae), lambda: AutoencoderOobleck(**VAE), read_tensors(vae))
    tokenizer = load_tokenizer(texts)
    tokenizer.model_max_length = min(tokenizer.model_max_length, CAPTION_TOKENS)
    return _assemble(parts, tokenizer, chosen, known)


def _transformer(config: dict[str, Any], width: int) -> FluxTransformer2DModel:
    made: Any = FluxTransformer2DModel(
        **{key: config[key] for key in TRANSFORMER},
        joint_attention_dim=config["joint_attention_dim"],
        pooled_projection_dim=width,
        guidance_embeds=False,
        **({"axes_dims_rope": axes} if (axes := _axes(config["attention_head_dim"])) else {}),
    )
    return made


def _axes(head: int) -> tuple[int, int, int] | None:
    """Flux's rotary axes are of heads of 128 channels; None for these, and the like shares of narrower ones."""
    return None if head == 128 else (head // 4, head * 3 // 8, head * 3 // 8)


def _projections(config: dict[str, Any], width: int) -> dict[str, nn.Module]:
    return {
        "duration_embedder": StableAudioNumberConditioner(width, 0, config["max_duration"]),
        "caption_projection": nn.Sequential(nn.Linear(width, config["joint_attention_dim"]), nn.ReLU()),
    }


def _assemble(
    parts: dict[str, nn.Module], tokenizer: Any, config: dict[str, Any], known: dict[str, Any]
) -> AudioDiffusionModel:
    vae: Any = parts["vae"]
    frames, rate = config["audio_seq_len"], int(vae.config["sampling_rate"])
    longest = min(float(config["max_duration"]), frames * vae.hop_length / rate)
    card = ModelCard(
        sample_rate=rate, seconds=min(SECONDS, longest), latent_shape=(frames, config["in_channels"]), **known
    )
    order = ("backbone", "text_encoder", "vae", "duration_embedder", "caption_projection")
    components: dict[str, nn.Module] = {name: make_canonical(parts[name]) for name in order}
    return TangoFluxModel(card, components, tokenizer, longest)
