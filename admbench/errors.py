"""Errors that are the user's to mend; `str(error)` is the one line that a command prints."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class BenchError(Exception):
    """A user's mistake or a broken input. Its text is one line that names the thing at fault and what was expected."""


class UsageError(BenchError):
    """A name, option or value that the user typed is not valid."""


class PluginError(BenchError):
    """A plug-in cannot be loaded, or two claim one name."""


class CheckpointError(BenchError):
    """A checkpoint is missing, damaged, or not one."""


class DataError(BenchError):
    """An audio, caption, feature or record file is missing, damaged or malformed."""


def nearest(name: str, candidates: Iterable[str]) -> str:
    """Return ` Did you mean "x"?` for the candidate closest to `name`, or an empty string where none is close.

    >>> nearest("fp23", ["fp32", "bf16"])
    ' Did you mean "fp32"?'
    >>> nearest("q-diffusion", ["fp32", "bf16"])
    ''
    """
    by_folded = {candidate.casefold(): candidate for candidate in candidates}
    matches = difflib.get_close_matches(name.casefold(), by_folded, n=1)
    return f' Did you mean "{by_folded[matches[0]]}"?' if matches else ""
