"""Make-An-Audio (Huang et al. 2023, arXiv 2301.12661) from the files that its authors publish.

    maa1_full.ckpt                  `state_dict` of the latent diffusion: U-Net, autoencoder, text encoder, betas
    bigvgan/args.yml, best_netG.pt  configuration and `generator` of the vocoder
    CLAP/config.yml                 names CLAP's text encoder
    CLAP/CLAP_weights_2022.pth      its weights (`model`), needed where maa1_full.ckpt does not hold them
    txt2audio_args.yaml             configuration of the latent diffusion; without it, the published one

Facts from github.com/Text-to-Audio/Make-An-Audio (gen_wav.py, configs/text_to_audio, ldm/, vocoder/). As in its code,
the checkpoint's own text encoder comes before CLAP's file, and running averages of the weights (`model_ema.*`) are
sampled with if the configuration says `use_ema`. BERT's tokenizer is not among the files: it is taken from BERT's own
repository. Latents and pictures are mel x time.
"""

from __future__ import annotations

from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from torch import Tensor
from transformers import AutoTokenizer, BertConfig

from admbench.bench.models.base import AudioDiffusionModel, ModelCard
from admbench.bench.models.checkpoints import layouts
from admbench.bench.models.checkpoints.compvis import autoencoder_tensors, unet_tensors, without_weight_norm
from admbench.bench.models.checkpoints.ldm_config import (
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
from admbench.bench.models.conditioning import UnmaskedTokenStates
from admbench.bench.models.families.embedded import PictureDecoder
from admbench.bench.models.families.published_model import PublishedModel
from admbench.bench.models.mel import MelSpec
from admbench.bench.models.networks.bigvgan import BigVGAN, BigVGANConfig
from admbench.bench.models.networks.clap_bert import ClapBertConfig, ClapBertTextModel
from admbench.bench.models.networks.untrained import ByteTokenizer
from admbench.errors import CheckpointError, UsageError
from admbench.files import read_json
from admbench.weights import require_vocabulary

SAMPLE_RATE = 16_000
DEFAULT_STEPS = 100
DEFAULT_GUIDANCE = 3.0
CAPTION_TOKENS = 77
COLUMNS_PER_SECOND = 7.8
"""Columns of the latents, as gen_wav.py counts them, before it rounds up to a multiple of 4."""
ASKED_SECONDS = 10
"""gen_wav.py's default, of which its rounding makes 80 columns, 10.24 s."""

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


class MakeAnAudioModel(AudioDiffusionModel):
    """Make-An-Audio's way from a clip's length to the width of its latents, and back."""

    def set_seconds(self, seconds: float) -> None:
        """Makes clips of that length from now on. Raises UsageError where that is less than one column."""
        columns = latent_columns(seconds) if isfinite(seconds) else 0
        if columns < 1:
            least = 1 / COLUMNS_PER_SECOND
            raise UsageError(f"{self.name}: generation.seconds = {seconds:g}; expected {least:.2g} or more")
        channels, rows, _ = self.card.latent_shape
        self.card = replace(self.card, seconds=seconds, latent_shape=(channels, rows, columns))

    def decode(self, latents: Tensor) -> NDArray[np.float32]:
        """Latents (n, *latent_shape) to waveforms, float32 (n, samples): what the columns make, cut to the length.

        Where they make less, which the authors' rule allows (19.97 s for 20 s), silence follows, as the authors add it.
        """
        made = super().decode(latents)
        samples = round(self.seconds * self.sample_rate)
        return np.pad(made[:, :samples], ((0, 0), (0, max(0, samples - made.shape[1]))))


class MelByTime(PictureDecoder):
    """Decodes with an autoencoder of pictures that are mel x time, like their latents."""

    def pictures(self, latents: Tensor) -> Tensor:
        """Log-mel pictures (n, frames, bands), as the vocoder was trained on."""
        decoded: Tensor = self.vae.decode(latents / self.vae.config["scaling_factor"]).sample[:, 0]
        return decoded.transpose(1, 2)


class MakeAnAudio(PublishedModel):
    """Plug-in of the published checkpoint."""

    summary = "Make-An-Audio (backbone 160 M), Text-to-Audio/Make-An-Audio; repository MIT"
    requires = ()
    name = "make-an-audio"

    @classmethod
    def untrained(cls, known: dict[str, Any]) -> AudioDiffusionModel:
        """See the base class."""
        return _assemble(
            UNet2DConditionModel(**unet_arguments(CONFIG.unet_config.params)),
            ClapBertTextModel(ClapBertConfig(bert=BertConfig().to_dict(), pooler=True)),
            AutoencoderKL(**autoencoder_arguments(CONFIG.first_stage_config.params.ddconfig, scale=1.0)),
            BigVGAN(VOCODER),
            ByteTokenizer(CAPTION_TOKENS, pad=0),
            CONFIG,
            known,
        )


def load_directory(folder: Path, known: dict[str, Any]) -> AudioDiffusionModel:
    """Loads a folder of the authors' layout in float32; weights stay mapped to their file, except the vocoder's.

    Args:
        folder: with the files that the module lists.
        known: the fields of the model's card that do not follow from the parts.

    Raises:
        CheckpointError: a file is missing or damaged, or its tensors are not those of its configuration.
    """
    file = layouts.ldm_config_file(folder)
    config = CONFIG if file is None else read_latent_diffusion(file)
    main = layouts.weights_file(folder, (layouts.LDM_MAIN,), ".ckpt")
    trained, averaged, first_stage, text, rest = split(
        read_tensors(main, inside="state_dict"),
        "model.diffusion_model.",
        "model_ema.",
        "first_stage_model.",
        layouts.LDM_TEXT,
    )
    _require_no_others(main, rest, "betas", "scale_factor", *OF_TRAINING)
    _require_betas(main, config, rest)
    weights = _averages(main, trained, averaged) if config.use_ema else trained
    backbone = _backbone(main, config.unet_config.params, weights)
    vae = _autoencoder(main, config, first_stage, rest.get("scale_factor"))
    vocoder = _vocoder(folder)
    if config.mel_dim * _shrink(vae) != vocoder.config.num_mels:
        raise CheckpointError(
            f"{folder}: latents of {config.mel_dim} rows are pictures of {config.mel_dim * _shrink(vae)} mel bands;"
            f" expected the vocoder's {vocoder.config.num_mels}"
        )
    encoder, tokenizer = _text(folder, text)
    return _assemble(backbone, encoder, vae, vocoder, tokenizer, config, known)


def latent_columns(seconds: float) -> int:
    """The width of the latents of a clip, as gen_wav.py has it: 7.8 columns a second, rounded UP to a multiple of 4.

    (gen_wavs_by_tsv.py, its sibling for lists of captions, rounds down: 76 instead of 80 columns for 10 s.)
    """
    return -4 * (-int(seconds * COLUMNS_PER_SECOND) // 4)


def _shrink(vae: AutoencoderKL) -> int:
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


def _text(folder: Path, stored: dict[str, Tensor]) -> tuple[ClapBertTextModel, Any]:
    """CLAP's text encoder, from the checkpoint or else from CLAP's own file, and its tokenizer."""
    config = read_checked(folder / layouts.CLAP_CONFIG, ClapText)
    origin = layouts.clap_file(folder)
    if origin is not None:  # beside the text encoder, it holds CLAP's audio encoder
        stored, _, rest = split(read_tensors(origin, inside="model"), "caption_encoder.", "audio_encoder.")
        _require_no_others(origin, rest, "logit_scale")
    texts = layouts.text_encoder_folder(folder, download=True)
    bert = BertConfig(**read_json(texts / "config.json"))
    if bert.hidden_size != config.transformer_embed_dim:
        raise CheckpointError(
            f"{folder / layouts.CLAP_CONFIG}: transformer_embed_dim {config.transformer_embed_dim}; expected the"
            f" hidden_size of {texts / 'config.json'}, {bert.hidden_size}"
        )
    made = ClapBertConfig(bert=bert.to_dict(), projection_dim=config.d_proj, pooler=True)
    encoder = build(f"{origin or folder}: text encoder", lambda: ClapBertTextModel(made), stored)
    tokenizer = AutoTokenizer.from_pretrained(require_vocabulary(texts), local_files_only=True)
    tokenizer.model_max_length = CAPTION_TOKENS
    return encoder, tokenizer


def _vocoder(folder: Path) -> BigVGAN:
    config = read_checked(folder / layouts.BIGVGAN_CONFIG, BigVGANConfig)
    file = layouts.weights_file(folder, (layouts.BIGVGAN_WEIGHTS,), ".pt")
    tensors = without_weight_norm(read_tensors(file, inside="generator"))
    return build(f"{file}: vocoder", lambda: BigVGAN(config), tensors)


def _require_no_others(file: Path, rest: dict[str, Tensor], *known: str) -> None:
    if others := sorted(rest.keys() - set(known)):
        raise CheckpointError(f"{file}: tensors that belong to no part of the model: {', '.join(others[:5])}")


def _require_betas(main: Path, config: LatentDiffusionConfig, stored: dict[str, Tensor]) -> None:
    """Raise CheckpointError if the betas that the checkpoint was trained with are not the configured ones."""
    roots = torch.linspace(config.linear_start**0.5, config.linear_end**0.5, config.timesteps, dtype=torch.float64)
    betas = stored.get("betas")
    if betas is not None and (len(betas) != len(roots) or not torch.allclose(betas.double(), roots**2, rtol=1e-4)):
        raise CheckpointError(
            f"{main}: its betas are not those of the configuration ({config.timesteps} steps from"
            f" {config.linear_start:g} to {config.linear_end:g})"
        )


def _assemble(
    backbone: UNet2DConditionModel,
    encoder: ClapBertTextModel,
    vae: AutoencoderKL,
    vocoder: BigVGAN,
    tokenizer: Any,
    config: LatentDiffusionConfig,
    known: dict[str, Any],
) -> AudioDiffusionModel:
    mel = MelSpec(sample_rate=SAMPLE_RATE, hop=vocoder.config.hop, n_mels=vocoder.config.num_mels)
    columns = latent_columns(ASKED_SECONDS)
    card = ModelCard(
        sample_rate=mel.sample_rate,
        seconds=columns * _shrink(vae) * mel.hop / mel.sample_rate,
        latent_shape=(backbone.config["in_channels"], config.mel_dim, columns),
        default_steps=DEFAULT_STEPS,
        default_guidance=DEFAULT_GUIDANCE,
        **known,
    )
    # steps of 10 from 1, and alpha of the first beta after the last: DDIM as this code base has it
    scheduler = DDIMScheduler(
        num_train_timesteps=config.timesteps,
        beta_start=config.linear_start,
        beta_end=config.linear_end,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )
    parts = {"backbone": backbone, "text_encoder": encoder, "vae": vae, "vocoder": vocoder}
    decoder = MelByTime(vae, vocoder, mel, "vocoder", transposed=True)
    return MakeAnAudioModel(card, parts, UnmaskedTokenStates(tokenizer, encoder), scheduler, decoder)
