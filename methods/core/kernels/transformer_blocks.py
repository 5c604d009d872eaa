"""Blocks of diffusers' transformers that compute the same with fewer passes over memory: attention, gates, their sums.

What `kernels.blocks` says of its classes holds for these. Where our kernels in C++ are used, layer norms and gates
leave codes, and rotary positions are applied as a product is rounded to bfloat16: nothing between two products is
written more than once.
"""

from __future__ import annotations

from typing import Any, Literal, cast

import torch
from diffusers.models.activations import GEGLU, SwiGLU
from diffusers.models.attention import BasicTransformerBlock, FeedForward
from diffusers.models.attention_processor import Attention, AttnProcessor2_0, StableAudioAttnProcessor2_0
from diffusers.models.transformers.stable_audio_transformer import StableAudioDiTBlock
from torch import Tensor, nn
from torch.nn import functional as F

from admbench.methods.core.kernels.onednn import Int8Linear
from admbench.methods.core.native.attention import attention, takes
from admbench.methods.core.native.rows import gated_codes, layer_norm_codes, rotated, takes_norm

Angles = tuple[Tensor, Tensor]
"""Cosines and sines of rotary positions, (positions, turned features)."""


class FusedGEGLU(GEGLU):
    """A gated linear unit, hidden * gelu(gate), of two products of the same codes: GELU is applied as one is written.

    With our kernels it is one product, and what follows rounds as it multiplies; see `_feed_forward`.
    """

    gated: Literal["gelu"] = "gelu"
    native: bool
    proj: Any
    hidden: Any
    gate: Any

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Apply it to (..., in)."""
        if self.native:
            return super().forward(hidden_states)
        codes = self.hidden.quantize(hidden_states)
        return self.gate.from_codes(codes, activation="gelu").mul_(self.hidden.from_codes(codes))

    @staticmethod
    def fits(block: nn.Module) -> bool:
        """Return whether a module is one that this class computes."""
        return type(block) is GEGLU and isinstance(block.proj, Int8Linear)

    def arrange(self, glue: torch.dtype, native: bool) -> None:
        """See `StreamlinedBlock`."""
        self.native = native
        if not native:
            half = self.proj.features // 2
            self.hidden, self.gate = self.proj.part(slice(half)), self.proj.part(slice(half, None))
            del self.proj


class FusedSwiGLU(SwiGLU):
    """A gated linear unit, hidden * silu(gate), of two products of the same codes, in place."""

    gated: Literal["silu"] = "silu"
    native: bool
    proj: Any
    hidden: Any
    gate: Any

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Apply it to (..., in)."""
        if self.native:
            return super().forward(hidden_states)
        codes = self.hidden.quantize(hidden_states)
        return F.silu(self.gate.from_codes(codes), inplace=True).mul_(self.hidden.from_codes(codes))

    @staticmethod
    def fits(block: nn.Module) -> bool:
        """Return whether a module is one that this class computes."""
        return type(block) is SwiGLU and isinstance(block.proj, Int8Linear)

    def arrange(self, glue: torch.dtype, native: bool) -> None:
        """See `StreamlinedBlock`."""
        FusedGEGLU.arrange(cast(Any, self), glue, native)


