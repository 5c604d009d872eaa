"""What is attacked: a good folder, the files that are altered, how it is read, and what the reading comes to."""

from __future__ import annotations

import contextlib
import json
import shutil
import wave
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np

from admbench import methods
from admbench.bench.models import load_model
from admbench.bench.scoring.clips import read_clips
from admbench.bench.suites import load_suite
from admbench.hashing import sha256_json, sha256_tensors
from admbench.methods.bridges.diffusers_folder import backbone_folder, quantization
from admbench.methods.core.checkpoint import formats
from admbench.methods.core.checkpoint.architectures import describe_network
from admbench.methods.core.checkpoint.header import read_header
from admbench.methods.core.checkpoint.reading import load as load_packed
from admbench.methods.core.checkpoint.writing import pack
from admbench.metrics.audio import read_audio

from ..bench import pipeline_directories
from . import folders

TESTS = Path(__file__).parents[1]
CAPTIONS = ("a dog barks", "rain falls", "wind, and a bell")


@dataclass(frozen=True)
class Target:
    """One kind of bytes from outside."""

    kind: str
    """In the table of attacks."""
    make: Callable[[Path], None]
    """Writes a good folder."""
    read: Callable[[Path], Any]
    """Reads a folder, and returns a JSON value: all that the reading comes to."""
    identity: Callable[[Any], Any] = lambda value: None
    """What of that value says that two readings are the same: where it is, so is the rest. None: nothing does."""
    tensors: str | None = None
    """A file of tensors, of which single ones are altered too."""
    refused: str | None = None
    """How the good folder is refused, a pattern; then whatever becomes of it is refused as well."""

    def files(self, folder: Path) -> list[str]:
        """Return the files that are altered, relative to a good folder."""
        return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@cache
def good(name: str) -> Path:
    """Return the good folder of a target, made once for a process."""
    folder = Path(mkdtemp(prefix="admbench-fuzz-")) / "good"
    folder.mkdir()
    TARGETS[name].make(folder)
    return folder


@cache
def meant(name: str) -> Any:
    """Return what the good folder of a target is read as."""
    return TARGETS[name].read(good(name))


