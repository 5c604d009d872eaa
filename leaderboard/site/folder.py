"""The folder of a site while it is built: what an earlier build wrote with the same content is linked, not written.

A site is built aside and put in place whole. A file that did not change stays the file that it was, with its time of
change, so that a copy to a server takes only what is new, and a clip that was encoded before is not encoded again.
"""

from __future__ import annotations

import os
import shutil
from copy import copy
from pathlib import Path

MARKER = ".admbench-site"
"""A file that only a site holds: a folder with it may be replaced."""
FORMAT = 2
"""Of the files that are named by what they were made from (clips): those of another format are made anew."""
_MARK = f"A site built by `bench leaderboard`; building again replaces this folder. Format {FORMAT}.\n"


class Folder:
    """A site that is being written.

    Args:
        root: its folder, which is there and empty.
        previous: the site that it replaces, where there is one.
    """

    def __init__(self, root: Path, previous: Path | None = None) -> None:
        self.root = root
        self.written, self.kept = 0, 0
        """Files that were written, and those that are what they were."""
        self._previous = previous
        self._same_format = previous is not None and _content(previous / MARKER) == _MARK.encode()
        self.write(MARKER, _MARK.encode())

    def write(self, path: str, data: bytes) -> None:
        """Write a file, a path from the root of the site, unless the previous site has it with the same bytes.

        Raises:
            FileExistsError: this site has another file of that name.
        """
        if (self.root / path).exists():
            self._check(path, data)
        elif self._previous is not None and _content(self._previous / path, len(data)) == data:
            self._link(path)
        else:
            self._create(path, data)

    def keep(self, path: str) -> bool:
        """Take a file from the previous site whose name says what it was made from; return whether it was there."""
        if (self.root / path).is_file():
            return True
        if not self._same_format or self._previous is None or not _is_plain(self._previous / path):
            return False
        self._link(path)
        return True

    def elsewhere(self) -> Folder:
        """Return what another process writes into this site with; what it counts is to be added here."""
        folder = copy(self)
        folder.written = folder.kept = 0
        return folder

    def _check(self, path: str, data: bytes) -> None:
        if _content(self.root / path, len(data)) != data:
            raise FileExistsError(f"{path} is two files")

    def _create(self, path: str, data: bytes) -> None:
        """Write a file whole, as another process may write, or read, the same one now."""
        file = self._place(path)
        part = file.with_name(f".{file.name}.{os.getpid()}")
        part.write_bytes(data)
        try:
            os.link(part, file)
        except FileExistsError:
            self._check(path, data)
        except OSError:  # a file system without links
            part.replace(file)
            self.written += 1
            return
        else:
            self.written += 1
        part.unlink()

    def _link(self, path: str) -> None:
        assert self._previous is not None
        file = self._place(path)
        try:
            os.link(self._previous / path, file)
        except FileExistsError:  # another process did, of the same site
            return
        except OSError:  # a file system without links
            shutil.copy2(self._previous / path, file)
        self.kept += 1

    def _place(self, path: str) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        return file


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _content(path: Path, length: int | None = None) -> bytes | None:
    """Return the bytes of a file, None where there is none, or one of another length."""
    try:
        if not _is_plain(path) or (length is not None and path.stat().st_size != length):
            return None
        return path.read_bytes()
    except OSError:
        return None
