"""Files that are either whole or not there, also after a power cut: atomic writes, checked reading, safe names."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from admbench import exchange
from admbench.errors import DataError

MOST_TEXT_BYTES = 2**25
"""Of a JSON file: its values take up to thirty times as much memory."""
MOST_YAML_BYTES = 2**18
"""Of a YAML file, whose parser takes seconds for a megabyte."""
_ASIDE = ".replaced"


def write_bytes_atomic(path: str | Path, data: bytes, *, durable: bool = True) -> None:
    """Write a file so that a reader, or a crash, sees either the old file or the new one. Makes parent folders.

    Args:
        path: of the file.
        data: what it holds then.
        durable: wait until it would survive a power cut, which takes longer than all else; not for what is only looked
            at while a process runs.

    Raises:
        OSError: it cannot be written; `filename` is the path, also where the disk is full.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _sibling(path)
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(temporary, path)
        if durable:
            flush_folder(path.parent)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):  # the temporary name says nothing to who reads it, and a full disk names none
            error.filename = os.fspath(path)
        raise


def write_text_atomic(path: str | Path, text: str, *, durable: bool = True) -> None:
    """Write UTF-8 text atomically; what cannot be encoded, bytes of a file's name, as escapes that JSON has too."""
    write_bytes_atomic(path, text.encode("utf-8", "backslashreplace"), durable=durable)


