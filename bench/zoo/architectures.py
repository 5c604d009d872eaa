"""The shapes of the embedded models: real diffusers and transformers classes, a few million parameters each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    ClapTextConfig,
    ClapTextModelWithProjection,
    PreTrainedTokenizerFast,
    SpeechT5HifiGan,
    SpeechT5HifiGanConfig,
    T5Config,
    T5EncoderModel,
)

from admbench.bench.models.mel import MelSpec
from admbench.bench.models.networks.clap_bert import ClapBertConfig, ClapBertTextModel
from admbench.bench.suites.corpus.captions import vocabulary

MEL_64 = MelSpec(hop=160, n_mels=64)
"""The picture of AudioLDM and TANGO: 64 bands, 10 ms."""
MEL_80 = MelSpec(hop=256, n_mels=80)
"""The picture of Make-An-Audio: 80 bands, 16 ms."""

TEXT_WIDTH = 128
MAX_TOKENS = 32
CLAP_DIM = 128


@dataclass(frozen=True)
class Blueprint:
    """What distinguishes one embedded ADM from another."""

    name: str
    family: str
    mel: MelSpec
    latent_channels: int
    text: str
    vae: str
    decoder: str
    vocoder: str
    scheduler: dict[str, Any]
    teacher: str | None = None
    """The blueprint whose trained backbone this one starts from and learns from; None: it learns from clips."""
    transposed: bool = False
    """True when latents are (channels, mel, time), as Make-An-Audio has them, instead of (channels, time, mel)."""

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Shape of one latent of 2.56 s; the autoencoder shrinks time and mel eightfold."""
        frames, bands = self.mel.frames(40_960) // 8, self.mel.n_mels // 8
        return (self.latent_channels, bands, frames) if self.transposed else (self.latent_channels, frames, bands)


BLUEPRINTS: dict[str, Blueprint] = {
    "tiny-audioldm": Blueprint(
        "tiny-audioldm",
        "audioldm",
        MEL_64,
        8,
        "clap",
        "vae-64",
        "decoder-64",
        "vocoder-64",
        # AudioLDM's own betas (.0015 to .0195) leave an alpha-bar of 1e-4 at the last step, where an epsilon of so few
        # training steps says nothing of the clean latent; these leave 5e-3
        {"beta_start": 0.00085, "beta_end": 0.012, "prediction_type": "epsilon"},
    ),
    "tiny-tango": Blueprint(
        "tiny-tango",
        "tango",
        MEL_64,
        8,
        "t5",
        "vae-64",
        "decoder-64",
        "vocoder-64",
        {"beta_start": 0.00085, "beta_end": 0.012, "prediction_type": "v_prediction"},
    ),
    "tiny-make-an-audio": Blueprint(
        "tiny-make-an-audio",
        "make-an-audio",
        MEL_80,
        4,
        "clap-bert",
        "vae-80",
        "decoder-80",
        "vocoder-80",
        {"beta_start": 0.00085, "beta_end": 0.012, "prediction_type": "epsilon"},
        transposed=True,
    ),
    "tiny-flow": Blueprint(
        "tiny-flow",
        "flow",
        MEL_64,
        8,
        "t5",
        "vae-64",
        "decoder-64",
        "vocoder-64",
        {},
        teacher="tiny-tango",
    ),
}


