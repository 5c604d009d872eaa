"""What is kept is known by its hash: a seal says which files there are and what each holds, and tells a changed one.

A file that is read as the input of other work is hashed again and held against its seal. Where only the question is
whether it is there, a look at its size and date will do for the large ones: a file of the same size and date as when it
was sealed counts as unchanged, any other date lets the hash decide. What holds a cell's numbers, `NUMBERS`, is hashed
always: the board reads it, and nothing after the look would tell another number.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from admbench.bench.run.layout import JobFolder
from admbench.errors import DataError
from admbench.files import flush, flush_folder, read_json, write_json_atomic
from admbench.hashing import sha256_file, sha256_json
from admbench.leaderboard.run_folder import PER_CAPTION, RECORD_FILE

NUMBERS = frozenset({RECORD_FILE, PER_CAPTION})
"""Files, relative to a job's folder, that hold a cell's numbers; small, and never believed for their date."""


@dataclass(frozen=True)
class Product:
    """A file as it was written."""

    sha256: str
    size: int
    """Bytes."""
    written: int
    """When, in nanoseconds since 1970, as the file system says it."""

    def fault(self, path: Path, *, look_only: bool = False) -> str | None:
        """Return what is wrong with the file that should be this one; None if it is."""
        try:
            status = path.stat()
            if status.st_size != self.size:
                return f"{path}: {status.st_size} bytes, expected {self.size}"
            if look_only and status.st_mtime_ns == self.written:
                return None
            return None if sha256_file(path) == self.sha256 else f"{path}: does not hold what was written"
        except OSError as error:
            return f"{path}: {error.strerror}"


Products = Mapping[str, Product]
"""Path, relative to a job's folder -> what is there."""


@dataclass(frozen=True)
class Sealed:
    """What was made for a key: facts and files."""

    key: str
    facts: dict[str, Any]
    files: Products

    def fault(self, folder: Path, *, look_only: bool = False, expected: Sequence[str] = ()) -> str | None:
        """Return the first thing wrong with the files in a folder; None if they are what was sealed.

        Args:
            folder: that the names of files are relative to.
            look_only: take a file of the same size and date for unchanged, except `NUMBERS`.
            expected: files and folders, relative, of which there may be no others than those that were sealed.
        """
        for name, product in self.files.items():
            if (fault := product.fault(folder / name, look_only=look_only and name not in NUMBERS)) is not None:
                return fault
        more = [name for name in _names(folder, expected) if name not in self.files]
        return f"{folder / more[0]}: was not there when the others were written" if more else None


def products_of(folder: Path, names: Iterable[str]) -> dict[str, Product]:
    """Return files, and those in folders, as they are now.

    Args:
        folder: that names are relative to.
        names: files and folders; one that is not there is a FileNotFoundError.
    """
    return {name: _product(folder / name) for name in _names(folder, names, strict=True)}


def seal(path: Path, made: Sealed) -> None:
    """Write what was made, atomically, with a hash over all that is said."""
    content = json.loads(json.dumps(asdict(made), allow_nan=False))  # as it will be read
    write_json_atomic(path, {**content, "sha256": sha256_json(content)})


def read_sealed(path: Path) -> Sealed:
    """Read what `seal` wrote.

    Raises:
        DataError: it is missing, damaged, or something else.
    """
    content = read_json(path)
    try:
        said = content.pop("sha256")
        if said != sha256_json(content):
            raise ValueError("it does not hold what was written")
        files = {str(name): Product(**one) for name, one in content["files"].items()}
        return Sealed(str(content["key"]), dict(content["facts"]), files)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: not the seal of a stage ({error})") from None


def seal_folder(folder: JobFolder, key: str) -> None:
    """Write down what a job leaves in its folder: all but what it said while it ran.

    Files that a stage has sealed, and that have the same size and date since, are not read again.
    """
    known = _sealed_by_stages(folder)
    left = [path for path in folder.path.iterdir() if path.name not in _NOT_SEALED and path != folder.sealed]
    files = {}
    for name in _names(folder.path, sorted(path.name for path in left)):
        unchanged = name in known and known[name].fault(folder.path / name, look_only=True) is None
        files[name] = known[name] if unchanged else _product(folder.path / name)
        if not unchanged:
            flush(folder.path / name)
    flush_folder(folder.path)
    seal(folder.sealed, Sealed(key, {}, files))


_NOT_SEALED = (
    "job.json",
    "log.txt",
    "quantization-log.txt",
    "times.json",
    "quantization-times.json",
    "attempt.json",
    "attempt-log.txt",
    "failure.json",
)
"""What a job, or an attempt at it, said of itself; no product, and some of it is written beside published ones."""


def is_sealed(folder: JobFolder, key: str, *, whole: bool) -> bool:
    """Return whether a folder holds what a job with a key left there; what was changed since is named in the output.

    Args:
        folder: that the job published.
        key: of the job.
        whole: read every file again; else size and date tell, except of `NUMBERS`.
    """
    if not folder.sealed.is_file():
        return False
    try:
        found = read_sealed(folder.sealed)
    except DataError as error:
        print(f"{error}; it is done again", file=sys.stderr)
        return False
    if found.key != key:
        return False
    fault = found.fault(folder.path, look_only=not whole)
    if fault is not None:
        print(f"{fault}; it is done again", file=sys.stderr)
    return fault is None


def require_intact(folder: JobFolder, names: Sequence[str]) -> None:
    """Hold files in a job's folder against what its stages wrote, before they are read as the input of other work.

    Args:
        folder: of a job, at work or published.
        names: files and folders in it.

    Raises:
        DataError: one is not as it was written, or was not written by a stage; names it.
    """
    known = _sealed_by_stages(folder)
    for name in _names(folder.path, names):
        if name not in known:
            raise DataError(f"{folder.path / name}: no stage has written it")
    wanted = tuple(names)
    for name, product in known.items():
        if name not in wanted and not name.startswith(tuple(f"{one}/" for one in wanted)):
            continue
        if (fault := product.fault(folder.path / name)) is not None:
            raise DataError(f"{fault}; the same command makes it again")


def _sealed_by_stages(folder: JobFolder) -> dict[str, Product]:
    seals = [read_sealed(path) for path in sorted(folder.stages.glob("*.json"))]
    return {name: product for one in seals for name, product in one.files.items()}


def _names(folder: Path, names: Iterable[str], *, strict: bool = False) -> list[str]:
    found = []
    for name in names:
        place = folder / name
        if place.is_dir():
            inside = sorted(path for path in place.rglob("*") if path.is_file())
            found += [path.relative_to(folder).as_posix() for path in inside]
        elif place.is_file():
            found.append(name)
        elif strict:
            raise FileNotFoundError(f"{place}: a stage ended without it")
    return found


def _product(path: Path) -> Product:
    status = path.stat()
    return Product(sha256_file(path), status.st_size, status.st_mtime_ns)
