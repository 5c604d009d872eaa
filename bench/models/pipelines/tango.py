"""TANGO's files to its networks, and those to a model: T5's states to cross attention, sampled by DDPM.

Facts from github.com/declare-lab/tango (tango.py, models.py, inference_hf.py, configs/). The scheduler's constants are
those of Stable Diffusion 2.1, whose repository the configuration names and which is gone.

Departures: captions are padded behind their mask to 128 tokens (512 there); clips have 10.24 s exactly (32 samples more
there) and 32-bit floats, not 16-bit integers.
"""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from torch import Tensor
from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig, T5Config, T5EncoderModel

from admbench.bench.models.base import AudioDiffusionModel, ModelCard
from admbench.bench.models.checkpoints.components import require_exact
from admbench.bench.models.checkpoints.compvis import autoencoder_tensors, vocoder_tensors
from admbench.bench.models.checkpoints.tensors import build, read_tensors, split
from admbench.bench.models.conditioning import TokenStates
from admbench.bench.models.mel import MelSpec
from admbench.bench.models.networks import published_sizes as sizes
from admbench.bench.models.networks.untrained import ByteTokenizer
from admbench.bench.models.pipelines.mel_latents import MelDecoder
from admbench.bench.models.pipelines.parts import load_tokenizer
from admbench.errors import CheckpointError
from admbench.files import read_json

LATENT_FRAMES = 256
"""The one length that it makes: 10.24 s."""
CAPTION_TOKENS = 128
"""Every caption is padded to so many tokens, behind its mask, so that calls of different captions can be stacked."""

FIRST = "unet.conv_in.weight"
"""A tensor that every file of U-Net and text encoder has."""
UNET: dict[str, Any] = {
    "in_channels": 8,
    "out_channels": 8,
    "sample_size": (32, 2),
    "layers_per_block": 2,
    "block_out_channels": (320, 640, 1280, 1280),
    "down_block_types": (*("CrossAttnDownBlock2D",) * 3, "DownBlock2D"),
    "up_block_types": ("UpBlock2D", *("CrossAttnUpBlock2D",) * 3),
    "attention_head_dim": (5, 10, 20, 20),
    "cross_attention_dim": 1024,
    "use_linear_projection": True,
    "upcast_attention": True,
}
SCHEDULER: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
    "clip_sample": False,
    "steps_offset": 1,
}


def untrained(known: dict[str, Any]) -> AudioDiffusionModel:
    """Make the published architecture (866 M backbone, 341 M text encoder), its weights drawn as torch does it.

    Args:
        known: the fields of the model's card that do not follow from the architecture.
    """
    return _assemble(
        UNet2DConditionModel(**UNET),
        T5EncoderModel(T5Config(**sizes.FLAN_T5_LARGE)),
        AutoencoderKL(**sizes.AUDIOLDM_VAE),
        SpeechT5HifiGan(SpeechT5HifiGanConfig(**sizes.HIFIGAN)),
        ByteTokenizer(CAPTION_TOKENS, pad=0),
        known,
    )


def load(
    folder: Path, *, main: Path, vae: Path, unet: Path | None, texts: Path, known: dict[str, Any]
) -> AudioDiffusionModel:
    """Load a folder of declare-lab's layout in float32; weights stay mapped to their file.

    Args:
        folder: with the configurations.
        main: weights of U-Net and text encoder.
        vae: weights of autoencoder and vocoder.
        unet: the U-Net's configuration; None is the published one.
        texts: folder with the text encoder's configuration and tokenizer.
        known: the fields of the model's card that do not follow from the parts.

    Raises:
        CheckpointError: a file is missing or damaged, or its tensors are not those of its configuration.
    """
    stft, config = read_json(folder / "stft_config.json"), None if unet is None else read_json(unet)
    denoiser, encoder, rest = split(read_tensors(main), "unet.", "text_encoder.")
    require_exact(str(main), [] if denoiser else [FIRST], rest)
    if "shared.weight" in encoder:  # one table under two names, of which some versions save one
        encoder.setdefault("encoder.embed_tokens.weight", encoder["shared.weight"])
    backbone = build(f"{main}: unet", lambda: _unet(config), denoiser)
    text_config = T5Config.from_pretrained(texts, local_files_only=True)
    text_encoder = build(f"{main}: text_encoder", lambda: T5EncoderModel(text_config), encoder)
    text_encoder.encoder.embed_tokens.weight = text_encoder.shared.weight
    tokenizer = load_tokenizer(texts)
    tokenizer.model_max_length = min(tokenizer.model_max_length, CAPTION_TOKENS)
    autoencoder, vocoder = _sound(folder, vae, stft)
    return _assemble(backbone, text_encoder, autoencoder, vocoder, tokenizer, known)


