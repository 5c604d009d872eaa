"""What `quantization.json` of a packed checkpoint holds, and how it is read: the schema of the format's header.

A header is data from a stranger: every key is known, every value has its type, and names are keys, never paths. The
format is specified in docs/checkpoint-format.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, ValidationError, model_validator

from admbench.errors import CheckpointError, DataError
from admbench.files import read_json
from admbench.hashing import sha256_json
from admbench.methods.core.numbers.scheme import (
    NO_PARTS,
    AttentionScheme,
    LayerKind,
    LayerParts,
    LayerScheme,
    Scheme,
)

FORMAT_VERSION: Literal[5] = 5
ROTATED_VERSION: Literal[6] = 6
"""Of a checkpoint with a layer whose input is rotated, which is all that version 5 lacks; others stay as they were."""
CLIPPED_VERSION: Literal[7] = 7
"""Of one with a layer whose input is clipped at run time, which is all that version 6 lacks."""
DEFLATED_VERSION: Literal[8] = 8
"""Of one with a layer whose input is deflated, which is all that version 7 lacks."""
READABLE_VERSIONS = (1, 2, 3, 4, 5, 6, 7, 8)
"""Version 4 is version 5 without the hash of the header; version 3 is version 4 without number formats; version 2 is
version 3 without quantized embeddings, transposed convolutions and corrections; version 1 is version 2 without
attentions, parts of layers, and any scheme but static uniform ones."""
FloatType = Literal["float32", "bfloat16"]
LATER_KINDS: tuple[LayerKind, ...] = ("conv_transpose1d", "conv_transpose2d", "embedding")
"""Since version 3."""
Component = Literal[
    "backbone", "text_encoder", "text_encoder_2", "language_model", "condition_encoder", "vae", "vocoder"
]
"""Parts of a pipeline that can be quantized."""
SEAL = "sha256"
"""Key of the hash of a header."""
SEALED_SINCE = 5
TENSOR_FILE = "model.safetensors"
HEADER_FILE = "quantization.json"
MAX_HEADER_BYTES = 16 * 2**20

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*$", max_length=300)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=1000)]


class Section(BaseModel):
    """Part of a header: exactly these keys, of exactly these types, and nothing that is not finite."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class MethodHeader(Section):
    """The method that made a checkpoint."""

    name: Text
    """Registry name."""
    spec: Text
    """As typed."""
    version: Text
    """Version of the method's implementation."""
    config: dict[str, JsonValue]
    """Every option with its value, defaults expanded."""


class SourceHeader(Section):
    """The model that a checkpoint was made from."""

    model: Text
    """Name that the model is loaded by."""
    weights_sha256: Sha256
    """Hash of its full-precision weights."""
    license: Text | None
    """Licence of its weights, which a checkpoint made from them inherits; null if the source states none."""


class BackboneHeader(Section):
    """The structure that the tensors belong to."""

    architecture: Text
    """Class of diffusers, one of an allow-list."""
    config: dict[str, JsonValue]
    """Arguments of its constructor."""
    dtype: FloatType
    """Floating-point type of the parameters that are not quantized, which is also the one it computes in."""


class LayerHeader(LayerScheme):
    """One quantized layer: its schemes, and what it must be in the backbone."""

    kind: LayerKind
    """Type of the layer."""
    shape: list[Annotated[int, Field(ge=1)]]
    """Shape of its weight, output channels first."""
    parts: LayerParts = NO_PARTS
    """What it has besides codes and quantizers."""

    @property
    def clipped(self) -> bool:
        """Whether its input has ranges of run time that are clipped by timestep."""
        return self.activation is not None and self.activation.dynamic and self.parts.timesteps > 0


def version_of(layers: Iterable[LayerHeader]) -> Literal[5, 6, 7, 8]:
    """Return the version of a checkpoint with these layers: the first, from 5 on, that has all of it."""
    layers = list(layers)
    if any(layer.parts.deflated for layer in layers):
        return DEFLATED_VERSION
    if any(layer.clipped for layer in layers):
        return CLIPPED_VERSION
    return ROTATED_VERSION if any(layer.parts.rotation for layer in layers) else FORMAT_VERSION


def _schemes(layers: Iterable[LayerHeader]) -> list[Scheme]:
    return [side for layer in layers for side in (layer.weight, layer.activation) if side is not None]


