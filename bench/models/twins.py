"""`MODEL[outliers]`: a hard twin of a model, as a model of its own that is packed, loaded and scored like any other.

`bench stress` makes twins by putting a module before each layer. Here the change is folded into the weights that a
diffusion transformer has in that place, so that its class, its configuration and what it computes in full precision
stay the same, while what is rounded is harder:

    read by              folded into
    to_q, to_k, to_v     gain and bias of the norm before (of cross attention: to_k, to_v read the projected caption,
                         whose last layer has the gain in its rows)
    to_out               rows of to_v
    ff.net.0             gain and bias of the norm before
    ff.net.2             rows of ff.net.0 that are multiplied by the gate

Published transformers have such channels in these very places (Xiao et al. 2023, SmoothQuant, section 3). A U-Net's
convolutions read what came through an activation, which no gain passes, so that it has no such twin.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

from admbench.errors import UsageError, nearest
from admbench.hashing import sha256_json

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch
    from torch import Tensor, nn

    from admbench.bench.models.base import AudioDiffusionModel

GAINS = (20.0, 60.0)
"""Between which the gain of an outlier channel is drawn."""
SHARE = 32
"""One of so many channels is an outlier, and at least one."""
SEED = 0
"""Draws channels and gains."""
FORMAT = 1
"""Raised when a twin becomes another one."""
Kind = Literal["outliers", "heavy-tails"]
KINDS: tuple[Kind, ...] = ("outliers", "heavy-tails")
"""`outliers`: channel outliers of inputs. `heavy-tails`: of weights, by the inverse of the same gains."""
TRANSFORMER = "StableAudioDiTModel"
"""Class of the backbones that have twins."""
_GRAMMAR = re.compile(r"(?P<model>[^\[\]:]+)\[(?P<kind>[^\[\]]*)\]")


class TwinSpec(NamedTuple):
    """What a name such as `tiny-dit[outliers]` asks for."""

    model: str
    """Registry name of the model whose twin it is."""
    kind: Kind

    def fingerprint(self, weights_sha256: str) -> str:
        """Return what stands for the hash of the twin's weights, of that of the model's."""
        return sha256_json(["twin", FORMAT, weights_sha256, self.kind, GAINS, SHARE, SEED])


def parse(name: str) -> TwinSpec | None:
    """Return what a model's name asks for; None if it is not of the form `MODEL[KIND]`.

    >>> parse("tiny-dit[outliers]"), parse("tiny-dit")
    (TwinSpec(model='tiny-dit', kind='outliers'), None)

    Raises:
        UsageError: there is no such kind of twin.
    """
    parts = _GRAMMAR.fullmatch(name)
    if parts is None:
        return None
    if parts["kind"] not in KINDS:
        hint = nearest(parts["kind"], KINDS)
        raise UsageError(f'model "{name}": no twin "{parts["kind"]}": expected one of {", ".join(KINDS)}.{hint}')
    return TwinSpec(parts["model"], cast(Kind, parts["kind"]))


def drawn_gains(channels: int, generator: torch.Generator) -> Tensor:
    """Return a gain of each channel, (channels,) float32: `GAINS` in one of `SHARE`, 1 in the others."""
    import torch

    chosen = torch.randperm(channels, generator=generator)[: max(1, channels // SHARE)]
    gains = torch.ones(channels)
    low, high = GAINS
    gains[chosen] = low + (high - low) * torch.rand(len(chosen), generator=generator)
    return gains


def harden(model: AudioDiffusionModel, spec: TwinSpec, name: str) -> AudioDiffusionModel:
    """Make a model its own twin, in place, and return it.

    Args:
        model: in full precision, as it was loaded.
        spec: which twin.
        name: that it has from now on.

    Raises:
        UsageError: its backbone is not one that has twins.
    """
    import torch

    backbone = model.backbone
    if type(backbone).__name__ != TRANSFORMER:
        raise UsageError(f"{name}: expected a model whose backbone is {TRANSFORMER}, found {type(backbone).__name__}")
    generator = torch.Generator().manual_seed(SEED)

    def gains(channels: int) -> Tensor:
        drawn = drawn_gains(channels, generator)
        return 1 / drawn if spec.kind == "heavy-tails" else drawn

    with torch.no_grad():
        _fold(backbone, gains)
    model.card = replace(model.card, name=name, weights_sha256=spec.fingerprint(model.card.weights_sha256))
    return model


def _fold(backbone: Any, gains: Callable[[int], Tensor]) -> None:
    """Scale channels between the layers of each block; the order of the draws is part of what a twin is."""
    caption = backbone.cross_attention_proj[2]
    readers = [layer for block in backbone.transformer_blocks for layer in (block.attn2.to_k, block.attn2.to_v)]
    _scale(caption, readers, gains(caption.out_features))
    for block in backbone.transformer_blocks:
        own, cross, (gated, _, out) = block.attn1, block.attn2, block.ff.net
        for norm, readers in (
            (block.norm1, [own.to_q, own.to_k, own.to_v]),
            (block.norm2, [cross.to_q]),
            (block.norm3, [gated.proj]),
        ):
            _scale(norm, readers, gains(norm.weight.numel()))
        for attention in (own, cross):
            width = attention.inner_dim // attention.heads
            _scale(attention.to_v, [attention.to_out[0]], gains(attention.to_v.out_features), width=width)
        _scale(gated.proj, [out], gains(out.in_features))


def _scale(writer: Any, readers: Sequence[nn.Module], gain: Tensor, width: int | None = None) -> None:
    """Multiply the first channels that a layer or a norm writes, and divide what reads them.

    Args:
        writer: has a weight, and perhaps a bias, whose first dimension is its output channels.
        readers: Linear layers.
        gain: (channels,), no more than the writer has.
        width: of a head of attention, each of which is read several times in a row where keys and values have fewer
            heads than queries; None of anything else.
    """
    for written in (writer.weight, writer.bias):
        if written is not None:
            written[: len(gain)] *= gain.view(-1, *[1] * (written.ndim - 1))
    for reader in readers:
        weight: Any = reader.weight
        heads = gain if width is None else gain.view(-1, width)
        weight /= heads.repeat_interleave(weight.shape[1] // len(gain), dim=0).flatten()
