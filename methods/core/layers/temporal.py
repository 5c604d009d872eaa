"""The part of a U-Net that only the timestep and the caption's vector enter: the temporal information block.

TFMQ-DM (arXiv 2311.16503, section 4.1): the embedding of the timestep and its projections in all ResNet blocks are one
block, whose outputs are what the projections return. Nothing of the latent enters, so its inputs are as many as there
are timesteps (and, where a vector of the caption is part of the embedding, as with AudioLDM, captions).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

NAME = "temporal"
_FIRST, _CLASS = "time_embedding.linear_1", "class_embedding"


class TemporalBlock(nn.Module):
    """The embedding of a backbone and the projections of all of its ResNet blocks, as one block.

    Args:
        backbone: of diffusers' U-Nets, in full precision or quantized, whose layers the block shares.
    """

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        resnets = {name: module for name, module in backbone.named_modules() if _has_projection(module)}
        self.time_embedding = backbone.get_submodule("time_embedding")
        self.class_embedding: nn.Module | None = getattr(backbone, _CLASS, None)
        self.projections = nn.ModuleList([resnet.time_emb_proj for resnet in resnets.values()])
        self._activations = [resnet.nonlinearity for resnet in resnets.values()]
        self._joined = bool(getattr(backbone.config, "class_embeddings_concat", False))
        self.inputs = [_FIRST] if self.class_embedding is None else [_FIRST, _CLASS]
        """Names of the layers whose inputs `forward` takes."""
        self.prefixes = ("time_embedding.", _CLASS, *(f"{name}.time_emb_proj" for name in resnets))
        """Beginnings of the names of its layers."""

    @classmethod
    def is_in(cls, backbone: nn.Module) -> bool:
        """Return whether a backbone has such a block."""
        return hasattr(backbone, "time_embedding") and any(map(_has_projection, backbone.modules()))

    def forward(self, timestep: Tensor, caption: Tensor | None = None) -> tuple[Tensor, ...]:
        """Return what the projections return.

        Args:
            timestep: (n, width), sines and cosines of the timestep.
            caption: (n, width), what the layer `class_embedding` reads, if the backbone has one.
        """
        embedding = self.time_embedding(timestep)
        if self.class_embedding is not None:
            of_caption = self.class_embedding(caption)
            embedding = torch.cat([embedding, of_caption], dim=-1) if self._joined else embedding + of_caption
        pairs = zip(self._activations, self.projections, strict=True)
        return tuple(projection(activation(embedding)) for activation, projection in pairs)


def _has_projection(module: Any) -> bool:
    return isinstance(getattr(module, "time_emb_proj", None), nn.Module)