class Header(Section):
    """What `quantization.json` holds."""

    format_version: Literal[1, 2, 3, 4, 5, 6, 7, 8]
    """Version of the format."""
    component: Component
    """Component of the pipeline that the checkpoint replaces."""
    method: MethodHeader
    """What made it."""
    source: SourceHeader
    """What it was made from."""
    backbone: BackboneHeader
    """Class and configuration of the network."""
    splits: dict[Name, Annotated[int, Field(ge=1)]] = {}
    """Layers that are a sum of two, `NAME.first` and `NAME.second`: input channel that the second part starts at.
    Files from before there were any have no such key."""
    attentions: dict[Name, AttentionScheme] = {}
    """Attentions with quantized operands by name; files of version 1 have no such key."""
    correction: Annotated[int, Field(ge=0)] = 0
    """Timesteps with a correction of the prediction. Where there is none, 0, files have no such key."""
    layers: dict[Name, LayerHeader]
    """Quantized layers by name."""
    tensors: dict[Name, Sha256]
    """Every tensor in the tensor file, with the SHA-256 of its bytes there."""
    sha256: Sha256 | None = None
    """Hash of all other keys, see `sealed`; since version 5."""

    @model_validator(mode="after")
    def _check_version(self) -> Header:
        """A reader of that version must have known all that is in it."""
        schemes = _schemes(self.layers.values())
        if self.format_version < DEFLATED_VERSION and any(layer.parts.deflated for layer in self.layers.values()):
            raise ValueError(f"version {self.format_version} has no deflated inputs")
        if self.format_version < CLIPPED_VERSION and any(layer.clipped for layer in self.layers.values()):
            raise ValueError(f"version {self.format_version} has no dynamic inputs that are clipped by timestep")
        if self.format_version < ROTATED_VERSION and any(layer.parts.rotation for layer in self.layers.values()):
            raise ValueError(f"version {self.format_version} has no rotated inputs")
        if self.format_version < 4 and any(scheme.published for scheme in schemes):
            raise ValueError(f"version {self.format_version} has no number formats but integers, nf4 and log2")
        kinds = {layer.kind for layer in self.layers.values()}
        if self.format_version < 3 and (self.correction or not kinds.isdisjoint(LATER_KINDS)):
            raise ValueError(f"version {self.format_version} has no corrections and no {', '.join(LATER_KINDS)} layers")
        if self.format_version < 2 and (
            self.attentions or any(layer.parts != NO_PARTS for layer in self.layers.values())
        ):
            raise ValueError("version 1 has no attentions, and no parts of layers")
        first: dict[str, tuple[object, ...]] = {
            "granularity": ("tensor", "channel"),
            "dynamic": (False,),
            "codebook": ("uniform",),
            "zero": ("integer",),
        }
        if self.format_version < 2 and any(
            getattr(scheme, key) not in known for scheme in schemes for key, known in first.items()
        ):
            raise ValueError("version 1 has no schemes but static uniform ones per tensor or channel")
        return self


def read_header(directory: str | Path) -> Header:
    """Return what `quantization.json` says, checked against the format but not against the tensors.

    Raises:
        CheckpointError: there is none, it is malformed, or of another format version; names the file.
    """
    path = Path(directory) / HEADER_FILE
    if not path.is_file():
        raise CheckpointError(f"{directory}: not a packed checkpoint (it has no {HEADER_FILE})")
    if path.stat().st_size > MAX_HEADER_BYTES:
        raise CheckpointError(f"{path}: larger than {MAX_HEADER_BYTES} bytes")
    try:
        value = read_json(path)
    except DataError as error:
        raise CheckpointError(str(error)) from error
    version = value.get("format_version") if isinstance(value, dict) else None
    if version not in READABLE_VERSIONS:
        expected = " or ".join(map(str, READABLE_VERSIONS))
        raise CheckpointError(f"{path}: format version {version!r} is not known; expected {expected}")
    try:
        header = Header.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "format_version"
        raise CheckpointError(f"{path}: {where}: {first['msg'].removeprefix('Value error, ')}") from error
    check_seal(path, value, since=SEALED_SINCE)
    return header


def sealed(keys: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Return the keys of a header with the hash of them all: so a changed configuration is found like a changed weight.

    The hash is that of the keys without it, as JSON with sorted keys and no spaces.
    """
    return {**keys, SEAL: sha256_json({key: value for key, value in keys.items() if key != SEAL})}


def check_seal(path: Path, keys: dict[str, JsonValue], *, since: int) -> None:
    """Refuse a header whose keys are not those that its hash was made of.

    Args:
        path: of the header.
        keys: all of it.
        since: format version of the first headers that have a hash; an earlier one has none.

    Raises:
        CheckpointError: the hash is another, missing, or there too early.
    """
    early = isinstance(version := keys["format_version"], int) and version < since
    if early != (SEAL not in keys) or (not early and sealed(keys)[SEAL] != keys[SEAL]):
        what = f"none before version {since}" if early else "that of all other keys"
        raise CheckpointError(f"{path}: {SEAL}: expected {what}; the header was changed")
