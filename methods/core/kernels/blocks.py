"""Around the kernels: blocks of diffusers' U-Nets that compute the same with fewer passes over memory.

Products of integers are fast enough that what is between them shows. Each class here is a class of diffusers with one
method written anew: the same operations on the same numbers, in place where nobody else holds the tensor, without
dividing by 1, without leaving channels_last, which the integer convolutions read and write, and with what oneDNN can do
while it writes a product: GELU, and the sum with the residual. Queries, keys and values of one input are one product.

What lies between two products of an attention may be bfloat16: see `Glue`. Where our kernels in C++ are used,
`core.native`, such an attention is theirs, and so are norm, SiLU and rounding before a convolution, in one pass of
float32. Everything else stays float32, bit for bit what the blocks of diffusers compute from the same kernels.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol, cast

import torch
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from torch import Tensor, nn
from torch.nn import functional as F

from admbench.methods.core.kernels.onednn import Int8Conv2d, Int8Linear
from admbench.methods.core.kernels.transformer_blocks import (
    FusedAttention,
    FusedGEGLU,
    FusedSwiGLU,
    InPlaceDiTBlock,
    InPlaceTransformerBlock,
)
from admbench.methods.core.native.norm import norm_codes, takes

Glue = Literal["float32", "bfloat16"]
"""Type of queries, keys, values and what attention makes of them. The residual stream is always float32."""


class StreamlinedBlock(Protocol):
    """A class that takes the place of the class that it derives from."""

    @staticmethod
    def fits(block: nn.Module) -> bool:
        """Return whether a module is a block that this class computes."""

    def arrange(self, glue: torch.dtype, native: bool) -> None:
        """Prepare a block that has just become one of this class; `native` lets it compute by `core.native`."""


class InPlaceResnetBlock2D(ResnetBlock2D):
    """A residual block with a time shift, without resampling."""

    native: bool

    def forward(self, input_tensor: Tensor, temb: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Apply the block to (n, in, height, width); see `ResnetBlock2D`."""
        if self.native and input_tensor.is_contiguous(memory_format=torch.channels_last):
            return self._by_codes(input_tensor, temb)
        hidden = self.conv1(F.silu(self.norm1(input_tensor), inplace=True))
        hidden += self.time_emb_proj(temb if self.skip_time_act else F.silu(temb))[:, :, None, None]
        hidden = self.conv2(F.silu(self.norm2(hidden), inplace=True))
        hidden += input_tensor if self.conv_shortcut is None else self.conv_shortcut(input_tensor)
        return hidden if self.output_scale_factor == 1 else hidden / self.output_scale_factor

    def _by_codes(self, input_tensor: Tensor, temb: Tensor) -> Tensor:
        """Apply the block with norm, activation and rounding in one pass, to a picture in channels_last."""
        first, second = cast(Any, self.conv1), cast(Any, self.conv2)
        codes = norm_codes(input_tensor, self.norm1, first.quantize.numbers, first.padding)
        hidden = first.from_padded_codes(codes)
        shift = self.time_emb_proj(temb if self.skip_time_act else F.silu(temb)).contiguous()
        codes = norm_codes(hidden, self.norm2, second.quantize.numbers, second.padding, shift)
        hidden = second.from_padded_codes(codes)
        hidden += input_tensor if self.conv_shortcut is None else self.conv_shortcut(input_tensor)
        return hidden if self.output_scale_factor == 1 else hidden / self.output_scale_factor

    @staticmethod
    def fits(block: nn.Module) -> bool:
        """Return whether a module is a block that this class computes."""
        return (
            type(block) is ResnetBlock2D
            and isinstance(block.conv1, Int8Conv2d)
            and isinstance(block.conv2, Int8Conv2d)
            and isinstance(block.nonlinearity, nn.SiLU)
            and block.time_emb_proj is not None
            and block.time_embedding_norm == "default"
            and block.upsample is None
            and block.downsample is None
        )

    def arrange(self, glue: torch.dtype, native: bool) -> None:
        """See `StreamlinedBlock`."""
        self.native = native and takes(self.norm1) and takes(self.norm2)


class ChannelsLastTransformer2DModel(Transformer2DModel):
    """A transformer over the pixels of a picture, whose result stays in the layout of its input."""

    native: bool

    def _operate_on_continuous_inputs(self, hidden_states: Tensor) -> tuple[Tensor, int]:
        if not (self.native and hidden_states.is_contiguous(memory_format=torch.channels_last)):
            return cast(tuple[Tensor, int], super()._operate_on_continuous_inputs(hidden_states))
        project = cast(Any, self.proj_in)
        padding = (0, 0) if self.use_linear_projection else project.padding
        codes = norm_codes(hidden_states, self.norm, project.quantize.numbers, padding, silu=False)
        if self.use_linear_projection:
            projected = project.from_codes(codes.permute(0, 2, 3, 1).flatten(1, 2))
        else:
            projected = project.from_padded_codes(codes).permute(0, 2, 3, 1).flatten(1, 2)
        return projected, projected.shape[-1]

    def _get_output_for_continuous_inputs(
        self, hidden_states: Tensor, residual: Tensor, batch_size: int, height: int, width: int, inner_dim: int
    ) -> Tensor:
        if self.use_linear_projection:
            hidden_states = self.proj_out(hidden_states)
        picture = hidden_states.reshape(batch_size, height, width, inner_dim).permute(0, 3, 1, 2)
        if not self.use_linear_projection:
            picture = self.proj_out(picture)
        picture += residual
        return picture

    @staticmethod
    def fits(block: nn.Module) -> bool:
        """Return whether a module is one that this class computes."""
        return (
            type(block) is Transformer2DModel
            and bool(block.is_input_continuous)
            and isinstance(block.proj_out, Int8Conv2d | Int8Linear)
        )

    def arrange(self, glue: torch.dtype, native: bool) -> None:
        """See `StreamlinedBlock`."""
        self.native = native and takes(self.norm) and isinstance(self.proj_in, Int8Conv2d | Int8Linear)


BLOCKS: tuple[type[StreamlinedBlock], ...] = (
    InPlaceResnetBlock2D,
    FusedGEGLU,
    FusedSwiGLU,
    FusedAttention,
    InPlaceTransformerBlock,
    InPlaceDiTBlock,
    ChannelsLastTransformer2DModel,
)
"""Inner blocks before those that hold them."""


@torch.no_grad()
def streamline(module: nn.Module, glue: Glue, native: bool) -> dict[str, int]:
    """Let every block of a backbone with kernels that has a class here be of that class, in place.

    Args:
        module: the backbone.
        glue: type of what lies between the products of attentions.
        native: whether attention in bfloat16, and norms and gates before products, are computed by `core.native`.

    Returns:
        Number of blocks by class.
    """
    counts: dict[str, int] = {}
    blocks = list(module.modules())
    for block in blocks:
        if type(block) is nn.Conv2d:  # what stays float, such as the ends, must not leave the layout of the others
            weight = block.weight.detach().contiguous(memory_format=torch.channels_last)
            block.weight = nn.Parameter(weight, requires_grad=False)
    for own in BLOCKS:
        for block in cast(list[Any], blocks):
            if own.fits(block):
                block.__class__ = own
                cast(StreamlinedBlock, block).arrange(getattr(torch, glue), native)
                counts[own.__name__] = counts.get(own.__name__, 0) + 1
    return counts