def scheduler(blueprint: Blueprint) -> DDIMScheduler | FlowMatchEulerDiscreteScheduler:
    """DDIM over the family's own betas ("scaled_linear", 1,000 training steps); of a flow, Euler's method."""
    if blueprint.family == "flow":
        return FlowMatchEulerDiscreteScheduler()
    common: dict[str, Any] = {"clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1}
    return DDIMScheduler(num_train_timesteps=1000, beta_schedule="scaled_linear", **common | blueprint.scheduler)


def autoencoder(latent_channels: int) -> AutoencoderKL:
    """AutoencoderKL over one-channel log-mel pictures, eightfold smaller in time and mel."""
    return AutoencoderKL(
        in_channels=1,
        out_channels=1,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(16, 24, 48, 96),
        layers_per_block=1,
        latent_channels=latent_channels,
        norm_num_groups=8,
    )


def vocoder(mel: MelSpec) -> SpeechT5HifiGan:
    """HiFi-GAN generator from log-mel pictures to 16 kHz."""
    rates, kernels = ([5, 4, 4, 2], [10, 8, 8, 4]) if mel.hop == 160 else ([8, 8, 2, 2], [16, 16, 4, 4])
    config = SpeechT5HifiGanConfig(
        model_in_dim=mel.n_mels,
        sampling_rate=mel.sample_rate,
        upsample_initial_channel=128,
        upsample_rates=rates,
        upsample_kernel_sizes=kernels,
        resblock_kernel_sizes=[3, 7],
        resblock_dilation_sizes=[[1, 3], [1, 3]],
        normalize_before=False,
    )
    return SpeechT5HifiGan(config)


def backbone(blueprint: Blueprint) -> UNet2DConditionModel:
    """The denoising network, with its family's conditioning route."""
    common: dict[str, Any] = {
        "in_channels": blueprint.latent_channels,
        "out_channels": blueprint.latent_channels,
        "block_out_channels": (48, 96, 128),
        "attention_head_dim": (2, 3, 4),  # numbers of heads, by diffusers' long-standing naming
        "layers_per_block": 1,
        "norm_num_groups": 16,
    }
    if blueprint.family == "audioldm":  # as cvssp/audioldm: "cross" attention attends to the latent itself
        network = UNet2DConditionModel(
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=common["block_out_channels"],
            class_embed_type="simple_projection",
            class_embeddings_concat=True,
            projection_class_embeddings_input_dim=CLAP_DIM,
            **common,
        )
        # CLAP's vectors have unit length: at the usual initialisation their image would be a tenth of the time
        # embedding's, and a short training would hardly hear the caption
        with torch.no_grad():
            network.class_embedding.weight *= CLAP_DIM**0.5
        return network
    if blueprint.family in ("tango", "flow"):  # as Stable Diffusion 2.1
        return UNet2DConditionModel(
            down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
            cross_attention_dim=TEXT_WIDTH,
            use_linear_projection=True,
            upcast_attention=True,
            **common,
        )
    return UNet2DConditionModel(  # as the latent diffusion U-Net of Make-An-Audio: two levels, both with attention
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=TEXT_WIDTH,
        **common | {"block_out_channels": (64, 128), "attention_head_dim": (2, 4)},
    )


def tokenizer(kind: str) -> PreTrainedTokenizerFast:
    """A word-level tokenizer over the corpus's closed vocabulary, with the special tokens of its family."""
    special = {
        "clap": ["<s>", "<pad>", "</s>", "<unk>"],
        "t5": ["<pad>", "</s>", "<unk>"],
        "clap-bert": ["[PAD]", "[UNK]", "[CLS]", "[SEP]"],
    }[kind]
    ids = {word: number for number, word in enumerate([*special, *vocabulary()])}
    unknown = "[UNK]" if kind == "clap-bert" else "<unk>"
    inner = Tokenizer(models.WordLevel(ids, unk_token=unknown))
    inner.normalizer = normalizers.Lowercase()
    inner.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()])
    frame = {"clap": "<s> $A </s>", "t5": "$A </s>", "clap-bert": "[CLS] $A [SEP]"}[kind]
    used = [word for word in frame.split() if word in ids]
    inner.post_processor = processors.TemplateProcessing(
        single=frame, special_tokens=[(word, ids[word]) for word in used]
    )
    names = {
        "clap": {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"},
        "t5": {"eos_token": "</s>", "pad_token": "<pad>"},
        "clap-bert": {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]"},
    }[kind]
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token=unknown, model_max_length=MAX_TOKENS, padding_side="right", **names
    )


TextEncoder = ClapTextModelWithProjection | T5EncoderModel | ClapBertTextModel


def text_encoder(kind: str) -> TextEncoder:
    """The text half of a family: CLAP with projection, a T5 encoder, or CLAP's BERT with every token projected."""
    words = len(tokenizer(kind))
    if kind == "clap":
        # AudioLDMPipeline pads the empty prompt to the width of the embedding: positions must reach that far
        return ClapTextModelWithProjection(
            ClapTextConfig(
                vocab_size=words,
                hidden_size=TEXT_WIDTH,
                num_hidden_layers=2,
                num_attention_heads=4,
                intermediate_size=2 * TEXT_WIDTH,
                max_position_embeddings=CLAP_DIM + 8,
                projection_dim=CLAP_DIM,
                hidden_dropout_prob=0.0,
                attention_probs_dropout_prob=0.0,
                pad_token_id=1,
                bos_token_id=0,
                eos_token_id=2,
            )
        )
    if kind == "t5":
        return T5EncoderModel(
            T5Config(
                vocab_size=words,
                d_model=TEXT_WIDTH,
                d_kv=32,
                d_ff=2 * TEXT_WIDTH,
                num_layers=2,
                num_heads=4,
                feed_forward_proj="gated-gelu",
                dropout_rate=0.0,
                pad_token_id=0,
                eos_token_id=1,
                is_encoder_decoder=False,
                use_cache=False,
            )
        )
    bert = BertConfig(
        vocab_size=words,
        hidden_size=TEXT_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=2 * TEXT_WIDTH,
        max_position_embeddings=MAX_TOKENS,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        pad_token_id=0,
    )
    return ClapBertTextModel(ClapBertConfig(bert=bert.to_dict(), projection_dim=TEXT_WIDTH))


def parameters(module: Any) -> int:
    """The number of parameters."""
    return sum(parameter.numel() for parameter in module.parameters())
