"""Quantized operands of attention: queries, keys, attention weights and values, rounded before the two products.

A `QuantizedLayer` rounds what Linear layers and convolutions read; the products q k^T and softmax(..) v are between
activations. Here they are computed one after the other, with the operands rounded in between.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from diffusers.models.attention_processor import Attention, AttnProcessor, AttnProcessor2_0
from torch import Tensor, nn

from admbench.methods.core.numbers.codebooks import CODEBOOKS
from admbench.methods.core.numbers.dynamic import DynamicQuantizer
from admbench.methods.core.numbers.quantizer import Quantizer
from admbench.methods.core.numbers.scheme import AttentionScheme, Scheme

OPERANDS = ("query", "key", "softmax", "value")
"""Names of the operands, in the order in which they are used."""


class AttentionSites(nn.Module):
    """The quantizers of one attention's operands; None leaves one in floating point.

    Operands are (n * heads, tokens, width of a head) for queries, keys and values, (n * heads, tokens, tokens) for the
    attention weights.
    """

    def __init__(self, quantizers: Mapping[str, Quantizer | None]) -> None:
        super().__init__()
        for operand in OPERANDS:
            setattr(self, operand, quantizers.get(operand))

    @classmethod
    def unfitted(cls, scheme: AttentionScheme) -> AttentionSites:
        """Return them without numbers, on the meta device: the shapes and dtypes that a checkpoint must fill."""
        schemes: dict[str, Scheme | None] = {operand: getattr(scheme, operand) for operand in OPERANDS}
        return cls({operand: _unfitted(own) for operand, own in schemes.items() if own is not None})

    @property
    def scheme(self) -> AttentionScheme:
        """How the operands are quantized."""
        found = {operand: getattr(self, operand) for operand in OPERANDS}
        return AttentionScheme(**{operand: None if one is None else one.scheme for operand, one in found.items()})

    def round(self, operand: str, values: Tensor) -> Tensor:
        """Return an operand rounded, or as it is."""
        quantizer: Quantizer | None = getattr(self, operand)
        return values if quantizer is None else quantizer.fake_quantize(values)


class QuantizedAttention:
    """Processor of an `Attention` that `attentions` names: its two products one after the other, operands rounded."""

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """Return the attention's output.

        Args:
            attn: the attention, with its `sites`.
            hidden_states: (n, tokens, channels).
            encoder_hidden_states: (n, other tokens, other channels) to attend to; None for the tokens themselves.
            attention_mask: as `Attention.prepare_attention_mask` takes it.
            temb: not used, as in diffusers' own processor.
            kwargs: nothing that changes the result.
        """
        attended = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        sites: AttentionSites = attn.sites
        query, key, value = (
            sites.round(operand, attn.head_to_batch_dim(projection(tokens)))
            for operand, projection, tokens in (
                ("query", attn.to_q, hidden_states),
                ("key", attn.to_k, attended),
                ("value", attn.to_v, attended),
            )
        )
        mask = attn.prepare_attention_mask(attention_mask, attended.shape[1], len(attended))
        weights = sites.round("softmax", attn.get_attention_scores(query, key, mask))
        out: Tensor = attn.to_out[0](attn.batch_to_head_dim(torch.bmm(weights, value)))
        return out


def attentions(backbone: nn.Module) -> dict[str, Any]:
    """Return the attentions of a backbone whose operands can be quantized, by name, in the order of definition.

    Those of diffusers' class `Attention` between Linear projections, as transformer blocks have them: one that
    normalizes queries or adds its input, or whose processor is not the standard one, computes something else.
    """
    return {name: module for name, module in backbone.named_modules() if _is_canonical(module)}


def _is_canonical(module: Any) -> bool:
    return (
        type(module) is Attention
        and type(module.processor) in (AttnProcessor, AttnProcessor2_0, QuantizedAttention)
        and all(getattr(module, part) is None for part in ("spatial_norm", "group_norm", "norm_q", "norm_k"))
        and not module.norm_cross
        and not module.residual_connection
        and module.rescale_output_factor == 1
        and module.to_k is not None
        and module.to_out is not None
    )


def attention_sites(backbone: nn.Module) -> dict[str, AttentionSites]:
    """Return the quantized attentions of a backbone by name."""
    named = backbone.named_modules()
    return {name: module.sites for name, module in named if isinstance(getattr(module, "sites", None), AttentionSites)}


def set_sites(backbone: nn.Module, name: str, sites: AttentionSites) -> None:
    """Quantize the operands of an attention, in place.

    Raises:
        KeyError: the backbone has no such attention, or its operands cannot be quantized.
    """
    attention = attentions(backbone)[name]
    attention.sites = sites
    attention.set_processor(QuantizedAttention())


def watch_operands(backbone: nn.Module, see: Callable[[str, str, Tensor], None]) -> None:
    """Let the attentions of a backbone show their operands, in place: `see(attention, operand, values)` at every call.

    For a copy of the backbone, whose attentions keep the sites that show.
    """
    for name in attentions(backbone):
        set_sites(backbone, name, _Watching(name, see))


class _Watching(AttentionSites):
    """Sites that round nothing and show everything."""

    def __init__(self, name: str, see: Callable[[str, str, Tensor], None]) -> None:
        super().__init__({})
        self._name, self._see = name, see

    def round(self, operand: str, values: Tensor) -> Tensor:
        self._see(self._name, operand, values)
        return values


def _unfitted(scheme: Scheme) -> Quantizer:
    if scheme.published or scheme.zero != "integer" or scheme.codebook == "nf4":
        raise ValueError("operands have uniform codes or log2, with an integer zero point")
    if not scheme.dynamic and scheme.granularity != "tensor":
        raise ValueError(f"an operand has one scale, or dynamic ones, and none per {scheme.granularity}")
    if scheme.dynamic:
        return DynamicQuantizer(scheme, -1)
    return CODEBOOKS.get(scheme.codebook, Quantizer).unfitted(scheme, ())