def _unet(config: dict[str, Any] | None) -> UNet2DConditionModel:
    """The U-Net of a configuration, else the published one."""
    made: Any = UNet2DConditionModel(**UNET) if config is None else UNet2DConditionModel.from_config(config)
    return made


def _sound(folder: Path, file: Path, stft: dict[str, Any]) -> tuple[AutoencoderKL, SpeechT5HifiGan]:
    """The autoencoder and the vocoder that its file holds."""
    config = read_json(folder / "vae_config.json")
    shape = config["ddconfig"]
    if shape.get("attn_resolutions") or shape.get("downsample_time") or config.get("subband", 1) != 1:
        raise CheckpointError(
            f"{folder / 'vae_config.json'}: expected AudioLDM's autoencoder: no attn_resolutions, no downsample_time,"
            " subband 1"
        )
    vocoder, rest = split(read_tensors(file), "vocoder.")
    levels = len(shape["ch_mult"])
    made = sizes.AUDIOLDM_VAE | {
        "in_channels": shape["in_channels"],
        "out_channels": shape["out_ch"],
        "latent_channels": shape["z_channels"],
        "layers_per_block": shape["num_res_blocks"],
        "block_out_channels": tuple(shape["ch"] * multiple for multiple in shape["ch_mult"]),
        "down_block_types": ("DownEncoderBlock2D",) * levels,
        "up_block_types": ("UpDecoderBlock2D",) * levels,
        "scaling_factor": config["scale_factor"],
    }
    vae = build(f"{file}: autoencoder", lambda: AutoencoderKL(**made), autoencoder_tensors(rest, levels))
    return vae, _vocoder(folder, file, vocoder_tensors(vocoder), stft)


def _vocoder(folder: Path, file: Path, tensors: dict[str, Tensor], stft: dict[str, Any]) -> SpeechT5HifiGan:
    """HiFi-GAN at the strides of AudioLDM's code, which no file names; width and bands are those of its first layer."""
    first = tensors.get("conv_pre.weight")
    if first is None:
        raise CheckpointError(f"{file}: holds no vocoder (vocoder.conv_pre.weight is missing)")
    config = sizes.HIFIGAN | {
        "upsample_initial_channel": first.shape[0],
        "model_in_dim": first.shape[1],
        "sampling_rate": stft["sampling_rate"],
    }
    if prod(config["upsample_rates"]) != stft["hop_length"]:
        raise CheckpointError(
            f"{folder / 'stft_config.json'}: hop_length {stft['hop_length']}; expected {prod(config['upsample_rates'])}"
        )
    # normalisation of the input, which is not done: buffers of the class that the file does not have
    constants = {"mean": first.new_zeros(first.shape[1]), "scale": first.new_ones(first.shape[1])}
    return build(f"{file}: vocoder", lambda: SpeechT5HifiGan(SpeechT5HifiGanConfig(**config)), tensors | constants)


def _assemble(
    backbone: UNet2DConditionModel,
    encoder: T5EncoderModel,
    vae: AutoencoderKL,
    vocoder: SpeechT5HifiGan,
    tokenizer: Any,
    known: dict[str, Any],
) -> AudioDiffusionModel:
    hop, bands = prod(vocoder.config.upsample_rates), vocoder.config.model_in_dim
    mel = MelSpec(sample_rate=vocoder.config.sampling_rate, hop=hop, n_mels=bands)
    shrink = 2 ** (len(vae.config["block_out_channels"]) - 1)
    card = ModelCard(
        sample_rate=mel.sample_rate,
        seconds=LATENT_FRAMES * shrink * mel.hop / mel.sample_rate,
        latent_shape=(backbone.config["in_channels"], LATENT_FRAMES, mel.n_mels // shrink),
        **known,
    )
    parts = {"backbone": backbone, "text_encoder": encoder, "vae": vae, "vocoder": vocoder}
    decoder = MelDecoder(vae, vocoder, mel, "vocoder", transposed=False)
    return AudioDiffusionModel(card, parts, TokenStates(tokenizer, encoder), DDPMScheduler(**SCHEDULER), decoder)