class FusedAttention(Attention):
    """Scaled dot products between integer projections; those of one input are one product.

    As `AttnProcessor2_0` computes it, or `StableAudioAttnProcessor2_0`: fewer heads of keys than of queries, and rotary
    positions.
    """

    glue: torch.dtype
    native: bool
    heads: Any
    to_q: Any
    to_k: Any
    to_v: Any
    to_out: Any
    projections: Any
    widths: tuple[int, int, int]
    """Features of queries, keys and values."""

    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *,
        rotary_emb: Angles | None = None,
        norm: nn.Module | None = None,
        onto: Tensor | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """Apply it to (n, tokens, in); see `Attention`.

        Args:
            hidden_states: what queries are of, and keys and values too where there is no context.
            encoder_hidden_states: the context.
            attention_mask: of the context.
            rotary_emb: positions of queries, and of keys where there is no context.
            norm: applied to `hidden_states` before.
            onto: what the result is added to, in place.
        """
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = self._projected(hidden_states, encoder_hidden_states, rotary_emb, norm)
        out = self.to_out[0]
        shape = (len(context), 1, context.shape[1])  # of a mask that is one for all queries
        if (
            self.native
            and takes(query, key, value, self.heads)
            and (attention_mask is None or (attention_mask.shape == shape and attention_mask.is_floating_point()))
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
            mask = mask.view(len(key), self.heads, -1, mask.shape[-1])
            mask = mask if mask.dtype is torch.bool else mask.to(self.glue)
        query, key, value = self._heads(query), self._heads(key), self._heads(value)
        if key.shape[1] != self.heads:
            key, value = (one.repeat_interleave(self.heads // key.shape[1], dim=1) for one in (key, value))
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask).transpose(1, 2).flatten(2)

    def _projected(
        self, hidden_states: Tensor, context: Tensor | None, angles: Angles | None, norm: nn.Module | None
    ) -> list[Tensor]:
        """Return queries, keys and values, each (n, tokens, heads * size), of one type."""
        *alone, together = self.projections
        one_product = context is None and not alone
        normed = (
            norm is not None
            and self.native
            and takes_norm(norm, hidden_states)
            and (context is not None or one_product)
        )
        if norm is not None and not normed:
            hidden_states = norm(hidden_states)

        def codes(layer: Any) -> Tensor:
            if not normed:
                return cast(Tensor, layer.quantize(hidden_states))
            return layer_norm_codes(hidden_states, cast(nn.LayerNorm, norm), layer.quantize.numbers)

        written = self.glue if angles is None else torch.float32
        if one_product:
            projected = together.from_codes(codes(together), dtype=written)
            if angles is not None and self.native:
                turned = sum(self.widths[:2]) // self._size
                return list(rotated(projected, angles, turned, self._size).split(self.widths, dim=-1))
            query, key, value = projected.split(self.widths, dim=-1)
        else:
            first = alone[0] if alone else together
            query = first.from_codes(codes(first), dtype=written)[..., : self.widths[0]]
            of_context = together.from_codes(
                together.quantize(hidden_states if context is None else context), dtype=written
            )
            key, value = of_context[..., -2 * self.widths[1] :].split(self.widths[1:], dim=-1)
        if angles is None:
            return [query, key, value]
        query = self._turned(query, angles)
        key = self._turned(key, angles) if context is None else key
        return [one.to(self.glue) for one in (query, key, value)]

    def _turned(self, tokens: Tensor, angles: Angles) -> Tensor:
        """Return (n, tokens, heads * size) in which the first features of each head are turned by their positions."""
        cosine, sine = (angle[:, None] for angle in angles)
        heads = tokens.unflatten(-1, (-1, self._size))
        turning, still = heads.tensor_split([cosine.shape[-1]], dim=-1)
        first, second = turning.chunk(2, dim=-1)
        turned = turning * cosine + torch.cat([-second, first], dim=-1) * sine
        return torch.cat([turned, still], dim=-1).flatten(2)

    @property
    def _size(self) -> int:
        return int(self.widths[0] // self.heads)

    def _heads(self, tokens: Tensor) -> Tensor:
        return cast(Tensor, tokens.unflatten(-1, (-1, self._size))).transpose(1, 2)

    @staticmethod
    def fits(block: nn.Module) -> bool:
        """Return whether a module is one that this class computes."""
        return type(block) is Attention and FusedAttention._fits(block)

    @staticmethod
    def _fits(block: Any) -> bool:
        return (
            type(block.processor) in (AttnProcessor2_0, StableAudioAttnProcessor2_0)
            and all(isinstance(layer, Int8Linear) for layer in (block.to_q, block.to_k, block.to_v, block.to_out[0]))
            and all(part is None for part in (block.group_norm, block.spatial_norm, block.norm_q, block.norm_k))
            and not block.norm_cross
            and not block.residual_connection
            and block.rescale_output_factor == 1
            and block.to_k.features == block.to_v.features
            and block.to_q.features == block.inner_dim
            and (block.to_k.features == block.inner_dim or _has_fewer_heads_of_keys(block))
            and Int8Linear.joined((block.to_k, block.to_v)) is not None
        )

    def arrange(self, glue: torch.dtype, native: bool) -> None:
        """See `StreamlinedBlock`."""
        self.glue, self.native = glue, native and glue is torch.bfloat16
        self.widths = (self.to_q.features, self.to_k.features, self.to_v.features)
        together = Int8Linear.joined((self.to_q, self.to_k, self.to_v))
        context = Int8Linear.joined((self.to_k, self.to_v))
        self.projections = nn.ModuleList([together] if together is not None else [self.to_q, cast(nn.Module, context)])
        del self.to_q, self.to_k, self.to_v


def _has_fewer_heads_of_keys(block: Any) -> bool:
    """Return whether each head of keys serves the same number of heads of queries."""
    if type(block.processor) is not StableAudioAttnProcessor2_0:
        return False
    size = block.inner_dim // block.heads
    return bool(block.to_k.features % size == 0 and block.heads % (block.to_k.features // size) == 0)


class InPlaceTransformerBlock(BasicTransformerBlock):
    """Attention to itself, attention to a context (or to itself again) and a gated linear unit, summed in place."""

    native: bool
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
            hidden_states,
            encoder_hidden_states=encoder_hidden_states if self.only_cross_attention else None,
            attention_mask=attention_mask,
            norm=self.norm1,
            onto=hidden_states,
        )
        if self.attn2 is not None:
            hidden_states = self.attn2(
                hidden_states,
                encoder_hidden_states=encoder_hidden_states,
                attention_mask=encoder_attention_mask,
                norm=self.norm2,
                onto=hidden_states,
            )
        return _feed_forward(self.ff.net, self.norm3, hidden_states, self.native)

    @staticmethod
    def fits(block: nn.Module) -> bool:
        """Return whether a module is one that this class computes; its attentions have their classes already."""
        return (
            type(block) is BasicTransformerBlock
            and block.norm_type == "layer_norm"
            and block.pos_embed is None
            and not hasattr(block, "fuser")
            and isinstance(block.attn1, FusedAttention)
            and isinstance(block.attn2, FusedAttention | None)
            and _fits_feed_forward(block)
        )

    def arrange(self, glue: torch.dtype, native: bool) -> None:
        """See `StreamlinedBlock`."""
        self.native = native


class InPlaceDiTBlock(StableAudioDiTBlock):
    """Stable Audio's: rotary attention to itself, attention to a context and a gated linear unit, summed in place."""

    native: bool
    ff: Any

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        rotary_embedding: Any = None,  # diffusers types the pair as one tensor
    ) -> Tensor:
        """Apply the block to (n, tokens, channels), which it overwrites; see `StableAudioDiTBlock`."""
        hidden_states = self.attn1(
            hidden_states,
            attention_mask=attention_mask,
            rotary_emb=rotary_embedding,
            norm=self.norm1,
            onto=hidden_states,
        )
        hidden_states = self.attn2(
            hidden_states,
            encoder_hidden_states=encoder_hidden_states,
            attention_mask=encoder_attention_mask,
            norm=self.norm2,
            onto=hidden_states,
        )
        return _feed_forward(self.ff.net, self.norm3, hidden_states, self.native)

    @staticmethod
    def fits(block: nn.Module) -> bool:
        """Return whether a module is one that this class computes; its attentions have their classes already."""
        return (
            type(block) is StableAudioDiTBlock
            and isinstance(block.attn1, FusedAttention)
            and isinstance(block.attn2, FusedAttention)
            and _fits_feed_forward(block)
        )

    def arrange(self, glue: torch.dtype, native: bool) -> None:
        """See `StreamlinedBlock`."""
        self.native = native


def _fits_feed_forward(block: Any) -> bool:
    return (
        block._chunk_size is None
        and isinstance(block.ff, FeedForward)
        and len(block.ff.net) == 3
        and isinstance(block.ff.net[2], Int8Linear)
    )


def _feed_forward(parts: Any, norm: nn.Module, hidden_states: Tensor, native: bool) -> Tensor:
    """Add a gated linear unit and a product of the normed rows to these, in place."""
    activation, _, out = parts
    if native and takes_norm(norm, hidden_states) and isinstance(activation, FusedGEGLU | FusedSwiGLU):
        product: Any = activation.proj
        codes = layer_norm_codes(hidden_states, cast(nn.LayerNorm, norm), product.quantize.numbers)
        codes = gated_codes(product.from_codes(codes), activation.gated, out.quantize.numbers)
    else:
        codes = out.quantize(activation(norm(hidden_states)))
    return cast(Tensor, out.from_codes(codes, onto=hidden_states))
