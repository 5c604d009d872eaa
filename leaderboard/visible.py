"""Text as a reader should see it: what is invisible, reorders, piles up or looks like something else is written out.

A record is written by anybody. A zero-width space makes two names of one; a mark of direction turns a line around;
tag characters carry a whole sentence that no one sees; forty accents on one letter cover the lines above. None of these
is refused, as captions of many languages need some of them, but on a page each stands as its number: `\\u{200B}`.
"""

from __future__ import annotations

import unicodedata
from typing import Any

NAME_LENGTH = 120
"""Of a name longer than this a page shows the beginning; the record has it whole."""
TEXT_LENGTH = 2000
"""The same of any other text."""
_MARKS = 2
"""So many combining marks may stand on one letter, as in Vietnamese; more are written out."""
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})
_HIDDEN_RANGES = (
    (0x034F, 0x034F),  # combining grapheme joiner
    (0x115F, 0x1160),  # fillers of Hangul
    (0x17B4, 0x17B5),  # inherent vowels of Khmer
    (0x180B, 0x180F),  # variation selectors of Mongolian
    (0x2000, 0x200F),  # spaces of other widths, zero width, marks of direction
    (0x2800, 0x2800),  # a braille pattern without dots
    (0x3164, 0x3164),  # filler of Hangul
    (0xFE00, 0xFE0F),  # variation selectors
    (0xFFA0, 0xFFA0),  # filler of Hangul, half width
    (0xE0000, 0xE0FFF),  # tags and further variation selectors
)
_SEEN = frozenset("\n\t")
_LOOK_ALIKE_SCRIPTS = ("CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC", "LISU", "DESERET")


def visible(text: str, most: int = TEXT_LENGTH) -> str:
    """Return a text with everything that is not seen, or covers what is, written as `\\u{NUMBER}`, at most `most` long.

    >>> visible("naive\\u200b@w4a8"), visible("a dog \\u202ebarks"), visible("caf\\u00e9")
    ('naive\\\\u{200B}@w4a8', 'a dog \\\\u{202E}barks', 'café')
    >>> ascii(visible("o" + "\\u0301" * 4))
    "'o\\\\u0301\\\\u0301\\\\\\\\u{301}\\\\\\\\u{301}'"
    """
    shown = text if text.isascii() and text.isprintable() else "".join(_written(text))
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def visible_name(text: str) -> str:
    """Return a name as `visible` does, on one line, with letters that look like others of the Latin script written out.

    >>> visible_name("n\\u0430ive@w4a8"), visible_name("dir:/models/mod\\u00e8le"), visible_name("\\uff46p32")
    ('n\\\\u{430}ive@w4a8', 'dir:/models/modèle', '\\\\u{FF46}p32')
    """
    if text.isascii() and text.isprintable():
        return visible(text, NAME_LENGTH)
    return visible("".join(_code(char) if _looks_alike(char) else char for char in text), NAME_LENGTH)


def visible_value(value: Any) -> Any:
    """Return a JSON value with all its texts, keys too, as `visible` shows them."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, dict):
        return {visible(key): visible_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [visible_value(item) for item in value]
    return value


def _written(text: str) -> list[str]:
    """Return the characters of a text, those that are not seen written out."""
    written: list[str] = []
    marks = 0
    for char in text:
        marks = marks + 1 if unicodedata.combining(char) or unicodedata.category(char) in ("Mn", "Me") else 0
        written.append(_code(char) if marks > _MARKS or _is_hidden(char) else char)
    return written


def _is_hidden(char: str) -> bool:
    if char in _SEEN:
        return False
    number = ord(char)
    return unicodedata.category(char) in _HIDDEN_CATEGORIES or any(
        first <= number <= last for first, last in _HIDDEN_RANGES
    )


def _looks_alike(char: str) -> bool:
    """Whether a character of a name may pass for an ASCII one, or breaks its line."""
    if char.isascii():
        return char in _SEEN
    plain = unicodedata.normalize("NFKC", char)
    return (plain != char and plain.isascii()) or unicodedata.name(char, "").startswith(_LOOK_ALIKE_SCRIPTS)


def _code(char: str) -> str:
    return f"\\u{{{ord(char):X}}}"
