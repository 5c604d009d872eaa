"""Errors that are the user's to mend; `str(error)` is the one line that a command prints."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

LONGEST = 3000
"""Characters of a text of an error: a name or value out of a file can have any length."""
_LINE_BREAKS = re.compile("\\s*[\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029]\\s*")
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
"""Control characters, marks that reorder a line, and what bytes of a file's name that are no UTF-8 are read as."""


class BenchError(Exception):
    """A user's mistake or a broken input. Its text is one line that names the thing at fault and what was expected.

    Names and values in it come from files of others, so the text is made one line here, once for all: line breaks are
    spaces, other characters that cannot be shown are their escapes, and what is too long is cut.

    >>> str(DataError("a.json: key 'x\\n\\x1b[2J': expected a number"))
    "a.json: key 'x \\\\x1b[2J': expected a number"
    """

    def __str__(self) -> str:
        text = super().__str__()
        text = _UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], _LINE_BREAKS.sub(" ", text))
        return text if len(text) <= LONGEST else f"{text[:LONGEST]} ... [{len(text) - LONGEST} more]"


class UsageError(BenchError):
    """A name, option or value that the user typed is not valid."""


class PluginError(BenchError):
    """A plug-in cannot be loaded, or two claim one name."""


class CheckpointError(BenchError):
    """A checkpoint is missing, damaged, or not one."""


class CheckpointWarning(UserWarning):
    """A checkpoint is usable, but something in it is likely not what its owner means; the message says what."""


class DataError(BenchError):
    """An audio, caption, feature or record file is missing, damaged or malformed."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory did not suffice; torch has no class for that on a CPU.

    >>> is_out_of_memory(MemoryError()), is_out_of_memory(RuntimeError("shapes differ"))
    (True, False)
    """
    text = str(error)
    return isinstance(error, MemoryError) or "can't allocate memory" in text or "out of memory" in text.lower()


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
