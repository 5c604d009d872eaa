"""The page on the checkpoint format says enough to run a layer: here by numpy, from nothing but what the page says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

import admbench.bench.models  # noqa: F401, it allows the networks that the page lists
from admbench.methods.core.checkpoint.reading import load
from admbench.methods.core.layers.quantized import quantized_layers
from admbench.methods.core.numbers.timesteps import Clock, TimestepEntries

from .test_checkpoint_page import Stored, weight_of

STORED = Path(__file__).parent / "checkpoints"
FOLDERS = ["version-1", "version-2", "version-5/text_encoder", "version-6/text_encoder", "version-7", "version-8"]
TIMES = (3.0, 480.0, 960.0)
"""Of the rows of an input."""
UNIFORM = {"group_size": None, "codebook": "uniform", "zero": "integer", "scales": "float32"}
"""What a scheme of an older version does not say."""
NO_PARTS: dict[str, Any] = dict.fromkeys(("input_scale", "input_shift", "rank", "timesteps", "rotation", "deflated"), 0)


class Layer:
    """A Linear layer of a checkpoint: what the header says of it, and its tensors."""

    def __init__(self, name: str, header: dict[str, Any], file: Path) -> None:
        self.header, self._prefix, self._file, self._tensors = header, name, file, load_file(file)
        self.parts = NO_PARTS | (header.get("parts") or {})

    def __getattr__(self, name: str) -> np.ndarray:
        tensor = self._tensors[f"{self._prefix}.{name}"]
        return tensor if tensor.dtype == "uint8" else tensor.astype(float)

    def has(self, name: str) -> bool:
        return f"{self._prefix}.{name}" in self._tensors

    @property
    def weight(self) -> np.ndarray:
        """(out, in)."""
        if self.header["weight"] is None:
            return self.weight_float
        return weight_of(Stored(self._file), self._prefix, self.header | {"weight": UNIFORM | self.header["weight"]})

    def computed(self, x: np.ndarray) -> np.ndarray:
        """The output for an input (rows, positions, in), of whose rows `TIMES` are the timesteps."""
        if self.parts["input_shift"]:
            x = x - self.input_shift
        if self.parts["input_scale"]:
            x = x / self.input_scale
        if size := self.parts["rotation"]:
            x = (x.reshape(*x.shape[:-1], -1, size) @ hadamard(size)).reshape(x.shape)
        branch = 0.0
        if self.parts["rank"]:
            narrow = x @ self.low_rank_down.T
            branch = narrow @ self.low_rank_up.T
            if self.parts["deflated"]:
                x = x - narrow @ self.low_rank_down
        if self.header["activation"] is not None:
            x = self.rounded(x)
        return x @ self.weight.T + branch + (self.bias if self.has("bias") else 0.0)

    def rounded(self, x: np.ndarray) -> np.ndarray:
        scheme = self.header["activation"]
        if scheme.get("dynamic"):
            return self._rounded_as_it_comes(x, scheme)
        scale, zero = self.activation_scale, self.activation_zero_point.astype(float)
        if self.parts["timesteps"]:
            nearest = np.abs(np.array(TIMES)[:, None] - self.activation_timesteps).argmin(1)
            scale, zero = scale[nearest][:, None, None], zero[nearest][:, None, None]
        return uniform(x, scheme, scale, zero)

    def _rounded_as_it_comes(self, x: np.ndarray, scheme: dict[str, Any]) -> np.ndarray:
        shared = {
            "token": (*x.shape, 1)[:-1],
            "group": (*x.shape[:-1], -1, scheme["group_size"] or 1),
            "sample": (len(x), 1, x.shape[1] * x.shape[2]),
        }[scheme["granularity"]]
        values = x.reshape(shared)
        low, high = values.min(-1, keepdims=True).clip(max=0), values.max(-1, keepdims=True).clip(min=0)
        if entries := self.parts["timesteps"]:
            nearest = np.abs(np.array(TIMES)[:, None] - self.activation_timesteps).argmin(1)
            clip = self.activation_clip if entries == 1 else self.activation_clip[nearest]
            clip = clip.reshape(-1, *[1] * (values.ndim - 1))
            low, high = low * clip, high * clip
        top = 2 ** scheme["bits"] - 1
        if scheme["symmetric"]:
            scale = np.maximum(-low, high) / (top // 2)
            zero = np.full_like(scale, top // 2 + 1)
        else:
            scale = (high - low) / top
            zero = np.round(-low / np.where(scale > 0, scale, 1))
        return uniform(values, scheme, np.where(scale > 0, scale, 1), zero).reshape(x.shape)


def uniform(x: np.ndarray, scheme: dict[str, Any], scale: np.ndarray, zero: np.ndarray) -> np.ndarray:
    first = 1 if scheme["symmetric"] else 0
    codes = (np.round(x * (1 / scale)) + zero).clip(first, 2 ** scheme["bits"] - 1)
    return (codes - zero) * scale


def hadamard(size: int) -> np.ndarray:
    """R of `size` channels: a Kronecker product of that of 4."""
    four = (np.ones((4, 4)) - 2 * np.eye(4)[::-1]) / 2
    return four if size == 4 else np.kron(four, hadamard(size // 4))


@pytest.mark.parametrize("place", FOLDERS)
def test_a_layer_computes_what_the_page_says(place: str) -> None:
    folder = STORED / place
    header = json.loads((folder / "quantization.json").read_text())
    layers, clock = quantized_layers(load(folder)), Clock()
    clock.set(torch.tensor(TIMES))
    kinds = {}
    for name, told in header["layers"].items():
        if told["kind"] == "linear":
            kinds[json.dumps([told.get("parts"), told["weight"], told["activation"]])] = name
    assert kinds
    generator = torch.Generator().manual_seed(0)
    for name in kinds.values():
        layer = Layer(name, header["layers"][name], folder / "model.safetensors")
        if isinstance(layers[name].activation_quantizer, TimestepEntries):
            layers[name].activation_quantizer.clock = clock
        x = torch.randn(len(TIMES), 5, layer.header["shape"][1], generator=generator)
        with torch.no_grad():
            found = layers[name](x).double().numpy()
        expected = layer.computed(x.double().numpy())
        # a number in the middle of two codes may go either way: float32 here, float64 there
        off = np.abs(found - expected).max(-1) > 1e-4 * np.abs(expected).max()
        assert off.mean() <= 0.1, f"{name}: {layer.parts}, {np.abs(found - expected).max()}"
