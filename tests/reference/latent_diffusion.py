"""CompVis' latent diffusion from its formulas: random tensors by its names, and what its layers compute from them.

The layers are those of arXiv 2112.10752 (appendix E) as its code base lays them out. Nothing here is shared with the
loaders that the tests hold against it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

Tensors = dict[str, Tensor]


def close(made: Tensor, expected: Tensor) -> bool:
    """Equal within 1e-4 of the largest value."""
    return made.shape == expected.shape and bool((made - expected).abs().max() <= 1e-4 * expected.abs().max())


def layer(at: Tensors, name: str, *shape: int, bias: bool = True) -> None:
    """A random convolution or matrix of a variance that keeps signals alive."""
    at[f"{name}.weight"] = torch.randn(shape) / math.sqrt(math.prod(shape[1:]))
    if bias:
        at[f"{name}.bias"] = 0.1 * torch.randn(shape[0])


def norm(at: Tensors, name: str, channels: int) -> None:
    at[f"{name}.weight"], at[f"{name}.bias"] = 1 + 0.1 * torch.randn(channels), 0.1 * torch.randn(channels)


def with_weight_norm(at: Tensors) -> Tensors:
    """The same weights as magnitude and a direction of any length."""
    normed = {}
    for name, tensor in at.items():
        if name.endswith(".weight"):
            length = tensor.square().sum(dim=(1, 2), keepdim=True).sqrt()
            normed[f"{name}_g"], normed[f"{name}_v"] = length, tensor * 3.7
        else:
            normed[name] = tensor
    return normed


def swish(x: Tensor) -> Tensor:
    return x * torch.sigmoid(x)


def apply_norm(at: Tensors, name: str, x: Tensor, eps: float = 1e-6) -> Tensor:
    return F.group_norm(x, 32, at[f"{name}.weight"], at[f"{name}.bias"], eps=eps)


def apply(at: Tensors, name: str, x: Tensor, stride: int = 1) -> Tensor:
    weight = at[f"{name}.weight"]
    return F.conv2d(x, weight, at[f"{name}.bias"], stride=stride, padding=weight.shape[-1] // 2)


def linear(at: Tensors, name: str, x: Tensor) -> Tensor:
    made = x @ at[f"{name}.weight"].T
    return made + at[f"{name}.bias"] if f"{name}.bias" in at else made


def layer_norm(at: Tensors, name: str, x: Tensor, eps: float = 1e-5) -> Tensor:
    centred = x - x.mean(dim=-1, keepdim=True)
    variance = centred.square().mean(dim=-1, keepdim=True)
    return centred / (variance + eps).sqrt() * at[f"{name}.weight"] + at[f"{name}.bias"]


def attend(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """Attention without a mask: (n, i, width), (n, j, width), (n, j, width) -> (n, i, width)."""
    query, key, value = (part.unflatten(-1, (heads, -1)) for part in (query, key, value))
    likeness = torch.einsum("nihd,njhd->nhij", query, key) / math.sqrt(query.shape[-1])
    return torch.einsum("nhij,njhd->nihd", likeness.softmax(dim=-1), value).flatten(-2)


def double(x: Tensor) -> Tensor:
    return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)


@dataclass(frozen=True)
class Autoencoder:
    """`AutoencoderKL`."""

    channels: int
    multiples: tuple[int, ...]
    blocks: int
    latents: int
    attends: tuple[bool, ...]
    """Whether there is attention, for each level from the finest."""

    def tensors(self) -> Tensors:
        """All of its tensors, random."""
        at: Tensors = {}
        layer(at, "encoder.conv_in", self.channels, 1, 3, 3)
        width = self.channels
        for level, multiple in enumerate(self.multiples):
            width = self._level(at, f"encoder.down.{level}", level, width, self.blocks)
            assert width == self.channels * multiple
            if level < len(self.multiples) - 1:
                layer(at, f"encoder.down.{level}.downsample.conv", width, width, 3, 3)
        self._middle(at, "encoder", width)
        norm(at, "encoder.norm_out", width)
        layer(at, "encoder.conv_out", 2 * self.latents, width, 3, 3)
        layer(at, "quant_conv", 2 * self.latents, 2 * self.latents, 1, 1)
        layer(at, "post_quant_conv", self.latents, self.latents, 1, 1)
        layer(at, "decoder.conv_in", width, self.latents, 3, 3)
        self._middle(at, "decoder", width)
        for level in reversed(range(len(self.multiples))):
            width = self._level(at, f"decoder.up.{level}", level, width, self.blocks + 1)
            if level > 0:
                layer(at, f"decoder.up.{level}.upsample.conv", width, width, 3, 3)
        norm(at, "decoder.norm_out", width)
        layer(at, "decoder.conv_out", 1, width, 3, 3)
        return at

    def _level(self, at: Tensors, name: str, level: int, width: int, blocks: int) -> int:
        outputs = self.channels * self.multiples[level]
        for number in range(blocks):
            self._block(at, f"{name}.block.{number}", width, outputs)
            width = outputs
            if self.attends[level]:
                self._attention(at, f"{name}.attn.{number}", width)
        return width

    @staticmethod
    def _block(at: Tensors, name: str, inputs: int, outputs: int) -> None:
        norm(at, f"{name}.norm1", inputs)
        layer(at, f"{name}.conv1", outputs, inputs, 3, 3)
        norm(at, f"{name}.norm2", outputs)
        layer(at, f"{name}.conv2", outputs, outputs, 3, 3)
        if inputs != outputs:
            layer(at, f"{name}.nin_shortcut", outputs, inputs, 1, 1)

    @staticmethod
    def _attention(at: Tensors, name: str, channels: int) -> None:
        norm(at, f"{name}.norm", channels)
        for part in ("q", "k", "v", "proj_out"):
            layer(at, f"{name}.{part}", channels, channels, 1, 1)

    def _middle(self, at: Tensors, half: str, channels: int) -> None:
        self._block(at, f"{half}.mid.block_1", channels, channels)
        self._attention(at, f"{half}.mid.attn_1", channels)
        self._block(at, f"{half}.mid.block_2", channels, channels)

    def encode(self, at: Tensors, pictures: Tensor) -> Tensor:
        """Mean and log-variance of the latents."""
        x = apply(at, "encoder.conv_in", pictures)
        for level in range(len(self.multiples)):
            x = self._apply_level(at, f"encoder.down.{level}", level, x, self.blocks)
            if level < len(self.multiples) - 1:
                name = f"encoder.down.{level}.downsample.conv"
                x = F.conv2d(F.pad(x, (0, 1, 0, 1)), at[f"{name}.weight"], at[f"{name}.bias"], stride=2)
        x = swish(apply_norm(at, "encoder.norm_out", self._apply_middle(at, "encoder", x)))
        return apply(at, "quant_conv", apply(at, "encoder.conv_out", x))

    def decode(self, at: Tensors, latents: Tensor) -> Tensor:
        """Pictures (n, 1, rows, columns)."""
        x = apply(at, "decoder.conv_in", apply(at, "post_quant_conv", latents))
        x = self._apply_middle(at, "decoder", x)
        for level in reversed(range(len(self.multiples))):
            x = self._apply_level(at, f"decoder.up.{level}", level, x, self.blocks + 1)
            if level > 0:
                x = apply(at, f"decoder.up.{level}.upsample.conv", double(x))
        return apply(at, "decoder.conv_out", swish(apply_norm(at, "decoder.norm_out", x)))

    def _apply_level(self, at: Tensors, name: str, level: int, x: Tensor, blocks: int) -> Tensor:
        for number in range(blocks):
            x = self._apply_block(at, f"{name}.block.{number}", x)
            if self.attends[level]:
                x = self._apply_attention(at, f"{name}.attn.{number}", x)
        return x

    @staticmethod
    def _apply_block(at: Tensors, name: str, x: Tensor) -> Tensor:
        h = apply(at, f"{name}.conv1", swish(apply_norm(at, f"{name}.norm1", x)))
        h = apply(at, f"{name}.conv2", swish(apply_norm(at, f"{name}.norm2", h)))
        return h + (apply(at, f"{name}.nin_shortcut", x) if f"{name}.nin_shortcut.weight" in at else x)

    @staticmethod
    def _apply_attention(at: Tensors, name: str, x: Tensor) -> Tensor:
        h = apply_norm(at, f"{name}.norm", x)
        query, key, value = (apply(at, f"{name}.{part}", h).flatten(2).transpose(1, 2) for part in "qkv")
        attended = attend(query, key, value, heads=1).transpose(1, 2).reshape(x.shape)
        return x + apply(at, f"{name}.proj_out", attended)

    def _apply_middle(self, at: Tensors, half: str, x: Tensor) -> Tensor:
        x = self._apply_block(at, f"{half}.mid.block_1", x)
        x = self._apply_attention(at, f"{half}.mid.attn_1", x)
        return self._apply_block(at, f"{half}.mid.block_2", x)


@dataclass(frozen=True)
class UNet:
    """`UNetModel` with spatial transformers of one block."""

    latents: int
    channels: int
    multiples: tuple[int, ...]
    blocks: int
    heads: int
    context: int
    attends: tuple[bool, ...]
    """Whether there is attention, for each level from the finest."""

    def tensors(self) -> Tensors:
        """All of its tensors, random."""
        at: Tensors = {}
        layer(at, "time_embed.0", 4 * self.channels, self.channels)
        layer(at, "time_embed.2", 4 * self.channels, 4 * self.channels)
        layer(at, "input_blocks.0.0", self.channels, self.latents, 3, 3)
        width, number, kept = self.channels, 1, [self.channels]
        for level, multiple in enumerate(self.multiples):
            for _ in range(self.blocks):
                self._block(at, f"input_blocks.{number}.0", width, self.channels * multiple)
                width = self.channels * multiple
                if self.attends[level]:
                    self._transformer(at, f"input_blocks.{number}.1", width)
                number, kept = number + 1, [*kept, width]
            if level < len(self.multiples) - 1:
                layer(at, f"input_blocks.{number}.0.op", width, width, 3, 3)
                number, kept = number + 1, [*kept, width]
        self._block(at, "middle_block.0", width, width)
        self._transformer(at, "middle_block.1", width)
        self._block(at, "middle_block.2", width, width)
        number = 0
        for level in reversed(range(len(self.multiples))):
            for place in range(self.blocks + 1):
                self._block(at, f"output_blocks.{number}.0", width + kept.pop(), self.channels * self.multiples[level])
                width = self.channels * self.multiples[level]
                if self.attends[level]:
                    self._transformer(at, f"output_blocks.{number}.1", width)
                if level > 0 and place == self.blocks:
                    unit = 2 if self.attends[level] else 1
                    layer(at, f"output_blocks.{number}.{unit}.conv", width, width, 3, 3)
                number += 1
        norm(at, "out.0", width)
        layer(at, "out.2", self.latents, width, 3, 3)
        return at

    def _block(self, at: Tensors, name: str, inputs: int, outputs: int) -> None:
        norm(at, f"{name}.in_layers.0", inputs)
        layer(at, f"{name}.in_layers.2", outputs, inputs, 3, 3)
        layer(at, f"{name}.emb_layers.1", outputs, 4 * self.channels)
        norm(at, f"{name}.out_layers.0", outputs)
        layer(at, f"{name}.out_layers.3", outputs, outputs, 3, 3)
        if inputs != outputs:
            layer(at, f"{name}.skip_connection", outputs, inputs, 1, 1)

    def _transformer(self, at: Tensors, name: str, width: int) -> None:
        norm(at, f"{name}.norm", width)
        layer(at, f"{name}.proj_in", width, width, 1, 1)
        layer(at, f"{name}.proj_out", width, width, 1, 1)
        inner = f"{name}.transformer_blocks.0"
        for attention, told in (("attn1", width), ("attn2", self.context)):
            layer(at, f"{inner}.{attention}.to_q", width, width, bias=False)
            layer(at, f"{inner}.{attention}.to_k", width, told, bias=False)
            layer(at, f"{inner}.{attention}.to_v", width, told, bias=False)
            layer(at, f"{inner}.{attention}.to_out.0", width, width)
        layer(at, f"{inner}.ff.net.0.proj", 8 * width, width)
        layer(at, f"{inner}.ff.net.2", width, 4 * width)
        for number in (1, 2, 3):
            norm(at, f"{inner}.norm{number}", width)

    def predict(self, at: Tensors, x: Tensor, timesteps: Tensor, context: Tensor) -> Tensor:
        """The noise in latents (n, latents, rows, columns), told (n, tokens, context)."""
        half = self.channels // 2
        angles = timesteps[:, None] * 10_000.0 ** (-torch.arange(half) / half)
        time = linear(at, "time_embed.0", torch.cat([angles.cos(), angles.sin()], dim=1))
        time = swish(linear(at, "time_embed.2", swish(time)))
        x = apply(at, "input_blocks.0.0", x)
        kept, number = [x], 1
        for level in range(len(self.multiples)):
            for _ in range(self.blocks):
                x = self._apply_block(at, f"input_blocks.{number}.0", x, time)
                x = self._apply_transformer(at, f"input_blocks.{number}.1", x, context) if self.attends[level] else x
                number, kept = number + 1, [*kept, x]
            if level < len(self.multiples) - 1:
                x = apply(at, f"input_blocks.{number}.0.op", x, stride=2)
                number, kept = number + 1, [*kept, x]
        x = self._apply_block(at, "middle_block.0", x, time)
        x = self._apply_transformer(at, "middle_block.1", x, context)
        x = self._apply_block(at, "middle_block.2", x, time)
        number = 0
        for level in reversed(range(len(self.multiples))):
            for place in range(self.blocks + 1):
                x = self._apply_block(at, f"output_blocks.{number}.0", torch.cat([x, kept.pop()], dim=1), time)
                x = self._apply_transformer(at, f"output_blocks.{number}.1", x, context) if self.attends[level] else x
                if level > 0 and place == self.blocks:
                    unit = 2 if self.attends[level] else 1
                    x = apply(at, f"output_blocks.{number}.{unit}.conv", double(x))
                number += 1
        return apply(at, "out.2", swish(apply_norm(at, "out.0", x, eps=1e-5)))

    @staticmethod
    def _apply_block(at: Tensors, name: str, x: Tensor, time: Tensor) -> Tensor:
        h = apply(at, f"{name}.in_layers.2", swish(apply_norm(at, f"{name}.in_layers.0", x, eps=1e-5)))
        h = h + linear(at, f"{name}.emb_layers.1", time)[:, :, None, None]
        h = apply(at, f"{name}.out_layers.3", swish(apply_norm(at, f"{name}.out_layers.0", h, eps=1e-5)))
        return h + (apply(at, f"{name}.skip_connection", x) if f"{name}.skip_connection.weight" in at else x)

    def _apply_transformer(self, at: Tensors, name: str, x: Tensor, context: Tensor) -> Tensor:
        h = apply(at, f"{name}.proj_in", apply_norm(at, f"{name}.norm", x)).flatten(2).transpose(1, 2)
        inner = f"{name}.transformer_blocks.0"
        for attention, told in (("attn1", None), ("attn2", context)):
            asking = layer_norm(at, f"{inner}.norm{attention[-1]}", h)
            heard = asking if told is None else told
            query = linear(at, f"{inner}.{attention}.to_q", asking)
            key, value = (linear(at, f"{inner}.{attention}.to_{part}", heard) for part in "kv")
            h = h + linear(at, f"{inner}.{attention}.to_out.0", attend(query, key, value, self.heads))
        value, gate = linear(at, f"{inner}.ff.net.0.proj", layer_norm(at, f"{inner}.norm3", h)).chunk(2, dim=-1)
        h = h + linear(at, f"{inner}.ff.net.2", value * F.gelu(gate))
        return x + apply(at, f"{name}.proj_out", h.transpose(1, 2).reshape(x.shape))
