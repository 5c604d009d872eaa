"""Checkpoints of stable-audio-tools: what model_config.json says of a transformer, and diffusers' names of tensors.

Facts from github.com/Stability-AI/stable-audio-tools (read at 50049e3: models/factory.py, diffusion.py, dit.py,
transformer.py, autoencoders.py, conditioners.py). Keys of the classes that make the networks are all known here or
refused, since an unknown one might change what is computed.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import Tensor

from admbench.errors import CheckpointError
from admbench.files import read_json

Count = Annotated[int, Field(ge=1, le=65_536)]
TIME_FEATURES = 256
_EXAMPLE = "the model_config.json of stabilityai/stable-audio-open-small"


class _Parameters(BaseModel):
    """Keyword arguments of a class."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class _Part(BaseModel):
    """Something with more keys than are needed here."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class AttentionConfig(_Parameters):
    """`attn_kwargs`."""

    qk_norm: Literal["ln"]


class TransformerConfig(_Parameters):
    """Of `DiffusionTransformer`, with its conditioning before the frames and in cross attention."""

    io_channels: Count
    embed_dim: Count
    depth: Count
    num_heads: Count
    cond_token_dim: Count
    global_cond_dim: Count
    project_cond_tokens: bool = True
    project_global_cond: Literal[True] = True
    transformer_type: Literal["continuous_transformer"] = "continuous_transformer"
    global_cond_type: Literal["prepend"] = "prepend"
    timestep_cond_type: Literal["global"] = "global"
    attn_kwargs: AttentionConfig

    @model_validator(mode="after")
    def _whole_heads(self) -> TransformerConfig:
        if self.embed_dim % self.num_heads or self.context % (self.embed_dim // self.num_heads):
            raise ValueError(
                f"embed_dim {self.embed_dim}; expected a multiple of num_heads, and whole heads of context"
            )
        return self

    @property
    def context(self) -> int:
        """Width of what cross attention reads."""
        return self.embed_dim if self.project_cond_tokens else self.cond_token_dim

    def arguments(self, frames: int) -> dict[str, Any]:
        """Return the arguments of `NormedStableAudioDiTModel`, for latents of so many frames."""
        head = self.embed_dim // self.num_heads
        return {
            "sample_size": frames,
            "in_channels": self.io_channels,
            "num_layers": self.depth,
            "attention_head_dim": head,
            "num_attention_heads": self.num_heads,
            "num_key_value_attention_heads": self.context // head,
            "out_channels": self.io_channels,
            "cross_attention_dim": self.context,
            "time_proj_dim": TIME_FEATURES,
            "global_states_input_dim": self.global_cond_dim,
            "cross_attention_input_dim": self.cond_token_dim,
        }


class DiffusionPart(_Part):
    """`model.diffusion`."""

    type: Literal["dit"]
    diffusion_objective: Literal["rf_denoiser"]
    cross_attention_cond_ids: tuple[Literal["prompt"], Literal["seconds_total"]]
    global_cond_ids: tuple[Literal["seconds_total"]]
    config: TransformerConfig


class CoderConfig(_Parameters):
    """What `OobleckEncoder` and `OobleckDecoder` share."""

    in_channels: Count | None = None
    out_channels: Count | None = None
    channels: Count
    c_mults: tuple[Count, ...]
    strides: tuple[Count, ...]
    latent_dim: Count
    use_snake: Literal[True]
    antialias_activation: Literal[False] = False


class DecoderConfig(CoderConfig):
    """Of `OobleckDecoder`, whose default is to end with a tanh."""

    use_nearest_upsample: Literal[False] = False
    final_tanh: Literal[False]


class EncoderPart(_Part):
    """`encoder`."""

    type: Literal["oobleck"]
    config: CoderConfig


class DecoderPart(_Part):
    """`decoder`."""

    type: Literal["oobleck"]
    config: DecoderConfig


class AutoencoderConfig(_Part):
    """`model.pretransform.config`."""

    encoder: EncoderPart
    decoder: DecoderPart
    latent_dim: Count
    downsampling_ratio: Count
    io_channels: Literal[1, 2]

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of diffusers' `AutoencoderOobleck`, but for the sampling rate."""
        encoder, decoder = self.encoder.config, self.decoder.config
        return {
            "encoder_hidden_size": encoder.channels,
            "downsampling_ratios": list(encoder.strides),
            "channel_multiples": list(encoder.c_mults),
            "decoder_channels": decoder.channels,
            "decoder_input_channels": self.latent_dim,
            "audio_channels": self.io_channels,
        }


