"""The tensors of Make-An-Audio's files (families/make_an_audio.py lists them) to networks of diffusers and our own.

Facts from github.com/Text-to-Audio/Make-An-Audio (gen_wav.py, configs/text_to_audio, ldm/, vocoder/). As in its code,
running averages of the weights (`model_ema.*`) are sampled with if the configuration says `use_ema`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from pydantic import BaseModel, ConfigDict
from torch import Tensor
from transformers import BertConfig

from admbench.bench.models.checkpoints.components import some
from admbench.bench.models.checkpoints.compvis import autoencoder_tensors, unet_tensors, without_weight_norm
from admbench.bench.models.checkpoints.ldm_config import (
    TEXT_PREFIX,
    AutoencoderConfig,
    AutoencoderPart,
    AutoencoderShape,
    LatentDiffusionConfig,
    UNetConfig,
    UNetPart,
    read_checked,
    read_latent_diffusion,
)
from admbench.bench.models.checkpoints.tensors import build, read_tensors, split
from admbench.bench.models.networks.bigvgan import BigVGAN, BigVGANConfig
from admbench.bench.models.networks.clap_bert import ClapBertConfig, ClapBertTextModel
from admbench.errors import CheckpointError
from admbench.files import read_json

CONFIG = LatentDiffusionConfig(
    linear_start=0.00085,
    linear_end=0.012,
    conditioning_key="crossattn",
    mel_dim=10,
    scale_by_std=True,
    use_ema=False,
    unet_config=UNetPart(
        target="UNetModel",
        params=UNetConfig(
            in_channels=4,
            out_channels=4,
            model_channels=320,
            attention_resolutions=(1, 2),
            num_res_blocks=2,
            channel_mult=(1, 2),
            num_heads=8,
            context_dim=1024,
            use_spatial_transformer=True,
        ),
    ),
    first_stage_config=AutoencoderPart(
        target="AutoencoderKL",
        params=AutoencoderConfig(
            embed_dim=4,
            ddconfig=AutoencoderShape(
                z_channels=4,
                resolution=624,
                in_channels=1,
                out_ch=1,
                ch=128,
                ch_mult=(1, 2, 2, 4),
                num_res_blocks=2,
                attn_resolutions=(78, 156),
            ),
        ),
    ),
)
"""The published model: what counts of configs/text_to_audio/txt2audio_args.yaml."""

VOCODER = BigVGANConfig(
    num_mels=80,
    upsample_initial_channel=1536,
    upsample_rates=(4, 4, 2, 2, 2, 2),
    upsample_kernel_sizes=(8, 8, 4, 4, 4, 4),
    resblock="1",
    resblock_kernel_sizes=(3, 7, 11),
    resblock_dilation_sizes=((1, 3, 5),) * 3,
    activation="snakebeta",
    snake_logscale=True,
)
"""Its vocoder: what counts of configs/text_to_audio/bigvgan_args.yaml."""

OF_TRAINING = (
    "alphas_cumprod",
    "alphas_cumprod_prev",
    "sqrt_alphas_cumprod",
    "sqrt_one_minus_alphas_cumprod",
    "log_one_minus_alphas_cumprod",
    "sqrt_recip_alphas_cumprod",
    "sqrt_recipm1_alphas_cumprod",
    "posterior_variance",
    "posterior_log_variance_clipped",
    "posterior_mean_coef1",
    "posterior_mean_coef2",
    "logvar",
)
"""Tensors of the checkpoint that follow from its betas, or weigh the training loss: not needed, and passed over."""
LOSS = "loss."
"""Prefix of the autoencoder's training loss, a network of its own in some checkpoints; passed over too."""


