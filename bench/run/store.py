"""Finished jobs at a URL that all machines of a run reach: `STORE/objects` by content, `STORE/jobs/KEY.json` last.

A machine works in a folder of its own disk. What a job leaves goes to `objects/AB/SHA256`, each file once whoever
writes it; then one small object, the marker `jobs/KEY.json`, names them all. Who sees the marker can read everything,
who does not sees nothing: neither a rename nor a lock is needed, and what a crash leaves are objects without a marker.
A marker carries a hash of itself, so that half of one, where a file system writes in steps, is none.

Any file system that `fsspec` knows will do. What is read back is held against its hash, as anybody may write there.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from admbench.bench.run.answers import MOST_CHARACTERS, read_tail
from admbench.bench.run.products import NUMBERS
from admbench.bench.run.store_url import check_url
from admbench.errors import DataError, UsageError
from admbench.files import MOST_TEXT_BYTES, atomic_directory
from admbench.hashing import sha256_file, sha256_json
from admbench.plain_text import visible
from admbench.private_text import Private

PAUSES = (0.2, 1.0, 4.0)
"""Seconds before each further attempt at an operation that failed; storage is away for moments."""
AT_ONCE = 8
"""Files of a job that travel side by side: each waits for the storage."""
OBJECTS = "objects"
"""Folder of what jobs left, by content."""
_MOST_LOG_BYTES = 1 << 20

Result = TypeVar("Result")


class _BrokenObject(Exception):
    """An object that does not hold what it is called by, or is not there."""

    def __init__(self, sha256: str) -> None:
        super().__init__(f"object {sha256} does not hold what it is called by")
        self.sha256 = sha256


class Stored(BaseModel):
    """A file of a job."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sha256: Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
    size: int = Field(ge=0)
    """Bytes."""
    written: int = Field(ge=0)
    """When, in nanoseconds since 1970: its seal says so too."""