class PretransformPart(_Part):
    """`model.pretransform`."""

    type: Literal["autoencoder"]
    scale: Annotated[float, Field(ge=1, le=1)] = 1.0
    """Of the latents; another one is not known here."""
    config: AutoencoderConfig


class TextConfig(_Parameters):
    """Of `T5Conditioner`."""

    t5_model_name: str
    max_length: Count = 128


class NumberConfig(_Parameters):
    """Of `NumberConditioner`."""

    min_val: float
    max_val: float


class TextPart(_Part):
    """The conditioner of captions."""

    id: Literal["prompt"]
    type: Literal["t5"]
    config: TextConfig


class NumberPart(_Part):
    """The conditioner of lengths."""

    id: Literal["seconds_total"]
    type: Literal["number"]
    config: NumberConfig


class ConditioningPart(_Part):
    """`model.conditioning`."""

    configs: tuple[TextPart, NumberPart]
    cond_dim: Count


class ModelPart(_Part):
    """`model`."""

    pretransform: PretransformPart
    conditioning: ConditioningPart
    diffusion: DiffusionPart


class CheckpointConfig(_Part):
    """model_config.json."""

    model_type: Literal["diffusion_cond"]
    sample_size: Annotated[int, Field(ge=1, le=2**28)]
    sample_rate: Count
    model: ModelPart

    @property
    def frames(self) -> int:
        """Of the latents of the one length that the model was trained on."""
        return self.sample_size // self.model.pretransform.config.downsampling_ratio


def read_config(file: Path) -> CheckpointConfig:
    """Read model_config.json.

    Raises:
        CheckpointError: it is missing or damaged, or configures another model; names the key.
    """
    try:
        return CheckpointConfig.model_validate(read_json(file))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "its content"
        raise CheckpointError(f"{file}: {place}: {first['msg']}; expected {_EXAMPLE}") from None


class Tensors(NamedTuple):
    """A checkpoint's tensors by part, under diffusers' names."""

    transformer: dict[str, Tensor]
    autoencoder: dict[str, Tensor]
    length: dict[str, Tensor]
    left: dict[str, Tensor]
    """What belongs to none, under its own names."""


_PARTS = {
    "transformer": "model.model.",
    "autoencoder": "pretransform.model.",
    "length": "conditioner.conditioners.seconds_total.embedder.embedding.",
}
_ROTARY = "transformer.rotary_pos_emb.inv_freq"
"""A constant that follows from the width of a head."""
_FUSED = {"to_qkv": ("to_q", "to_k", "to_v"), "to_kv": ("to_k", "to_v")}
_NAMES = (
    (r"^timestep_features\.", "time_proj."),
    (r"^to_timestep_embed\.", "timestep_proj."),
    (r"^to_cond_embed\.", "cross_attention_proj."),
    (r"^to_global_embed\.", "global_proj."),
    (r"^transformer\.project_(in|out)\.", r"proj_\1."),
    (r"^transformer\.layers\.", "transformer_blocks."),
    (r"\.pre_norm\.", ".norm1."),
    (r"\.cross_attend_norm\.", ".norm2."),
    (r"\.ff_norm\.", ".norm3."),
    (r"\.gamma$", ".weight"),
    (r"\.beta$", ".bias"),
    (r"\.self_attn\.", ".attn1."),
    (r"\.cross_attn\.", ".attn2."),
    (r"\.to_out\.", ".to_out.0."),
    (r"\.([qk])_norm\.", r".norm_\1."),
    (r"\.ff\.ff\.", ".ff.net."),
)
"""From names of stable-audio-tools to those of diffusers, of the transformer."""


