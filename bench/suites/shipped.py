"""What the suites that come with the package share: one file beside this one, whose hash is the suite's."""

from __future__ import annotations

import hashlib
from functools import cached_property
from importlib import resources
from typing import ClassVar

from admbench.bench.suites.base import Suite


class ShippedSuite(Suite):
    """A suite in a file of this package. A subclass names the file and reads `lines`."""

    file: ClassVar[str]
    """Name of the file, which holds all there is to the suite, or hashes of it."""
    split = "test"

    @cached_property
    def sha256(self) -> str:
        """Hash of the file."""
        return hashlib.sha256(self._bytes).hexdigest()

    @property
    def lines(self) -> list[str]:
        """Lines of the file."""
        return self._bytes.decode().splitlines()

    @cached_property
    def _bytes(self) -> bytes:
        return resources.files("admbench.bench.suites").joinpath(self.file).read_bytes()
