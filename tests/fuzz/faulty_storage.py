"""Storage with faults, as a file system of fsspec: the n-th operation fails, or does half of what it should."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import fsspec
from fsspec.implementations.memory import MemoryFileSystem

Kind = Literal["refused", "unheard", "half", "away"]
"""It does nothing and fails; it is done, and yet said to have failed; half is written, then it fails; this and all
that follow do nothing and fail."""
KINDS: tuple[Kind, ...] = ("refused", "unheard", "half", "away")
URL = "faulty://store/run"


class StorageError(Exception):
    """As the packages of object stores have: no OSError."""


class FaultyStorage(MemoryFileSystem):
    """Objects in memory, of which all instances of this process share one set."""

    protocol = ("faulty",)
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    kind: ClassVar[Kind | None] = None
    at: ClassVar[int] = 0
    """Number, from 1, of the operation at which the fault comes."""
    operations: ClassVar[list[str]] = []
    """What was asked for, in order."""

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return MemoryFileSystem._strip_protocol(str(path).removeprefix("faulty://"))

    @classmethod
    def empty(cls) -> None:
        """Forget all objects and faults."""
        cls.store.clear()
        cls.pseudo_dirs[:] = [""]
        cls.heal()

    @classmethod
    def fail(cls, kind: Kind, at: int) -> None:
        """Let the `at`-th operation from now on fail."""
        cls.kind, cls.at = kind, at
        cls.operations.clear()

    @classmethod
    def heal(cls) -> None:
        """Let nothing fail any more."""
        cls.fail("refused", 0)

    def _do(self, name: str, operation: Callable[[], Any], half: Callable[[], Any] = lambda: None) -> Any:
        number = len(self.operations) + 1
        self.operations.append(name)
        here = number == self.at
        if (here and self.kind == "refused") or (self.kind == "away" and 0 < self.at <= number):
            raise StorageError(f"operation {number}: no answer")
        if here and self.kind == "half":
            half()
            raise StorageError(f"operation {number}: cut off")
        done = operation()
        if here and self.kind == "unheard":
            raise StorageError(f"operation {number}: done, not heard of")
        return done

    def ls(self, path: str, detail: bool = True, **options: Any) -> Any:
        return self._do("ls", lambda: MemoryFileSystem.ls(self, path, detail=detail, **options))

    def info(self, path: str, **options: Any) -> Any:
        return self._do("info", lambda: MemoryFileSystem.info(self, path, **options))

    def cat_file(self, path: str, start: Any = None, end: Any = None, **options: Any) -> Any:
        return self._do("cat", lambda: MemoryFileSystem.cat_file(self, path, start, end, **options))

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: Any) -> Any:
        def put(content: bytes) -> None:
            if mode == "create" and self._strip_protocol(path) in self.store:
                raise FileExistsError(path)
            MemoryFileSystem.pipe_file(self, path, content, **options)

        return self._do("pipe", lambda: put(value), lambda: put(value[: len(value) // 2]))

    def put_file(self, lpath: str, rpath: str, *more: Any, **options: Any) -> Any:
        with open(lpath, "rb") as file:
            content = file.read()

        def put(part: bytes) -> None:
            MemoryFileSystem.pipe_file(self, rpath, part)

        return self._do("put", lambda: put(content), lambda: put(content[: len(content) // 2]))

    def get_file(self, rpath: str, lpath: str, *more: Any, **options: Any) -> Any:
        def get(most: int | None = None) -> None:
            content = MemoryFileSystem.cat_file(self, rpath)
            with open(lpath, "wb") as file:
                file.write(content[: len(content) // 2 if most else None])

        return self._do("get", get, lambda: get(1))

    def rm_file(self, path: str) -> Any:
        return self._do("rm", lambda: MemoryFileSystem.rm_file(self, path))


fsspec.register_implementation("faulty", FaultyStorage, clobber=True)