@contextlib.contextmanager
def copy_of(name: str) -> Iterator[Path]:
    """Give a copy of a target's good folder, to be altered."""
    folder = Path(mkdtemp(prefix="admbench-fuzz-"))
    try:
        yield shutil.copytree(good(name), folder / name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def packed_components(folder: Path) -> None:
    """Write a packed checkpoint of a text encoder and a vocoder, in today's format."""
    for component in ("text_encoder", "vocoder"):
        _pack(folder / component, component)


def _pack(folder: Path, component: Any) -> None:
    stored = TESTS / "methods" / "checkpoints" / "version-3" / component
    header = read_header(stored)
    pack(folder, load_packed(stored), header.method, header.source, component)


def _read_packed(folder: Path) -> Any:
    network = formats.load(folder)
    return [formats.read_header(folder).model_dump(mode="json"), list(_network(network))]


def _network(network: Any) -> tuple[Any, str]:
    return json.loads(json.dumps(describe_network(network), default=str)), sha256_tensors(network.state_dict())


def _read_model(folder: Path) -> Any:
    with folders.small_autoencoders():
        model = load_model(f"dir:{folder}")
    parts = {}
    for name, network in model.components.items():
        config = getattr(network, "config", None)
        values = {} if config is None else dict(config) if isinstance(config, Mapping) else config.to_dict()
        # a name that is none of a setting, such as the version that wrote the file
        known = {key: str(value) for key, value in values.items() if not key.startswith("_")}
        parts[name] = [known, sha256_tensors(network.state_dict())]
    scheduler = {key: str(value) for key, value in model._scheduler.config.items() if not key.startswith("_")}
    return {"sha256": model.weights_sha256, "parts": parts, "scheduler": scheduler}


def _read_quantized(folder: Path) -> Any:
    """What tells that a method reads such a folder; its packages, which put a network of it together, are optional."""
    spec = methods.from_spec(f"diffusers-quantized@w8a16[folder={folder}]")
    return [spec.config.sha256, quantization(backbone_folder(folder))]  # type: ignore[attr-defined]


def _captions(folder: Path) -> None:
    (folder / "captions.txt").write_text("\n".join(CAPTIONS), encoding="utf-8")
    rows = [{"caption": text, "id": f"clip-{number}", "seed": number} for number, text in enumerate(CAPTIONS)]
    (folder / "captions.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    lines = ["id,caption,seed", *(f'clip-{row["seed"]},"{row["caption"]}",{row["seed"]}' for row in rows)]
    (folder / "captions.csv").write_text("\n".join(lines), encoding="utf-8")


def _read_captions(folder: Path, name: str) -> Any:
    suite = load_suite(str(folder / name))
    return [suite.sha256, [[item.id, item.caption, item.seed] for item in suite.items]]


def _audio(folder: Path) -> None:
    (folder / "audio").mkdir()
    entries = []
    for number, caption in enumerate(CAPTIONS):
        file = f"audio/clip-{number}.wav"
        with wave.open(str(folder / file), "wb") as written:
            written.setparams((1, 2, 16_000, 0, "NONE", ""))
            tone = np.sin(np.arange(1600) * 0.05 * (number + 1))
            written.writeframes((tone * 9000).astype("<i2").tobytes())
        entries.append({"id": f"clip-{number}", "caption": caption, "seed": number, "file": file})
    (folder / "captions.json").write_text(json.dumps(entries), encoding="utf-8")


def _read_audio(folder: Path) -> Any:
    clips = read_clips(folder)
    return [[clip.id, clip.caption, sha256_json(read_audio(clip.path).waveform.tolist())] for clip in clips]


def _model(make: Callable[[Path], None], kind: str, tensors: str | None) -> Target:
    return Target(f"model folder, {kind}", make, _read_model, lambda value: value["sha256"], tensors)


TARGETS: dict[str, Target] = {
    # whatever is read from a packed checkpoint is covered by a hash: what is not refused is the same network
    "packed": Target(
        "packed checkpoint", partial(_pack, component="vocoder"), _read_packed, lambda _: "", "model.safetensors"
    ),
    "audioldm": _model(partial(folders.pipeline, pipeline_directories.audioldm), "AudioLDM", f"unet/{folders.WEIGHTS}"),
    "audioldm2": _model(
        partial(folders.pipeline, pipeline_directories.audioldm2), "AudioLDM 2", f"unet/{folders.WEIGHTS}"
    ),
    "musicldm": _model(partial(folders.pipeline, pipeline_directories.musicldm), "MusicLDM", f"unet/{folders.WEIGHTS}"),
    "stable-audio": _model(
        partial(folders.pipeline, pipeline_directories.stable_audio), "Stable Audio", f"transformer/{folders.WEIGHTS}"
    ),
    "stable-audio-3": _model(
        partial(folders.pipeline, pipeline_directories.stable_audio_3),
        "Stable Audio 3",
        f"transformer/{folders.WEIGHTS}",
    ),
    "longcat-audiodit": _model(
        partial(folders.pipeline, pipeline_directories.longcat_audiodit),
        "LongCat-AudioDiT",
        f"transformer/{folders.WEIGHTS}",
    ),
    "ace-step": _model(
        partial(folders.pipeline, pipeline_directories.ace_step), "ACE-Step", f"transformer/{folders.WEIGHTS}"
    ),
    "shards": _model(folders.shards, "weights in shards", None),
    **{
        name: _model(partial(folders.published, layout), kind, tensors)
        for name, (layout, kind, tensors) in folders.LAYOUTS.items()
    },
    "quantized": Target(
        "model folder, quantized before",
        folders.quantized,
        _read_model,
        tensors=f"unet/{folders.WEIGHTS}",
        refused=r"unet/config\.json: the weights were quantized already by quanto; expected full precision",
    ),
    "quantized-method": Target(
        "quantized folder, read by its method", folders.quantized, _read_quantized, lambda value: value[0]
    ),
    "packed-model": Target(
        "packed checkpoint in a model's place",
        folders.packed,
        _read_model,
        tensors="model.safetensors",
        refused="a packed checkpoint, not a model; it is read by --checkpoint",
    ),
    **{
        f"captions-{suffix}": Target(
            f"caption file, .{suffix}",
            _captions,
            partial(_read_captions, name=f"captions.{suffix}"),
            lambda value: value[0],
        )
        for suffix in ("txt", "csv", "jsonl")
    },
    "audio": Target("audio folder", _audio, _read_audio),
}