class Marker(BaseModel):
    """What a job left, by the path in its folder."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str
    files: dict[str, Stored]

    def names(self) -> list[str]:
        """Return the paths.

        Raises:
            ValueError: one leads out of the folder.
        """
        for name in self.files:
            path = Path(name)
            if path.is_absolute() or not path.parts or ".." in path.parts or "\\" in name or "\0" in name:
                raise ValueError(f"{name!r} is no path in a folder")
        return list(self.files)


class Store:
    """Storage of finished jobs.

    Args:
        url: of a folder in it, such as `s3://bucket/run`; `check_url` says which.

    Raises:
        UsageError: the package for such URLs is not installed, or there is none.
    """

    def __init__(self, url: str) -> None:
        import fsspec

        self.url = check_url(url)
        try:
            self._files, root = fsspec.core.url_to_fs(self.url, skip_instance_cache=True, use_listings_cache=False)
        except ImportError as error:
            extra = "'admbench[s3]'" if self.url.startswith("s3:") else "what the message names"
            raise UsageError(f"{url}: {_one_line(error)}; pip install {extra}") from None
        except Exception as error:  # whatever a file system says of its options
            raise UsageError(f"{url}: cannot be opened ({_one_line(error)})") from None
        self._root = root.rstrip("/")

    def keys(self) -> set[str]:
        """Return the keys of all finished jobs."""
        try:
            listed = self.attempt("list", lambda: self._files.ls(f"{self._root}/jobs", detail=False))
        except FileNotFoundError:
            return set()
        return {Path(name).stem for name in listed if str(name).endswith(".json")}

    def names(self, folder: str) -> dict[str, int]:
        """Return the objects below a folder by their names, each with its bytes."""
        try:
            found = self.attempt("list", lambda: self._files.find(self._place(folder), detail=True))
        except FileNotFoundError:
            return {}
        return {place[len(self._root) + 1 :]: int(about["size"]) for place, about in found.items()}

    def files(self, key: str) -> dict[str, Stored] | None:
        """Return the files that a finished job left, by their paths; None if it is not finished there."""
        marker = self._marker(key)
        return None if marker is None else marker.files

    def holds(self, key: str) -> bool:
        """Return whether a job is finished there."""
        return self._marker(key) is not None

    def push(self, folder: Path, key: str) -> None:
        """Publish a finished job's folder; what was there under its key is replaced then.

        Raises:
            DataError: the storage does not take it; what it has got stays for the next attempt.
        """
        paths = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
        with ThreadPoolExecutor(AT_ONCE) as pool:
            stored = list(pool.map(_described, paths))
            # equal files travel once
            objects = {one.sha256: (path, one) for path, one in zip(paths, stored, strict=True)}
            list(pool.map(self._put, *zip(*objects.values(), strict=True)))
        files = {path.relative_to(folder).as_posix(): one for path, one in zip(paths, stored, strict=True)}
        content = Marker(key=key, files=files).model_dump(mode="json")
        self.write(f"jobs/{key}.json", json.dumps({**content, "sha256": sha256_json(content)}).encode())

    def pull(self, key: str, target: Path) -> bool:
        """Put what a job left into a folder, in place of what is there; return whether the job is finished there.

        Where an object does not hold what its name says, the job is none: its marker is removed, so that it is done
        again.

        Raises:
            DataError: the storage does not give it.
        """
        marker = self._marker(key)
        if marker is None:
            return False
        if self._is_there(marker, target):
            return True
        try:
            with atomic_directory(target) as folder, ThreadPoolExecutor(AT_ONCE) as pool:
                list(pool.map(lambda name: self._get(marker.files[name], folder / name), marker.names()))
        except _BrokenObject as error:
            for place in (self._place(f"jobs/{key}.json"), self._object(error.sha256)):
                self.attempt("remove", lambda place=place: self._remove(place))  # type: ignore[misc]
            return False
        return True

    def keep_log(self, key: str, log: Path) -> None:
        """Keep the end of what a failed job said, for whoever began the run."""
        self.write(f"logs/{key}.txt", read_tail(log, _MOST_LOG_BYTES) or b"")

    def log(self, key: str) -> bytes | None:
        """Return what was kept of it; None if nothing was."""
        return self.read(f"logs/{key}.txt")

    def read(self, name: str) -> bytes | None:
        """Return a small object; None if there is none."""
        try:
            found: bytes = self.attempt("read", lambda: self._files.cat_file(self._place(name)))
        except FileNotFoundError:
            return None
        return found[:MOST_TEXT_BYTES]

    def write(self, name: str, content: bytes) -> None:
        """Write a small object."""
        place = self._place(name)
        self.attempt("write", lambda: self._in_folder(place, lambda: self._files.pipe_file(place, content)))

    def create(self, name: str, content: bytes) -> bool:
        """Write a small object if there is none; return whether it was written."""
        place = self._place(name)
        try:
            self.attempt(
                "write", lambda: self._in_folder(place, lambda: self._files.pipe_file(place, content, mode="create"))
            )
        except FileExistsError:
            return self.read(name) == content  # an attempt before may have come through without saying so
        return True

    def remove(self, name: str) -> None:
        """Remove a small object, if there is one."""
        self.attempt("remove", lambda: self._remove(self._place(name)))

    def attempt(self, what: str, operation: Callable[[], Result]) -> Result:
        """Do something with the storage, and again where it fails.

        Raises:
            DataError: it still fails; one line.
            FileNotFoundError: what is read is not there.
            FileExistsError: what is created is there.
        """
        for pause in (*PAUSES, None):
            try:
                return operation()
            except (FileNotFoundError, FileExistsError):
                raise
            except Exception as error:  # each file system has errors of its own
                if pause is None or isinstance(error, PermissionError):
                    if isinstance(error, _BrokenObject):
                        raise
                    raise DataError(f"{self.url}: cannot {what} there ({_one_line(error)})") from None
                time.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    def _marker(self, key: str) -> Marker | None:
        said = self.read(f"jobs/{key}.json")
        if said is None:
            return None
        try:
            content: Any = json.loads(said)
            expected = content.pop("sha256")
            found = Marker.model_validate(content)
            found.names()
            if found.key != key or sha256_json(content) != expected:
                raise ValueError("it does not hold what was written")
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError, ValidationError):
            return None
        return found

    def _is_there(self, marker: Marker, target: Path) -> bool:
        """Return whether a folder holds what was published: its seal and its numbers are the same, and so are sizes and
        dates of the rest."""
        if "sealed.json" not in marker.files:
            return False
        try:
            for name in ({"sealed.json"} | NUMBERS) & marker.files.keys():
                if sha256_file(target / name) != marker.files[name].sha256:
                    return False
            status = {name: (target / name).stat() for name in marker.files}
        except OSError:
            return False
        return all(
            (status[name].st_size, status[name].st_mtime_ns) == (one.size, one.written)
            for name, one in marker.files.items()
        )

    def _put(self, path: Path, one: Stored) -> None:
        place = self._object(one.sha256)
        if self.attempt("look", lambda: self._size(place)) != one.size:
            self.attempt("write", lambda: self._in_folder(place, lambda: self._files.put_file(str(path), place)))

    def _get(self, one: Stored, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)

        def get() -> None:
            self._files.get_file(self._object(one.sha256), str(path))
            if path.stat().st_size != one.size or sha256_file(path) != one.sha256:
                raise _BrokenObject(one.sha256)

        try:
            self.attempt("read", get)
        except FileNotFoundError:
            raise _BrokenObject(one.sha256) from None
        os.utime(path, ns=(one.written, one.written))

    def _size(self, place: str) -> int | None:
        try:
            return int(self._files.info(place)["size"])
        except FileNotFoundError:
            return None

    def _remove(self, place: str) -> None:
        try:
            self._files.rm_file(place)
        except FileNotFoundError:
            return

    def _in_folder(self, place: str, write: Callable[[], Result]) -> Result:
        """Write, and first make the folder where the file system has some and this one is not there."""
        try:
            return write()
        except FileNotFoundError:
            self._files.makedirs(place.rpartition("/")[0], exist_ok=True)
            return write()

    def _object(self, sha256: str) -> str:
        return self._place(object_name(sha256))

    def _place(self, name: str) -> str:
        return f"{self._root}/{name}"


def object_name(sha256: str) -> str:
    """Return the name of the object that holds what has a hash."""
    return f"{OBJECTS}/{sha256[:2]}/{sha256}"


def _described(path: Path) -> Stored:
    status = path.stat()
    return Stored(sha256=sha256_file(path), size=status.st_size, written=status.st_mtime_ns)


def _one_line(error: BaseException) -> str:
    said = visible(" ".join(str(error).split()), MOST_CHARACTERS)
    return Private.here().hidden(f"{type(error).__name__}: {said}" if said else type(error).__name__)
