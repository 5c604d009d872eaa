"""A file system with faults: the n-th operation that changes anything below a folder fails, or ends the process.

Operations are counted where Python and safetensors ask the system for them, so that a fault comes where it would on a
real disk: a file that is opened to be written is there, empty, when nothing more can be written to it.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal
from unittest import mock

import safetensors.numpy
import safetensors.torch

from admbench import exchange

Kind = Literal["error", "full", "quota", "read-only", "death"]
"""One operation fails; it and all that add anything fail, for want of disk or of a user's share of it; it and all
others fail; the process ends at it."""
KINDS: tuple[Kind, ...] = ("error", "full", "quota", "read-only", "death")
NO_ROOM: tuple[Kind, ...] = ("full", "quota")
_ERRORS = {"error": errno.EIO, "full": errno.ENOSPC, "quota": errno.EDQUOT, "read-only": errno.EROFS}
_WRITTEN = frozenset("wax+")
_ONE_PATH = ("mkdir", "chmod", "truncate", "utime")
_REMOVED = ("unlink", "remove", "rmdir")
_TWO_PATHS = ("replace", "rename", "link", "symlink")
_NOTHING_IF = {"mkdir": True, "unlink": False, "remove": False}
"""Operation -> whether it changes nothing where the path is there, or where it is not: no place for a fault then."""


class Death(BaseException):
    """The process ends here: nothing that it does afterwards reaches the disk."""


class FaultyFiles:
    """Counts the operations below a folder, and lets them fail from one on.

    Args:
        folder: below which operations count.
        kind: of the fault; None only counts.
        at: number, from 1, of the operation at which it comes.
        exchanges: whether two names can change places at once.
    """

    def __init__(self, folder: Path, kind: Kind | None = None, at: int = 0, *, exchanges: bool = True) -> None:
        self.folder = os.path.realpath(folder)
        self.kind = kind
        self.at = at
        self.exchanges = exchanges
        self.operations: list[str] = []
        """What was asked for, in order, for whoever looks for the place of a fault."""

    @contextmanager
    def installed(self) -> Iterator[FaultyFiles]:
        """Be the file system of this process."""
        with ExitStack() as stack:

            def put(owner: Any, name: str, function: Callable[..., Any]) -> None:
                stack.enter_context(mock.patch.object(owner, name, function))

            opener = self._opening(builtins.open)
            put(builtins, "open", opener)
            put(io, "open", opener)
            put(os, "open", self._os_opening(os.open))
            put(os, "fsync", self._on_descriptor("fsync", os.fsync))
            for name in (*_ONE_PATH, *_REMOVED):
                put(os, name, self._on_path(name, getattr(os, name)))
            for name in _TWO_PATHS:
                put(os, name, self._on_two_paths(name, getattr(os, name)))
            put(shutil, "copyfile", self._on_two_paths("copyfile", shutil.copyfile))
            put(exchange, "exchange", self._exchanging(exchange.exchange))
            for package in (safetensors.torch, safetensors.numpy):
                put(package, "serialize_file", self._serializing(package.serialize_file))
            yield self

    def _counts(self, path: Any, dir_fd: int | None = None) -> bool:
        if isinstance(path, int):
            return False
        text = os.fsdecode(path)
        if dir_fd is not None:
            text = os.path.join(os.readlink(f"/proc/self/fd/{dir_fd}"), text)
        where = os.path.join(os.path.realpath(os.path.dirname(os.path.abspath(text))), os.path.basename(text))
        return where == self.folder or where.startswith(f"{self.folder}{os.sep}")

    def _fails(self, operation: str, path: Any) -> bool:
        """Count an operation, and return whether it fails; `Death` where the process ends."""
        self.operations.append(f"{operation} {os.fsdecode(path) if not isinstance(path, int) else path}")
        number = len(self.operations)
        if self.kind == "death" and number >= self.at:
            raise Death(self.operations[-1])
        if self.kind == "error":
            return number == self.at
        if self.kind in NO_ROOM and operation in _REMOVED:
            return False  # a full disk lets files go
        return self.kind is not None and number >= self.at

    def _error(self, path: Any) -> OSError:
        code = _ERRORS[str(self.kind)]
        return OSError(code, os.strerror(code), path if isinstance(path, str) else os.fsdecode(path))

    def _opening(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def opened(file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
            if not _WRITTEN.intersection(mode) or not self._counts(file):
                return real(file, mode, *arguments, **options)
            if self._fails("write", file):
                if self.kind != "read-only":
                    real(file, mode, *arguments, **options).close()
                raise self._error(file)
            return real(file, mode, *arguments, **options)

        return opened

    def _os_opening(self, real: Callable[..., int]) -> Callable[..., int]:
        def opened(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
            written = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            if written and self._counts(path, dir_fd) and self._fails("write", path):
                raise self._error(path)
            return real(path, flags, mode, dir_fd=dir_fd)

        return opened

    def _on_descriptor(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def called(descriptor: Any) -> Any:
            number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
            path = os.readlink(f"/proc/self/fd/{number}")
            if self._counts(path) and self._fails(name, path):
                raise self._error(path)
            return real(descriptor)

        return called

    def _on_path(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def called(path: Any, *arguments: Any, dir_fd: int | None = None, **options: Any) -> Any:
            changes = name not in _NOTHING_IF or _NOTHING_IF[name] != _is_there(path, dir_fd)
            if changes and self._counts(path, dir_fd) and self._fails(name, path):
                raise self._error(path)
            return real(path, *arguments, **({} if dir_fd is None else {"dir_fd": dir_fd}), **options)

        return called

    def _on_two_paths(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def called(source: Any, target: Any, *arguments: Any, **options: Any) -> Any:
            if self._counts(target) and self._fails(name, target):
                raise self._error(target)
            return real(source, target, *arguments, **options)

        return called

    def _exchanging(self, real: Callable[[Path, Path], bool]) -> Callable[[Path, Path], bool]:
        def called(first: Path, second: Path) -> bool:
            if not self.exchanges:
                return False
            if self._counts(second) and self._fails("exchange", second):
                raise self._error(second)
            return real(first, second)

        return called

    def _serializing(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def called(tensors: Any, filename: Any, *arguments: Any, **options: Any) -> Any:
            if self._counts(filename) and self._fails("write", filename):
                raise self._error(filename)
            return real(tensors, filename, *arguments, **options)

        return called


def _is_there(path: Any, dir_fd: int | None) -> bool:
    try:
        os.stat(path, dir_fd=dir_fd, follow_symlinks=False)
    except OSError:
        return False
    return True
