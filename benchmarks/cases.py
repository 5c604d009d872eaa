"""The blocks of AudioLDM's U-Net that loops are timed on, in its small and its published size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.resnet import ResnetBlock2D
from torch import nn

from admbench.methods.core.layers.blocks import BlockInputs, BlockKind

SAMPLES = 32
"""Samples that an iteration's are drawn from."""
Times = tuple[float, float]
"""Wall and processor time, s."""
Loop = Callable[[int], list[Times]]
"""Number of iterations -> the time of each."""


@dataclass(frozen=True)
class Case:
    """A block and the shape of its inputs."""

    name: str
    kind: BlockKind
    channels: int
    positions: tuple[int, int]
    """Time and frequency."""
    embedding: int
    """Width of the timestep's and caption's embedding."""
    heads: int

    def block(self) -> nn.Module:
        """Return the block in full precision, with random weights."""
        torch.manual_seed(0)
        if self.kind == "resnet":
            return ResnetBlock2D(in_channels=self.channels, temb_channels=self.embedding, groups=8)
        return BasicTransformerBlock(self.channels, self.heads, self.channels // self.heads, double_self_attention=True)

    def inputs(self) -> BlockInputs:
        """Return random inputs."""
        generator = torch.Generator().manual_seed(1)
        time_steps, bins = self.positions
        if self.kind == "resnet":
            shapes = [(SAMPLES, self.channels, time_steps, bins), (SAMPLES, self.embedding)]
        else:
            shapes = [(SAMPLES, time_steps * bins, self.channels)]
        return BlockInputs(tuple(torch.randn(shape, generator=generator) for shape in shapes), {}, SAMPLES)


CASES = (
    Case("tiny-audioldm resnet", "resnet", 96, (16, 4), 384, 4),
    Case("tiny-audioldm transformer", "transformer", 96, (16, 4), 384, 4),
    Case("tiny-audioldm resnet, innermost", "resnet", 128, (8, 2), 384, 4),
    Case("tiny-audioldm transformer, innermost", "transformer", 128, (8, 2), 384, 4),
    Case("AudioLDM-S resnet", "resnet", 256, (128, 8), 1024, 8),
    Case("AudioLDM-S transformer", "transformer", 256, (128, 8), 1024, 8),
    Case("AudioLDM-S resnet, innermost", "resnet", 640, (32, 2), 1024, 8),
    Case("AudioLDM-S transformer, innermost", "transformer", 640, (32, 2), 1024, 8),
)