def split_tensors(tensors: dict[str, Tensor], levels: int) -> Tensors:
    """Sort a checkpoint's tensors by part, and name them as diffusers does.

    Args:
        tensors: by the names of stable-audio-tools.
        levels: strides of the autoencoder.
    """
    found: dict[str, dict[str, Tensor]] = {name: {} for name in (*_PARTS, "left")}
    for name, tensor in tensors.items():
        part = next((part for part, prefix in _PARTS.items() if name.startswith(prefix)), "left")
        found[part][name.removeprefix(_PARTS.get(part, ""))] = tensor
    found["transformer"].pop(_ROTARY, None)
    return Tensors(
        transformer_tensors(found["transformer"]),
        autoencoder_tensors(found["autoencoder"], levels),
        {f"time_positional_embedding.{name}": tensor for name, tensor in found["length"].items()},
        found["left"],
    )


def transformer_tensors(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Name the transformer's tensors as diffusers does, and part what is fused: queries, keys and values."""
    named: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        for pattern, replacement in _NAMES:
            name = re.sub(pattern, replacement, name)
        fused = next((key for key in _FUSED if f".{key}." in name), None)
        if fused is not None and len(tensor) % len(_FUSED[fused]) == 0:
            for part, rows in zip(_FUSED[fused], tensor.chunk(len(_FUSED[fused])), strict=True):
                named[name.replace(fused, part)] = rows
        else:
            named[name] = tensor[:, 0] if name == "time_proj.weight" and tensor.ndim == 2 else tensor
    return named


_UNIT = {"0": "snake1", "1": "conv1", "2": "snake2", "3": "conv2"}
_BLOCKS = {
    "encoder": {"0": "res_unit1", "1": "res_unit2", "2": "res_unit3", "3": "snake1", "4": "conv1"},
    "decoder": {"0": "snake1", "1": "conv_t1", "2": "res_unit1", "3": "res_unit2", "4": "res_unit3"},
}


def autoencoder_tensors(tensors: dict[str, Tensor], levels: int) -> dict[str, Tensor]:
    """Name the autoencoder's tensors as diffusers does, whose `Snake` has one number a channel as (1, channels, 1)."""
    named = {}
    for name, tensor in tensors.items():
        made = _autoencoder_name(name, levels)
        named[made] = tensor[None, :, None] if ".snake" in f".{made}" and tensor.ndim == 1 else tensor
    return named


def _autoencoder_name(name: str, levels: int) -> str:
    """Return diffusers' name; the name itself if it is none of an autoencoder of so many levels."""
    half, *path, leaf = name.replace("layers.", "").split(".")
    if half not in _BLOCKS or not path or not path[0].isdecimal():
        return name
    place, inner = int(path[0]), path[1:]
    whole = {0: "conv1", levels + 1: "snake1", levels + 2: "conv2"}.get(place)
    if whole is not None and not inner:
        return f"{half}.{whole}.{leaf}"
    parts = [_BLOCKS[half].get(inner[0], "")] if inner else []
    parts += [_UNIT.get(key, "") for key in inner[1:]]
    if not parts or "" in parts or not 1 <= place <= levels:
        return name
    return f"{half}.block.{place - 1}.{'.'.join(parts)}.{leaf}"


def rotary_is_usual(tensors: dict[str, Tensor], head: int) -> bool:
    """Return whether a checkpoint's rotary frequencies, if it holds them, are those that the network computes."""
    stored = tensors.get(_PARTS["transformer"] + _ROTARY)
    width = max(head // 2, 32)
    usual = 10_000.0 ** (-torch.arange(0, width, 2) / width)
    return stored is None or (stored.shape == usual.shape and bool(torch.allclose(stored.float(), usual, rtol=1e-2)))
