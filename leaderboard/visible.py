"""Texts of records as a page shows them: `admbench.plain_text` writes out what hides, and what is long is cut."""

from __future__ import annotations

from admbench import plain_text

NAME_LENGTH = 120
"""Of a name longer than this a page shows the beginning; the record has it whole."""
TEXT_LENGTH = 2000
"""The same of a line of any other text."""


def visible(text: str, limit: int = TEXT_LENGTH) -> str:
    """Return a text line by line as `plain_text.visible` shows it, the blanks around each line kept.

    >>> visible(" a\\u200b\\n b; ")
    ' a\\\\u200b\\n b; '
    """
    if text.isascii() and text.isprintable() and len(text) <= limit:
        return text
    return "\n".join(_line(line, limit) for line in text.split("\n"))


def visible_name(text: str) -> str:
    """Return a name on one line."""
    return plain_text.visible(text, NAME_LENGTH)


def _line(line: str, limit: int) -> str:
    bare = line.strip(" ")
    start = line.index(bare) if bare else len(line)
    return line[:start] + plain_text.visible(bare, limit) + " " * (len(line) - start - len(bare))
