"""What a YAML file of the latent diffusion code base says of a model; its keys for training are passed over.

Defaults are those of the code base (github.com/CompVis/latent-diffusion, as github.com/Text-to-Audio/Make-An-Audio has
it). Whatever would be another architecture than the one that is built here is refused rather than passed over.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from admbench.errors import CheckpointError
from admbench.files import read_yaml

Checked = TypeVar("Checked", bound=BaseModel)

TEXT_PREFIX = "cond_stage_model.caption_encoder."
"""Of the text encoder's tensors in Make-An-Audio's own checkpoint."""


class _Parameters(BaseModel):
    """Keyword arguments of a class of the code base: an unknown one might change what is computed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class UNetConfig(_Parameters):
    """Of `UNetModel`, with a spatial transformer wherever there is attention."""

    in_channels: int
    out_channels: int
    model_channels: int
    attention_resolutions: tuple[int, ...]
    """Factors of downsampling at which there is attention."""
    num_res_blocks: int
    channel_mult: tuple[int, ...] = (1, 2, 4, 8)
    num_heads: int
    num_head_channels: Literal[-1] = -1
    context_dim: int
    use_spatial_transformer: Literal[True]
    transformer_depth: Literal[1] = 1
    use_scale_shift_norm: Literal[False] = False
    resblock_updown: Literal[False] = False
    conv_resample: Literal[True] = True
    num_classes: None = None
    image_size: Any = None
    dropout: Any = 0
    use_checkpoint: Any = False
    use_fp16: Any = False
    legacy: Any = True

    @property
    def attends(self) -> tuple[bool, ...]:
        """Whether there is attention, for each level from the finest."""
        return tuple(2**level in self.attention_resolutions for level in range(len(self.channel_mult)))


class AutoencoderShape(_Parameters):
    """Of the autoencoder's encoder and decoder (`ddconfig`)."""

    z_channels: int
    resolution: int
    """Frames of the spectrograms that it was trained on; it counts only for where there is attention."""
    in_channels: int
    out_ch: int
    ch: int
    ch_mult: tuple[int, ...] = (1, 2, 4, 8)
    num_res_blocks: int
    attn_resolutions: tuple[int, ...]
    """Numbers of frames at which there is attention."""
    double_z: Literal[True] = True
    tanh_out: Literal[False] = False
    resamp_with_conv: Literal[True] = True
    attn_type: Literal["vanilla"] = "vanilla"
    dropout: Any = 0.0

    @property
    def attends(self) -> tuple[bool, ...]:
        """Whether there is attention, for each level from the finest."""
        return tuple(self.resolution // 2**level in self.attn_resolutions for level in range(len(self.ch_mult)))


class AutoencoderConfig(BaseModel):
    """Of `AutoencoderKL`."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    embed_dim: int
    ddconfig: AutoencoderShape

    @model_validator(mode="after")
    def _one_width(self) -> AutoencoderConfig:
        if self.embed_dim != self.ddconfig.z_channels:
            raise ValueError(f"embed_dim {self.embed_dim}; expected z_channels, which is {self.ddconfig.z_channels}")
        return self


class _Part(BaseModel):
    """A class by its `target` and its `params`."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class UNetPart(_Part):
    """`unet_config`."""

    target: Annotated[str, AfterValidator(lambda target: _of_class(target, "UNetModel"))]
    params: UNetConfig


class AutoencoderPart(_Part):
    """`first_stage_config`."""

    target: Annotated[str, AfterValidator(lambda target: _of_class(target, "AutoencoderKL"))]
    params: AutoencoderConfig


class LatentDiffusionConfig(BaseModel):
    """`model.params` of the file."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    linear_start: float = Field(default=1e-4, gt=0)
    linear_end: float = Field(default=2e-2, lt=1)
    """First and last beta; "linear" in this code base means that their square roots are equally spaced."""
    timesteps: int = Field(default=1000, ge=1, le=10_000)
    beta_schedule: Literal["linear"] = "linear"
    parameterization: Literal["eps"] = "eps"
    conditioning_key: Literal["crossattn"]
    mel_dim: int = 80
    """Rows of the latents."""
    scale_by_std: bool = False
    """Whether the scale of the latents was measured in training, and is in the checkpoint."""
    scale_factor: float = 1.0
    """That scale, where it was not measured."""
    use_ema: bool = True
    """Whether there are running averages of the weights; they are then the ones to sample with."""
    unet_config: UNetPart
    first_stage_config: AutoencoderPart


class _Model(BaseModel):
    params: LatentDiffusionConfig


class _File(BaseModel):
    model: _Model


def read_latent_diffusion(file: Path) -> LatentDiffusionConfig:
    """Read the file. Raises CheckpointError or DataError, naming the file and the key, if it is not such a model."""
    return read_checked(file, _File).model.params


def read_checked(file: Path, kind: type[Checked]) -> Checked:
    """Read a YAML file as a configuration.

    Raises:
        DataError: it is missing or no YAML.
        CheckpointError: a value is not one that is known here; names the first.
    """
    try:
        return kind.model_validate(read_yaml(file))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "content"
        raise CheckpointError(f"{file}: {where}: {first['msg']}; found {first['input']!r:.60}") from None


def _of_class(target: str, expected: str) -> str:
    if target.rpartition(".")[2] != expected:
        raise ValueError(f"expected {expected}")
    return target
