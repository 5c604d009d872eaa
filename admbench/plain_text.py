"""Text that shows all it holds: one line, nothing invisible, nothing that reorders, stacks, or passes for ASCII.

What others wrote (names, reasons, options) is put on pages, terminals and into lines of other programs. There a newline
forges a line, a direction mark reorders what is read, a zero-width character makes two names look like one, and so does
a Cyrillic letter in a Latin word. `visible` writes such characters as their escapes, `\\u200b`, and leaves all other
text as it is: Persian, emoji, accents. Categories are those of the Unicode Character Database.
"""

from __future__ import annotations

import re
import unicodedata

NAME_LENGTH = 120
"""Of a name longer than this a page shows the beginning; the record has it whole."""
TEXT_LENGTH = 2000
"""The same of a line of any other text."""
MOST_MARKS = 3
"""Combining marks on one character: Vietnamese and pointed Hebrew need no more."""

_ESCAPED = {"Cc", "Cf", "Cn", "Co", "Cs"}
"""Control, format (zero width, direction, soft hyphen, tags), unassigned, private use, surrogate."""
_SPACES = {"Zs", "Zl", "Zp"}
_LINE_BREAKS = "\t\n\v\f\r\x85"
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""Letters and marks by category that show nothing: fillers, variation selectors, the blank of Braille."""
_LOOKALIKES = ("CYRILLIC", "GREEK", "COPTIC", "ARMENIAN", "CHEROKEE", "LISU", "MATHEMATICAL", "FULLWIDTH")
"""Scripts with letters that look like Latin ones."""
_CUT = len(" ... [999999999999 more]")
_TOKEN = re.compile(r"\\u[0-9a-f]{4}|\\U[0-9a-f]{8}|[^\W_]+|.", re.DOTALL)


def visible(text: str, limit: int | None = None) -> str:
    """Return text on one line, with every character that hides something as its escape.

    What it returns it leaves as it is. Line breaks and spaces of all kinds, and several of them, become one space; at
    its ends there is none.

    Args:
        text: any text.
        limit: most characters; what is longer is cut, and says so. At least 40.

    >>> visible("naive\\nok: all"), visible("na\\u200bive"), visible("n\\u0430ive"), visible("шум и эхо")
    ('naive ok: all', 'na\\\\u200bive', 'n\\\\u0430ive', 'шум и эхо')
    >>> visible("x" * 100, 40)
    'xxxxxxxxxxxxxxxx ... [84 more]'
    """
    if not (text.isascii() and text.isprintable()) or "  " in text or text.strip() != text:
        while (shown := _once(text)) != text:  # until it would leave its own work as it is
            text = shown
    if limit is not None and len(text) > limit:
        kept = limit - _CUT
        text = f"{text[:kept].rstrip()} ... [{len(text) - kept} more]"
    return text


def visible_name(text: str) -> str:
    """Return a name as pages show it: on one line, and not longer than `NAME_LENGTH`."""
    return visible(text, NAME_LENGTH)


def visible_lines(text: str) -> str:
    """Return a text as pages show it: line by line, the blanks around each line kept, none longer than `TEXT_LENGTH`.

    >>> visible_lines(" a\\u200b\\n b; ")
    ' a\\\\u200b\\n b; '
    """
    if text.isascii() and text.isprintable() and len(text) <= TEXT_LENGTH:
        return text
    return "\n".join(_line(line) for line in text.split("\n"))


def _line(line: str) -> str:
    bare = line.strip(" ")
    start = line.index(bare) if bare else len(line)
    return line[:start] + visible(bare, TEXT_LENGTH) + " " * (len(line) - start - len(bare))


def _once(text: str) -> str:
    composed = unicodedata.normalize("NFC", text)
    spaced = " ".join("".join(_shown(character) for character in composed).split())
    marked = _without_stacks(spaced)
    return unicodedata.normalize("NFC", "".join(_word(found[0]) for found in _TOKEN.finditer(marked)))


def _shown(character: str) -> str:
    if character in _LINE_BREAKS:
        return " "
    category = unicodedata.category(character)
    if category in _SPACES:
        return " "
    return _escape(character) if category in _ESCAPED or _INVISIBLE.match(character) else character


def _without_stacks(text: str) -> str:
    """Escape the marks on a character beyond those that it may have."""
    shown, marks = [], 0
    for character in text:
        marks = marks + 1 if unicodedata.category(character) in ("Mn", "Me") else 0
        shown.append(_escape(character) if marks > MOST_MARKS else character)
    return "".join(shown)


def _word(token: str) -> str:
    """Escape letters of other scripts that look like Latin ones, in a word that has a Latin letter."""
    if token.isascii():
        return token
    scripts = [unicodedata.name(character, "").partition(" ")[0] for character in token]
    if "LATIN" not in scripts:
        return token
    return "".join(
        _escape(character) if script in _LOOKALIKES else character
        for character, script in zip(token, scripts, strict=True)
    )


def _escape(character: str) -> str:
    number = ord(character)
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
