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
from diffusers.models.activations import GEGLU
from diffusers.models.attention import BasicTransformerBlock, FeedForward
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from torch import Tensor, nn
from torch.nn import functional as F

from admbench.methods.core.kernels.onednn import Int8Conv2d, Int8Linear
from admbench.methods.core.native.attention import attention, takes
from admbench.methods.core.native.norm import CHANNELS, norm_silu_codes

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
        codes = norm_silu_codes(input_tensor, self.norm1, first.quantize.numbers, first.padding)
        hidden = first.from_padded_codes(codes)
        shift = self.time_emb_proj(temb if self.skip_time_act else F.silu(temb)).contiguous()
        codes = norm_silu_codes(hidden, self.norm2, second.quantize.numbers, second.padding, shift)
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
        norms = (self.norm1, self.norm2)
        self.native = native and all(
            type(norm) is nn.GroupNorm and norm.affine and norm.num_channels % CHANNELS == 0 for norm in norms
        )


class FusedGEGLU(GEGLU):
    """A gated linear unit: hidden * gelu(gate), of two products of the same codes, GELU applied as one is written."""

    proj: Any
    hidden: Any
    gate: Any

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Apply it to (..., in)."""
        codes = self.hidden.quantize(hidden_states)
        return self.gate.from_codes(codes, activation="gelu").mul_(self.hidden.from_codes(codes))

    @staticmethod
    def fits(block: nn.Module) -> bool:
        """Return whether a module is one that this class computes."""
        return type(block) is GEGLU and isinstance(block.proj, Int8Linear)

    def arrange(self, glue: torch.dtype, native: bool) -> None:
        """See `StreamlinedBlock`."""
        half = self.proj.features // 2
        self.hidden, self.gate = self.proj.part(slice(half)), self.proj.part(slice(half, None))
        del self.proj


class FusedAttention(Attention):
    """Scaled dot products between integer projections; those of one input are one product."""

    glue: torch.dtype
    native: bool
    heads: Any
    to_q: Any
    to_k: Any
    to_v: Any
    to_out: Any
    projections: Any

    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *,
        onto: Tensor | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """Apply it to (n, tokens, in); the result is added to `onto`, in place, if there is one. See `Attention`."""
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = self._projected(hidden_states, context)
        out = self.to_out[0]
        shape = (len(context), 1, context.shape[1])  # of a mask that is one for all queries
        if (
            self.native
            and takes(query, key, value, self.heads)
            and (attention_mask is None or attention_mask.shape == shape)
        ):
            bias = None if attention_mask is None else attention_mask[:, 0].float().contiguous()
            codes = attention(query, key, value, self.heads, bias=bias, codes=out.quantize.numbers)
        else:
            codes = out.quantize(self._attended(query, key, value, attention_mask))
        return cast(Tensor, out.from_codes(codes, onto=onto))

    def _attended(self, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None) -> Tensor:
        """Return (n, tokens, heads * size), by torch's operator."""
        mask = cast(Any, self).prepare_attention_mask(attention_mask, key.shape[1], len(key))
        if mask is not None:
            mask = mask.view(len(key), self.heads, -1, mask.shape[-1]).to(self.glue)
        query, key, value = self._heads(query), self._heads(key), self._heads(value)
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask).transpose(1, 2).flatten(2)

    def _projected(self, hidden_states: Tensor, context: Tensor) -> list[Tensor]:
        """Return queries, keys and values, each (n, tokens, heads * size)."""
        *alone, together = self.projections
        projected = together.from_codes(together.quantize(context), dtype=self.glue)
        parts = list(projected.split(self.inner_dim, dim=-1))
        if alone:
            parts = [alone[0].from_codes(alone[0].quantize(hidden_states), dtype=self.glue), *parts[-2:]]
        elif context is not hidden_states:  # no attention to a context has one quantizer for both, but it might
            parts[0] = together.from_codes(together.quantize(hidden_states), dtype=self.glue)[..., : self.inner_dim]
        return parts

    def _heads(self, tokens: Tensor) -> Tensor:
        return cast(Tensor, tokens.unflatten(-1, (self.heads, -1))).transpose(1, 2)

    @staticmethod
    def fits(block: nn.Module) -> bool:
        """Return whether a module is one that this class computes."""
        return (
            type(block) is Attention
            and type(block.processor) is AttnProcessor2_0
            and all(isinstance(layer, Int8Linear) for layer in (block.to_q, block.to_k, block.to_v, block.to_out[0]))
            and all(part is None for part in (block.group_norm, block.spatial_norm, block.norm_q, block.norm_k))
            and not block.norm_cross
            and not block.residual_connection
            and block.rescale_output_factor == 1
            and block.to_q.features == block.to_k.features == block.to_v.features == block.inner_dim
            and Int8Linear.joined((block.to_k, block.to_v)) is not None
        )

    def arrange(self, glue: torch.dtype, native: bool) -> None:
        """See `StreamlinedBlock`."""
        self.glue, self.native = glue, native and glue is torch.bfloat16
        together = Int8Linear.joined((self.to_q, self.to_k, self.to_v))
        context = Int8Linear.joined((self.to_k, self.to_v))
        self.projections = nn.ModuleList([together] if together is not None else [self.to_q, cast(nn.Module, context)])
        del self.to_q, self.to_k, self.to_v


class InPlaceTransformerBlock(BasicTransformerBlock):
    """Attention to itself, attention to a context (or to itself again) and a gated linear unit, summed in place."""

    ff: Any

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Tensor:
        """Apply the block to (n, tokens, channels), which it overwrites; see `BasicTransformerBlock`."""
        hidden_states = self.attn1(
            self.norm1(hidden_states),
            encoder_hidden_states=encoder_hidden_states if self.only_cross_attention else None,
            attention_mask=attention_mask,
            onto=hidden_states,
        )
        if self.attn2 is not None:
            hidden_states = self.attn2(
                self.norm2(hidden_states),
                encoder_hidden_states=encoder_hidden_states,
                attention_mask=encoder_attention_mask,
                onto=hidden_states,
            )
        activation, _, out = self.ff.net
        wide = activation(self.norm3(hidden_states))
        return cast(Tensor, out.from_codes(out.quantize(wide), onto=hidden_states))

    @staticmethod
    def fits(block: nn.Module) -> bool:
        """Return whether a module is one that this class computes; its attentions have their classes already."""
        return (
            type(block) is BasicTransformerBlock
            and block.norm_type == "layer_norm"
            and block.pos_embed is None
            and block._chunk_size is None
            and not hasattr(block, "fuser")
            and isinstance(block.attn1, FusedAttention)
            and isinstance(block.attn2, FusedAttention | None)
            and isinstance(block.ff, FeedForward)
            and len(block.ff.net) == 3
            and isinstance(block.ff.net[2], Int8Linear)
        )

    def arrange(self, glue: torch.dtype, native: bool) -> None:
        """See `StreamlinedBlock`."""


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


BLOCKS: tuple[type[StreamlinedBlock], ...] = (
    InPlaceResnetBlock2D,
    FusedGEGLU,
    FusedAttention,
    InPlaceTransformerBlock,
    ChannelsLastTransformer2DModel,
)
"""Inner blocks before those that hold them."""


@torch.no_grad()
def streamline(module: nn.Module, glue: Glue, native: bool) -> dict[str, int]:
    """Let every block of a backbone with kernels that has a class here be of that class, in place.

    Args:
        module: the backbone.
        glue: type of what lies between the products of attentions.
        native: whether attention in bfloat16, and norms before convolutions, are computed by `core.native`.

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