class ClapText(BaseModel):
    """What counts of CLAP/config.yml."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    text_model: str
    transformer_embed_dim: int
    d_proj: int


@dataclass(frozen=True)
class Networks:
    """What the files hold."""

    config: LatentDiffusionConfig
    backbone: UNet2DConditionModel
    text_encoder: ClapBertTextModel
    vae: AutoencoderKL
    vocoder: BigVGAN


def read_networks(
    main: Path, config: Path | None, vocoder: tuple[Path, Path], clap: tuple[Path, Path | None], texts: Path
) -> Networks:
    """Read the networks in float32; weights stay mapped to their file, except the vocoder's.

    Args:
        main: the checkpoint of the latent diffusion.
        config: its configuration; None means the published one.
        vocoder: its configuration and its weights.
        clap: CLAP's configuration, and its weights where `main` does not hold the text encoder.
        texts: folder with the configuration of CLAP's BERT.

    Raises:
        CheckpointError: a file is damaged, or its tensors are not those of its configuration.
    """
    settings = CONFIG if config is None else read_latent_diffusion(config)
    trained, averaged, first_stage, text, rest = split(
        read_tensors(main, inside="state_dict"),
        "model.diffusion_model.",
        "model_ema.",
        "first_stage_model.",
        TEXT_PREFIX,
    )
    _require_no_others(main, rest, "betas", "scale_factor", *OF_TRAINING)
    _require_betas(main, settings, rest)
    weights = _averages(main, trained, averaged) if settings.use_ema else trained
    backbone = _backbone(main, settings.unet_config.params, weights)
    vae = _autoencoder(main, settings, first_stage, rest.get("scale_factor"))
    generator = _vocoder(*vocoder)
    bands = settings.mel_dim * shrink(vae)
    if bands != generator.config.num_mels:
        raise CheckpointError(
            f"{main.parent}: latents of {settings.mel_dim} rows are spectrograms of {bands} mel bands; expected the"
            f" vocoder's {generator.config.num_mels}"
        )
    return Networks(settings, backbone, _text(main, *clap, texts, text), vae, generator)


def untrained_networks() -> Networks:
    """Make the published networks, their weights drawn as torch does it when modules are made."""
    return Networks(
        CONFIG,
        backbone=UNet2DConditionModel(**unet_arguments(CONFIG.unet_config.params)),
        text_encoder=ClapBertTextModel(ClapBertConfig(bert=BertConfig().to_dict(), pooler=True)),
        vae=AutoencoderKL(**autoencoder_arguments(CONFIG.first_stage_config.params.ddconfig, scale=1.0)),
        vocoder=BigVGAN(VOCODER),
    )


def shrink(vae: AutoencoderKL) -> int:
    """Frames, and mel bands, for one column, or row, of the latents."""
    levels: int = len(vae.config["block_out_channels"])
    return 2 ** (levels - 1)


def unet_arguments(config: UNetConfig) -> dict[str, Any]:
    """The arguments of diffusers' UNet2DConditionModel for a U-Net of the latent diffusion code base."""
    kinds = ["CrossAttn" if attends else "" for attends in config.attends]
    return {
        "in_channels": config.in_channels,
        "out_channels": config.out_channels,
        "layers_per_block": config.num_res_blocks,
        "block_out_channels": tuple(config.model_channels * multiple for multiple in config.channel_mult),
        "down_block_types": tuple(f"{kind}DownBlock2D" for kind in kinds),
        "up_block_types": tuple(f"{kind}UpBlock2D" for kind in reversed(kinds)),
        "attention_head_dim": config.num_heads,  # diffusers means the number of heads by it
        "cross_attention_dim": config.context_dim,
    }


def autoencoder_arguments(shape: AutoencoderShape, scale: float) -> dict[str, Any]:
    """The arguments of diffusers' AutoencoderKL for an autoencoder of the latent diffusion code base."""
    kinds = ["Attn" if attends else "" for attends in shape.attends]
    return {
        "in_channels": shape.in_channels,
        "out_channels": shape.out_ch,
        "latent_channels": shape.z_channels,
        "layers_per_block": shape.num_res_blocks,
        "block_out_channels": tuple(shape.ch * multiple for multiple in shape.ch_mult),
        "down_block_types": tuple(f"{kind}DownEncoderBlock2D" for kind in kinds),
        "up_block_types": tuple(f"{kind}UpDecoderBlock2D" for kind in reversed(kinds)),
        "scaling_factor": scale,
    }


