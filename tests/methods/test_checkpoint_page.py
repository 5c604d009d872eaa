"""The page on the checkpoint format says enough to read one: here by numpy, from nothing but what the page says."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import re
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

import admbench.bench.models  # noqa: F401, it allows the networks that the page lists
from admbench.methods.core.checkpoint import allowed
from admbench.methods.core.checkpoint.header import FORMAT_VERSION, Component, Header
from admbench.methods.core.checkpoint.reading import load
from admbench.methods.core.checkpoint.third_party import ThirdPartyHeader
from admbench.methods.core.checkpoint.writing import pack
from admbench.methods.core.layers.attention import attention_sites
from admbench.methods.core.layers.kinds import quantizable_layers, replace_layer
from admbench.methods.core.layers.quantized import QuantizedLayer, dynamic_input, quantized_layers
from admbench.methods.core.layers.split import split_layers
from admbench.methods.core.numbers.codebooks import NF4_LEVELS
from admbench.methods.core.numbers.fitting import dynamic_quantizer, fit_weight
from admbench.methods.core.numbers.formats import FORMATS
from admbench.methods.core.numbers.packing import packed_size
from admbench.methods.core.numbers.scheme import LayerKind
from admbench.methods.core.reconstruction.correction import NoiseCorrection, correct

PAGE = (Path(__file__).parents[2] / "docs" / "checkpoint-format.md").read_text(encoding="utf-8")
STORED = Path(__file__).parent / "checkpoints"
ELEMENTS = {"e4m3": (4, 3), "e5m2": (5, 2), "e2m1": (2, 1)}
"""Bits of exponent and of mantissa."""


@pytest.fixture
def formats(audioldm, everything):
    """A U-Net whose layers take the published formats in turn, one layer split, its prediction corrected."""
    module, kinds = copy.deepcopy(audioldm.backbone), cycle(FORMATS.values())
    split = next(name for name in quantizable_layers(module) if name.endswith("conv_shortcut"))
    split_layers(module, {split: 3})
    for (name, layer), made in zip(quantizable_layers(module).items(), kinds, strict=False):
        weight = fit_weight(made.weight.for_terms(layer.weight[0].numel()), layer.weight)
        activation = None if made.activation is None else dynamic_input(made.activation, layer)
        replace_layer(module, name, QuantizedLayer.from_float(layer, weight, activation))
    correct(module, NoiseCorrection(torch.zeros(2), torch.tensor([1.0, 2.0])))
    return module.eval(), *everything[1:]


@pytest.fixture(params=["every part", "number formats", "text_encoder", "vocoder"])
def folder(request, tmp_path) -> Path:
    if request.param in ("text_encoder", "vocoder"):
        return STORED / f"version-{FORMAT_VERSION}" / request.param
    fixture = {"every part": "everything", "number formats": "formats"}[request.param]
    pack(tmp_path / "packed", *request.getfixturevalue(fixture))
    return tmp_path / "packed"


class Stored:
    """The tensors of a file; each may be taken once."""

    def __init__(self, file: Path) -> None:
        self.tensors = load_file(file)

    def take(self, name: str, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
        tensor = self.tensors.pop(name)
        assert (tensor.dtype, tensor.shape) == (dtype, shape), name
        return tensor

    def codes(self, name: str, bits: int, shape: tuple[int, ...]) -> np.ndarray:
        count = math.prod(shape)
        stream = np.unpackbits(self.take(name, "uint8", (packed_size(count, bits),)), bitorder="little")
        assert not stream[count * bits :].any()
        return (stream[: count * bits].reshape(count, bits) @ (1 << np.arange(bits))).reshape(shape)


def element(codes: np.ndarray, kind: str) -> np.ndarray:
    """Return what floating-point numbers of a few bits stand for."""
    exponent_bits, mantissa_bits = ELEMENTS[kind]
    sign = codes >> (exponent_bits + mantissa_bits)
    exponent = (codes >> mantissa_bits) & (2**exponent_bits - 1)
    mantissa = (codes & (2**mantissa_bits - 1)) / 2**mantissa_bits
    bias = 2 ** (exponent_bits - 1) - 1
    values = np.where(exponent > 0, (1 + mantissa) * 2.0 ** (exponent - bias), mantissa * 2.0 ** (1 - bias))
    return np.where(sign == 1, -values, values)


def scale_shape(scheme: dict[str, Any], shape: list[int]) -> tuple[int, ...]:
    groups = math.prod(shape[1:]) // (scheme["group_size"] or 1)
    return {"tensor": (), "channel": (shape[0],), "group": (shape[0], groups)}[scheme["granularity"]]


def weight_of(stored: Stored, name: str, layer: dict[str, Any]) -> np.ndarray:
    """Return the weight of a layer as the section on numbers has it."""
    scheme, shape, bits = layer["weight"], tuple(layer["shape"]), layer["weight"]["bits"]
    scales = scale_shape(scheme, layer["shape"])
    codes = stored.codes(f"{name}.weight_codes", bits, shape).reshape(*scales, -1)
    middle, kind = 2 ** (bits - 1), scheme["scales"]
    if kind == "k":
        values = super_blocks(stored, name, scheme, scales, codes)
    elif kind == "float16":
        values = (codes - middle) * stored.take(f"{name}.weight_half_scale", "float16", scales)[..., None].astype(float)
    elif kind == "e8m0":
        exponents = stored.take(f"{name}.weight_exponents", "uint8", scales).astype(float)
        assert exponents.max() <= 254
        values = element(codes, scheme["codebook"]) * 2 ** (exponents[..., None] - 127)
    elif kind == "e4m3":
        blocks = element(stored.take(f"{name}.weight_block_scales", "uint8", scales).astype(int), "e4m3")
        assert blocks.min() > 0
        whole = stored.take(f"{name}.weight_tensor_scale", "float32", ())
        values = element(codes, scheme["codebook"]) * blocks[..., None] * whole
    else:
        values = float32_scales(stored, name, scheme, scales, codes)
    return values.reshape(shape)


def float32_scales(
    stored: Stored, name: str, scheme: dict[str, Any], scales: tuple[int, ...], codes: np.ndarray
) -> np.ndarray:
    scale = stored.take(f"{name}.weight_scale", "float32", scales)[..., None].astype(float)
    if scheme["codebook"] in ELEMENTS:
        return element(codes, scheme["codebook"]) * scale
    dtype = "float32" if scheme["zero"] == "float" else "uint8"
    zero = stored.take(f"{name}.weight_zero_point", dtype, scales)[..., None].astype(float)
    if scheme["codebook"] == "nf4":
        assert (zero == 7).all()
        return np.array(NF4_LEVELS)[codes] * scale
    return (codes - zero) * scale


def super_blocks(
    stored: Stored, name: str, scheme: dict[str, Any], scales: tuple[int, ...], codes: np.ndarray
) -> np.ndarray:
    out, groups = scales
    most = 16 if scheme["symmetric"] else 8
    together = next(size for size in range(most, 0, -1) if groups % size == 0)

    def of_groups(part: str) -> np.ndarray:
        halves = stored.take(f"{name}.weight_{part}", "float16", (out, groups // together))
        return np.repeat(halves.astype(float), together, axis=1)[..., None]

    d = of_groups("super_scale")
    if scheme["symmetric"]:
        a = stored.take(f"{name}.weight_sub_scales", "int8", scales)[..., None].astype(float)
        return (codes - 2 ** (scheme["bits"] - 1)) * a * d
    a, b = (stored.codes(f"{name}.weight_{part}", 6, scales)[..., None] for part in ("sub_scales", "sub_mins"))
    return codes * a * d - b * of_groups("super_min")


def take_the_rest(stored: Stored, name: str, layer: dict[str, Any]) -> None:
    """Take what a layer has beside its weight, as the table of tensors says."""
    parts, (out, *inner) = layer["parts"], layer["shape"]
    if layer["activation"] is not None and not layer["activation"]["dynamic"]:
        entries = (parts["timesteps"],) if parts["timesteps"] else ()
        stored.take(f"{name}.activation_scale", "float32", entries)
        stored.take(f"{name}.activation_zero_point", "uint8", entries)
        if entries:
            assert (np.diff(stored.take(f"{name}.activation_timesteps", "float32", entries)) > 0).all()
    if parts["input_scale"]:
        assert (stored.take(f"{name}.input_scale", "float32", (inner[0],)) > 0).all()
    if parts["input_shift"]:
        stored.take(f"{name}.input_shift", "float32", (inner[0],))
    if rank := parts["rank"]:
        stored.take(f"{name}.low_rank_down", "float16", (rank, *inner))
        stored.take(f"{name}.low_rank_up", "float16", (out, rank))
    if f"{name}.bias" in stored.tensors:
        stored.take(f"{name}.bias", "float32", (out,))


def test_the_page_says_what_every_tensor_means(folder: Path) -> None:
    header, stored = json.loads((folder / "quantization.json").read_text()), Stored(folder / "model.safetensors")
    network = load(folder)
    layers = quantized_layers(network)
    assert layers.keys() == header["layers"].keys()
    for name, layer in header["layers"].items():
        expected = layers[name].weight.detach().numpy()
        np.testing.assert_allclose(weight_of(stored, name, layer), expected, rtol=1e-5, atol=1e-6)
        take_the_rest(stored, name, layer)
    for name in header["splits"]:
        assert {f"{name}.first", f"{name}.second"} <= layers.keys()
        assert layers[f"{name}.second"].bias is None
    for name, sites in header["attentions"].items():
        assert attention_sites(network).keys() == header["attentions"].keys()
        for operand in (operand for operand, scheme in sites.items() if scheme is not None):
            stored.take(f"{name}.sites.{operand}.scale", "float32", ())
            stored.take(f"{name}.sites.{operand}.zero_point", "uint8", ())
    if entries := header.get("correction", 0):
        for part in ("mean", "timesteps"):
            stored.take(f"noise_correction.{part}", "float32", (entries,))
    own = {name: tensor for name, tensor in network.state_dict().items() if name.rpartition(".")[0] not in layers}
    assert stored.tensors.keys() <= own.keys(), "the rest has its name in the network"
    assert {tensor.dtype for tensor in stored.tensors.values()} <= {np.dtype(header["backbone"]["dtype"])}


def test_a_header_has_the_keys_and_the_hashes_of_the_page(folder: Path) -> None:
    header = json.loads((folder / "quantization.json").read_text())
    assert header["format_version"] == FORMAT_VERSION
    assert header.keys() | {"correction"} == set(first_column("quantization.json"))
    keys = {key: value for key, value in header.items() if key != "sha256"}
    text = json.dumps(keys, sort_keys=True, separators=(",", ":"))
    assert header["sha256"] == hashlib.sha256(text.encode("ascii")).hexdigest()
    for name, tensor in load_file(folder / "model.safetensors").items():
        assert header["tensors"][name] == hashlib.sha256(tensor.tobytes()).hexdigest()


def first_column(heading: str) -> Iterator[str]:
    """Yield the keys in the first column of the first table of a section of the page."""
    section = PAGE.partition(f"\n## {heading}\n")[2]
    table = re.search(r"(?:^\|.*\n)+", section, flags=re.MULTILINE)
    assert table is not None
    for row in table[0].splitlines():
        yield from re.findall(r"`(\w+)`", row.split("|")[1])


def test_the_page_lists_the_keys_of_both_headers() -> None:
    assert PAGE.startswith(f"# The packed checkpoint, format version {FORMAT_VERSION}\n")
    assert f"| `format_version` | {FORMAT_VERSION} |" in PAGE
    assert set(first_column("quantization.json")) == Header.model_fields.keys()
    assert set(first_column("Formats of third parties")) == ThirdPartyHeader.model_fields.keys()


def test_the_page_lists_the_components_the_kinds_and_the_architectures() -> None:
    (components,) = re.findall(r"^\| `component` \| (.*) \|$", PAGE, flags=re.MULTILINE | re.ASCII)[:1]
    assert re.findall(r'"(\w+)"', components) == [*get_args(Component)]
    (kinds,) = re.findall(r"`kind` \((`linear`.*?)\)", PAGE)
    assert re.findall(r"`(\w+)`", kinds) == [*get_args(LayerKind)]
    (names,) = re.findall(r"Architectures: (.*?) of this package\.", PAGE, flags=re.DOTALL)
    # a plug-in may allow more
    ours = {
        name for name, place in allowed._ALLOWED.items() if _library(place) in ("diffusers", "transformers", "admbench")
    }
    assert set(re.findall(r"`(\w+)`", names)) == ours


def _library(place: str | type) -> str:
    return (place if isinstance(place, str) else place.__module__).partition(":")[0].partition(".")[0]


@pytest.mark.parametrize("name", [name for name, made in FORMATS.items() if made.activation])
def test_inputs_in_floating_point_have_the_scale_of_the_page_and_its_rounding(name: str) -> None:
    made = FORMATS[name].activation
    values = torch.randn(2, 3, 64, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 1e3])[:, None, None]
    rounded = dynamic_quantizer(made, -1).fake_quantize(values).numpy()
    groups = values.double().numpy().reshape(2, 3, -1, made.group_size or 64)
    largest = np.abs(groups).max(-1, keepdims=True)
    levels = np.unique(element(np.arange(2**made.bits), made.codebook)[_numbers(made.codebook)])
    most = levels.max()
    if made.scales == "float32":
        scale = largest / most
    elif made.scales == "e8m0":
        scale = 2 ** (np.floor(np.log2(largest)) - np.floor(np.log2(most)))
    else:
        whole = largest.max((1, 2), keepdims=True) / (448 * most)
        scales = np.unique(element(np.arange(127), "e4m3"))
        scale = nearest(largest / (most * whole), scales) * whole
    expected = nearest(groups / scale, levels) * scale
    # a number in the middle of two may go either way: float32 here, float64 there
    assert (np.abs(rounded - expected.reshape(rounded.shape)) > 1e-5 * np.abs(rounded)).mean() < 0.01


def nearest(values: np.ndarray, levels: np.ndarray) -> np.ndarray:
    return levels[np.abs(values[..., None] - levels).argmin(-1)]


def _numbers(kind: str) -> np.ndarray:
    """Return the codes that are no NaN and not infinite: OFP8's E4M3 has NaN in two codes, E5M2 all of an exponent."""
    codes = np.arange(2 ** (1 + sum(ELEMENTS[kind])))
    magnitude = codes & (len(codes) // 2 - 1)
    return codes[magnitude < {"e4m3": 0x7F, "e5m2": 0x7C, "e2m1": 8}[kind]]
