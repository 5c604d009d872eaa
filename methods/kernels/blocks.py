"""Around the kernels: blocks of diffusers' U-Nets that compute the same with fewer passes over memory.

Products of integers are fast enough that what is between them shows. Each class here is a class of diffusers with one
method written anew: the same operations on the same numbers, in place where nobody else holds the tensor, without
dividing by 1, and without leaving channels_last, which the integer convolutions read and write.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models.activations import GEGLU
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from torch import Tensor, nn
from torch.nn import functional as F

from methods.kernels.onednn import Int8Conv2d, Int8Linear


class InPlaceResnetBlock2D(ResnetBlock2D):
    """A residual block with a time shift, without resampling."""

    def forward(self, input_tensor: Tensor, temb: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Apply the block to (n, in, height, width); see `ResnetBlock2D`."""
        hidden = self.conv1(F.silu(self.norm1(input_tensor), inplace=True))
        hidden += self.time_emb_proj(temb if self.skip_time_act else F.silu(temb))[:, :, None, None]
        hidden = self.conv2(F.silu(self.norm2(hidden), inplace=True))
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


class InPlaceGEGLU(GEGLU):
    """A gated linear unit: hidden * gelu(gate), both halves of one projection."""

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Apply it to (..., in)."""
        hidden, gate = self.proj(hidden_states).chunk(2, dim=-1)
        return F.gelu(gate).mul_(hidden)

    @staticmethod
    def fits(block: nn.Module) -> bool:
        """Return whether a module is one that this class computes."""
        return type(block) is GEGLU and isinstance(block.proj, Int8Linear)


class ChannelsLastTransformer2DModel(Transformer2DModel):
    """A transformer over the pixels of a picture, whose result stays in the layout of its input."""

    def _get_output_for_continuous_inputs(
        self, hidden_states: Tensor, residual: Tensor, batch_size: int, height: int, width: int, inner_dim: int
    ) -> Tensor:
        if self.use_linear_projection:
            hidden_states = self.proj_out(hidden_states)
        picture = hidden_states.reshape(batch_size, height, width, inner_dim).permute(0, 3, 1, 2)
        if not self.use_linear_projection:
            picture = self.proj_out(picture)
        return picture + residual

    @staticmethod
    def fits(block: nn.Module) -> bool:
        """Return whether a module is one that this class computes."""
        return (
            type(block) is Transformer2DModel
            and bool(block.is_input_continuous)
            and isinstance(block.proj_out, Int8Conv2d | Int8Linear)
        )


BLOCKS: tuple[Any, ...] = (InPlaceResnetBlock2D, InPlaceGEGLU, ChannelsLastTransformer2DModel)
"""Classes that take the place of the class that they derive from."""


@torch.no_grad()
def streamline(module: nn.Module) -> None:
    """Let every block of a backbone with kernels that has a class here be of that class, in place."""
    for block in module.modules():
        for own in BLOCKS:
            if own.fits(block):
                block.__class__ = own