def _averages(main: Path, trained: dict[str, Tensor], averaged: dict[str, Tensor]) -> dict[str, Tensor]:
    """The running averages by the names of the weights: the code base stores them without the dots."""
    stored = {f"diffusion_model.{name}".replace(".", ""): name for name in trained}
    left = averaged.keys() - stored.keys() - {"decay", "num_updates"}
    missing = stored.keys() - averaged.keys()
    if left or missing:
        raise CheckpointError(
            f"{main}: use_ema is set, but model_ema.* are not the weights' averages; {len(missing)} missing,"
            f" {len(left)} left over, such as {min(missing | left)}"
        )
    return {name: averaged[short] for short, name in stored.items()}


def _backbone(main: Path, config: UNetConfig, tensors: dict[str, Tensor]) -> UNet2DConditionModel:
    arguments = unet_arguments(config)
    named = unet_tensors(tensors, config.num_res_blocks)
    return build(f"{main}: U-Net", lambda: UNet2DConditionModel(**arguments), named)


def _autoencoder(
    main: Path, config: LatentDiffusionConfig, tensors: dict[str, Tensor], measured: Tensor | None
) -> AutoencoderKL:
    """The autoencoder, with the scale of its latents that was measured in training, or that is configured."""
    if config.scale_by_std and measured is None:
        raise CheckpointError(f"{main}: no scale_factor, the scale of the latents, which scale_by_std promises")
    scale = config.scale_factor if measured is None else float(measured)
    shape = config.first_stage_config.params.ddconfig
    arguments = autoencoder_arguments(shape, scale)
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith(LOSS)}
    named = autoencoder_tensors(kept, len(shape.ch_mult))
    return build(f"{main}: autoencoder", lambda: AutoencoderKL(**arguments), named)


def _text(
    main: Path, clap_config: Path, origin: Path | None, texts: Path, stored: dict[str, Tensor]
) -> ClapBertTextModel:
    """CLAP's text encoder, from the checkpoint or else from CLAP's own file."""
    config = read_checked(clap_config, ClapText)
    if origin is not None:  # beside the text encoder, it holds CLAP's audio encoder
        stored, _, rest = split(read_tensors(origin, inside="model"), "caption_encoder.", "audio_encoder.")
        _require_no_others(origin, rest, "logit_scale")
    bert = BertConfig(**read_json(texts / "config.json"))
    if bert.hidden_size != config.transformer_embed_dim:
        raise CheckpointError(
            f"{clap_config}: transformer_embed_dim {config.transformer_embed_dim}; expected the hidden_size of"
            f" {texts / 'config.json'}, {bert.hidden_size}"
        )
    made = ClapBertConfig(bert=bert.to_dict(), projection_dim=config.d_proj, pooler=True)
    return build(f"{origin or main}: text encoder", lambda: ClapBertTextModel(made), stored)


def _vocoder(config_file: Path, file: Path) -> BigVGAN:
    config = read_checked(config_file, BigVGANConfig)
    tensors = without_weight_norm(read_tensors(file, inside="generator"))
    return build(f"{file}: vocoder", lambda: BigVGAN(config), tensors)


def _require_no_others(file: Path, rest: dict[str, Tensor], *known: str) -> None:
    if others := sorted(rest.keys() - set(known)):
        raise CheckpointError(f"{file}: tensors that belong to no part of the model: {some(others)}")


def _require_betas(main: Path, config: LatentDiffusionConfig, stored: dict[str, Tensor]) -> None:
    """Raise CheckpointError if the betas that the checkpoint was trained with are not the configured ones."""
    roots = torch.linspace(config.linear_start**0.5, config.linear_end**0.5, config.timesteps, dtype=torch.float64)
    betas = stored.get("betas")
    if betas is not None and (len(betas) != len(roots) or not torch.allclose(betas.double(), roots**2, rtol=1e-4)):
        raise CheckpointError(
            f"{main}: its betas are not those of the configuration ({config.timesteps} steps from"
            f" {config.linear_start:g} to {config.linear_end:g})"
        )
