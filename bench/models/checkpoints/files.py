"""The files of a component, as diffusers, transformers and torch.save name them, and the hash of files; no torch."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from admbench.errors import BenchError, CheckpointError, is_out_of_memory
from admbench.files import read_json
from admbench.hashing import remembered_sha256, sha256_json

PREFIX = "dir:"
"""Of the name of a model that is a folder: `dir:PATH`."""
WEIGHTS = {
    "diffusers": ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin"),
    "transformers": ("model.safetensors", "pytorch_model.bin"),
}
"""Library -> the files that it reads a model's weights from, the first that is there; no other name is ever read."""


@contextmanager
def named_as_damaged(place: Path | str, expected: str) -> Iterator[None]:
    """Turn whatever another library raises over a file or folder into a CheckpointError that names it.

    What says that memory did not suffice stays as it is: that is no damage.

    Args:
        place: what is read.
        expected: what it should be, such as `a tokenizer`.
    """
    try:
        yield
    except BenchError:
        raise
    except Exception as error:  # of a damaged file, libraries raise whatever their parsers do
        if is_out_of_memory(error):
            raise
        line = (str(error).strip().splitlines() or ["no reason given"])[0]
        raise CheckpointError(f"{place}: cannot be read as {expected} ({type(error).__name__}: {line})") from error


def weights_file(folder: Path, stems: tuple[str, ...], suffix: str = ".bin") -> Path:
    """Return a component's weights: safetensors if there, else torch.save's file. CheckpointError if there is neither.

    Args:
        folder: of the component.
        stems: names, without suffix, that the weights may have.
        suffix: of torch.save's file.
    """
    for kind in (".safetensors", suffix):
        for stem in stems:
            if (folder / f"{stem}{kind}").is_file():
                return folder / f"{stem}{kind}"
    raise CheckpointError(
        f"{folder}: no weights; expected {stems[0]}.safetensors or {stems[-1]}{suffix}{_others(folder, stems)}"
    )


def _others(folder: Path, stems: tuple[str, ...]) -> str:
    """Say which weights there are that are not read: variants such as fp16, and shards of torch.save."""
    here = sorted(folder.iterdir()) if folder.is_dir() else []
    names = [path.name for path in here if path.name.startswith(stems) and not path.name.endswith(".index.json")]
    names += [path.name for path in here if path.name.endswith(".bin.index.json")]
    return f", found only {', '.join(names[:3])}; save the whole model again as safetensors" if names else ""


def component_files(folder: Path, names: tuple[str, ...]) -> list[Path]:
    """Return the files that hold the weights of a pipeline's component: one, or an index followed by its shards.

    They are what the component's library reads, so that what is hashed is what is loaded. Where it would read something
    else too, or where the libraries differ in what they prefer, the folder is refused.

    Args:
        folder: of the component.
        names: files that the weights may be in, one of `WEIGHTS`.

    Raises:
        CheckpointError: there are none, or both a whole file and an index, or the index names something else than files
            beside it; or an adapter, or a configuration that names another file.
    """
    _refuse_detours(folder)
    index = folder / f"{names[0]}.index.json"
    whole = next((folder / name for name in names if (folder / name).is_file()), None)
    if whole is not None:
        own = whole.with_name(f"{whole.name}.index.json")
        stale = next((one for one in (index, own) if one.is_file()), None)
        if stale is not None:  # diffusers would read the shards, transformers the whole file
            raise CheckpointError(
                f"{folder}: holds {whole.name} and {stale.name}, of which one is stale; expected one of them"
            )
        return [whole]
    if not index.is_file():
        stems = tuple(Path(name).stem for name in names)
        raise CheckpointError(f"{folder}: no weights; expected {' or '.join(names)}{_others(folder, stems)}")
    content = read_json(index)
    shards = content.get("weight_map") if isinstance(content, dict) else None
    found = list(shards.values()) if isinstance(shards, dict) else []
    if not found or not all(map(_is_name, found)):
        raise CheckpointError(f"{index}: expected a weight_map to names of files beside it")
    return [index, *(folder / name for name in sorted(set(found)))]


def _is_name(value: Any) -> bool:
    """Whether a value is the name of a file that may be beside another: longer ones no file system has."""
    return (
        isinstance(value, str)
        and Path(value).name == value
        and len(value.encode("utf-8", "surrogatepass")) <= LONGEST_NAME
    )


LONGEST_NAME = 255
"""Bytes."""
ADAPTER = "adapter_config.json"
"""Where this lies beside weights, transformers puts the adapter's into the model, if the package peft is installed."""
OTHER_FILE = "transformers_weights"
"""Key of a configuration by which transformers reads another file than the usual one."""


def _refuse_detours(folder: Path) -> None:
    """Raise CheckpointError where transformers would load something beside the usual files, or instead of them."""
    if (folder / ADAPTER).is_file():
        raise CheckpointError(f"{folder / ADAPTER}: an adapter is not read; expected it merged into the weights")
    config = folder / "config.json"
    content = read_json(config) if config.is_file() else None
    if isinstance(content, dict) and OTHER_FILE in content:
        raise CheckpointError(
            f"{config}: {OTHER_FILE} names another file of weights; expected the usual one, without it"
        )


def check_archive(file: Path) -> None:
    """Refuse a file of torch.save that holds more than it has bytes: its tensors lie there as they are.

    Raises:
        CheckpointError: an entry of the archive is compressed, or entries lie over each other.
    """
    if not zipfile.is_zipfile(file):
        return  # of torch before 1.6, which has no archive to be compressed
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise CheckpointError(f"{file}: cannot be read as a file of torch.save ({error})") from error
    held = sum(entry.file_size for entry in entries)
    if held > file.stat().st_size or any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise CheckpointError(f"{file}: unpacks to {held} bytes; expected what torch.save writes, not compressed")


def fingerprint(files: Mapping[str, Path]) -> str:
    """Return a hash over files and the names that they have in a checkpoint."""
    return sha256_json({name: remembered_sha256(file) for name, file in files.items()})
