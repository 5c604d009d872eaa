"""The files of a component, as diffusers, transformers and torch.save name them, and the hash of files; no torch."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from admbench import cache
from admbench.errors import BenchError, CheckpointError
from admbench.files import read_json, write_text_atomic
from admbench.hashing import sha256_file, sha256_json

WEIGHTS = {"diffusers": ("diffusion_pytorch_model",), "transformers": ("model", "pytorch_model")}
"""Library -> names, without suffix, that the weights of its models may have."""


@contextmanager
def named_as_damaged(place: Path | str, expected: str) -> Iterator[None]:
    """Turn whatever another library raises over a file or folder into a CheckpointError that names it.

    Args:
        place: what is read.
        expected: what it should be, such as `a tokenizer`.
    """
    try:
        yield
    except BenchError:
        raise
    except Exception as error:  # of a damaged file, libraries raise whatever their parsers do
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


def component_files(folder: Path, stems: tuple[str, ...]) -> list[Path]:
    """Return the files that hold the weights of a pipeline's component: one, or an index followed by its shards.

    Args:
        folder: of the component.
        stems: names, without suffix, that the weights may have.

    Raises:
        CheckpointError: there are none, or both a whole file and an index, or the index names something else than files
            beside it.
    """
    indexes = [folder / f"{stem}.safetensors.index.json" for stem in stems]
    found = next((index for index in indexes if index.is_file()), None)
    try:
        whole = weights_file(folder, stems)
    except CheckpointError:
        if found is None:
            raise
    else:
        if found is not None:  # diffusers would read the shards, transformers the whole file
            raise CheckpointError(
                f"{folder}: holds {whole.name} and {found.name}, of which one is stale; expected one of them"
            )
        return [whole]
    content = read_json(found)
    shards = content.get("weight_map") if isinstance(content, dict) else None
    names = set(shards.values()) if isinstance(shards, dict) else set()
    if not names or not all(isinstance(name, str) and Path(name).name == name for name in names):
        raise CheckpointError(f"{found}: expected a weight_map to names of files beside it")
    return [found, *(folder / name for name in sorted(names))]


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
    return sha256_json({name: _sha256(file) for name, file in files.items()})


def _sha256(file: Path) -> str:
    """Hash a file, or remember the hash from when it had the same place, size and time: gigabytes take a while."""
    status = file.stat()
    known = cache.path("hashes", sha256_json([str(file.resolve()), status.st_size, status.st_mtime_ns]), ".txt")
    with suppress(OSError):
        return known.read_text(encoding="utf-8")
    digest = sha256_file(file)
    with suppress(OSError):  # a home that is read-only costs time alone
        write_text_atomic(known, digest)
    return digest