def write_json_atomic(path: str | Path, value: Any) -> None:
    """Write a JSON value, indented, atomically; NaN and infinity are a ValueError (a missing value is null)."""
    write_text_atomic(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def directory_bytes(directory: str | Path) -> int:
    """Return the bytes of all files in a folder and its subfolders: what lies on disk."""
    return sum(path.stat().st_size for path in Path(directory).rglob("*") if path.is_file())


@contextmanager
def atomic_directory(path: str | Path) -> Iterator[Path]:
    """Yield an empty sibling folder that becomes `path` when the block ends well, in place of any folder there.

    When the block raises, the new folder is removed and what stood at `path` is left as it was. Files get the usual
    permissions, whatever their writer gave them (safetensors makes them readable by the owner alone).
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _sibling(path)
    temporary.mkdir()
    try:
        yield temporary
        usual = temporary.stat().st_mode & 0o666
        for file in temporary.rglob("*"):
            if file.is_file():
                file.chmod(usual)
        flush(temporary)
        replace_folder(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def replace_folder(new: Path, target: Path) -> None:
    """Move a finished folder to its place; what was there disappears only then.

    Whatever ends the process, one of the two is in the place. Where the system cannot exchange two names at once, the
    old folder steps aside first; what ends right then leaves it as `.NAME.replaced`, which `put_back` renames.

    Args:
        new: on the same file system; a process that ends in between may leave the old folder here.
        target: whose parent is there.

    Raises:
        OSError: the disk refuses; the old folder is in its place then, unless the disk refuses that too.
    """
    put_back(target)
    if not os.path.lexists(target):
        os.replace(new, target)
        flush_folder(target.parent)
    elif exchange.exchange(new, target):
        flush_folder(target.parent)
        remove(new)
    else:
        _replace_in_steps(new, target)


def _replace_in_steps(new: Path, target: Path) -> None:
    aside = _aside(target)
    os.replace(target, aside)
    try:
        os.replace(new, target)
    except OSError:
        os.replace(aside, target)
        raise
    flush_folder(target.parent)
    remove(aside)


def put_back(target: Path) -> None:
    """Give a folder that stepped aside its name again; remove it if another took its place."""
    aside = _aside(target)
    if not os.path.lexists(aside):
        return
    if os.path.lexists(target):
        remove(aside)
    else:
        os.replace(aside, target)
        flush_folder(target.parent)


def put_all_back(parent: Path) -> None:
    """Do so with every folder that lies directly in this one."""
    for aside in parent.glob(f".*{_ASIDE}"):
        put_back(aside.with_name(aside.name[1 : -len(_ASIDE)]))


def read_bytes(path: str | Path, most: int) -> bytes:
    """Read a regular file of at most so many bytes.

    Raises:
        DataError: it is missing, unreadable, larger, or a pipe or a device, which may never end; it names the file.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise DataError(f"{path}: expected a regular file")
        with open(path, "rb") as file:
            data = file.read(most + 1)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        raise DataError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    if len(data) > most:
        raise DataError(f"{path}: larger than {most} bytes")
    return data


def flush(path: str | Path) -> None:
    """Wait until a file, or a folder with all that is in it, is on the disk: after a power cut it is there, whole."""
    path = Path(path)
    inside = list(path.rglob("*")) if path.is_dir() else [path]
    files = [one for one in inside if one.is_file()]
    if files:
        with ThreadPoolExecutor(min(len(files), FLUSHED_AT_ONCE)) as pool:
            list(pool.map(_flush_file, files))
    if path.is_dir():
        for folder in (*(one for one in inside if one.is_dir()), path):
            flush_folder(folder)


FLUSHED_AT_ONCE = 16
"""Each waits for the disk, which takes several together: 96 clips took 0.05 s so, 0.2 to 0.6 one after the other."""


def _flush_file(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def flush_folder(path: str | Path) -> None:
    """Wait until the names in a folder are on the disk, without what they name."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:  # some network file systems have no such call on folders, and write names at once
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(descriptor)


def read_json(path: str | Path, *, infinite: bool = False) -> Any:
    """Read a JSON file.

    Args:
        path: of a regular file.
        infinite: whether NaN and infinity are numbers, as in schedulers that diffusers saves.

    Raises:
        DataError: the file is missing, unreadable, larger than `MOST_TEXT_BYTES`, not UTF-8, not JSON, holds NaN or
            infinity, or a key twice in one object, of which readers take different ones; it names the file.
    """
    text = _read_text(path, MOST_TEXT_BYTES)
    try:
        constant = float if infinite else _refuse_constant
        return json.loads(text, parse_constant=constant, object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not valid JSON ({error})") from error


def read_yaml(path: str | Path) -> Any:
    """Read a YAML file of plain values.

    Raises:
        DataError: the file is missing, unreadable, larger than `MOST_YAML_BYTES`, not UTF-8, not YAML, asks for Python
            objects, holds a key twice in one object, or an alias, of which a few lines may stand for any number of
            values; it names the file.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                raise yaml.YAMLError("an alias; expected the values themselves")
            return super().compose_node(parent, index)

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            unique_keys([(self.construct_object(key, deep=True), None) for key, _ in node.value])
            return super().construct_mapping(node, deep)

    text = _read_text(path, MOST_YAML_BYTES)
    try:
        return yaml.load(text, Loader)  # of plain values, as SafeLoader
    except yaml.MarkedYAMLError as error:  # whose text quotes the line, of whatever file this is a link to
        mark = error.problem_mark or error.context_mark
        place = "" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: "
        raise DataError(f"{path}: not valid YAML ({place}{error.problem or error.context})") from error
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise DataError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from error


def inside(folder: str | Path, path: str | Path) -> bool:
    """Return whether a path, all of its links followed, is below a folder.

    >>> inside("/runs/a", "/runs/a/work"), inside("/runs/a", "/runs/a/../b")
    (True, False)
    """
    try:
        return Path(path).resolve().is_relative_to(Path(folder).resolve())
    except (OSError, RuntimeError, ValueError):  # links in a circle, or no path at all
        return False


def slug(text: str) -> str:
    """Return a readable, safe folder name for any text: itself if it is one, else cleaned plus 8 digits of its SHA-256.

    >>> slug("tiny-tango")
    'tiny-tango'
    >>> slug("naive@w4a8[weights=tensor]")
    'naive-w4a8-weights-tensor-27969e04'
    """
    if re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", text) and not re.search(r"-[0-9a-f]{8}$", text):
        return text
    readable = re.sub(r"[^a-z0-9]+", "-", text.lower())[:48].strip("-")
    return f"{readable or 'x'}-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def link(source: str | Path, target: str | Path) -> None:
    """Hard-link finished files, which nothing changes in place; copy them where the file system has no links.

    Args:
        source: a file, or a folder, of which every file is linked.
        target: where it appears; parent folders are made. A FileExistsError if a folder is there already.
    """
    source, target = Path(source), Path(target)
    if source.is_dir():
        shutil.copytree(source, target, copy_function=_link_file)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        _link_file(source, target)


def remove(path: str | Path) -> None:
    """Remove a file, a link or a whole folder; nothing where there is none."""
    path = Path(path)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _link_file(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _read_text(path: str | Path, most: int) -> str:
    try:
        return read_bytes(path, most).decode("utf-8")
    except ValueError as error:
        raise DataError(f"{path}: cannot be read ({error})") from error


def unique_keys(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    """Return the object of keys and values, the `object_pairs_hook` of json; a key that comes twice is a ValueError."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"the key {str(twice)[:60]!r} comes twice")
    return found


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}{_ASIDE}")


def _sibling(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
