"""Text that shows all it holds: one line, nothing invisible, nothing that reorders, stacks, or passes for ASCII.

What others wrote (names, reasons, options) is put on pages, terminals and into lines of other programs. There a newline
forges a line, a direction mark reorders what is read, a zero-width character makes two names look like one, and so does
a Cyrillic letter in a Latin word. `visible` writes such characters as their escapes, `\\u200b`, and leaves all other
text as it is: Persian, emoji, accents. Categories are those of the Unicode Character Database.

A name is held to more, as names are told apart by eye: a word of it that reads as ASCII is ASCII. What looks like a
character of ASCII (UTS #39, `admbench.lookalikes`) is escaped in a word that has a Latin letter, as a sign, and where
a whole word is of such characters, as a Cyrillic one of es and o is. Names in other scripts stay as they are.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

from admbench.lookalikes import LOOKALIKES

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


def visible(text: str, limit: int | None = None, *, name: bool = False) -> str:
    """Return text on one line, with every character that hides something as its escape.

    What it returns it leaves as it is. Line breaks and spaces of all kinds, and several of them, become one space; at
    its ends there is none.

    Args:
        text: any text.
        limit: most characters; what is longer is cut, and says so. At least 40.
        name: whether it is a name, in which no word and no sign passes for one of ASCII.

    >>> visible("naive\\nok: all"), visible("na\\u200bive"), visible("n\\u0430ive"), visible("шум и эхо")
    ('naive ok: all', 'na\\\\u200bive', 'n\\\\u0430ive', 'шум и эхо')
    >>> visible("\\u0441\\u043e\\u0441\\u043e \\u2010 шум", name=True)
    '\\\\u0441\\\\u043e\\\\u0441\\\\u043e \\\\u2010 шум'
    >>> visible("x" * 100, 40)
    'xxxxxxxxxxxxxxxx ... [84 more]'
    """
    if not (text.isascii() and text.isprintable()) or "  " in text or text.strip() != text:
        while (shown := _once(text, name)) != text:  # until it would leave its own work as it is
            text = shown
    if limit is not None and len(text) > limit:
        kept = limit - _CUT
        text = f"{text[:kept].rstrip()} ... [{len(text) - kept} more]"
    return text


def visible_name(text: str) -> str:
    """Return a name as pages show it: on one line, not longer than `NAME_LENGTH`, and no other's look-alike."""
    return visible(text, NAME_LENGTH, name=True)


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


def _once(text: str, name: bool) -> str:
    composed = unicodedata.normalize("NFC", text)
    spaced = " ".join("".join(_shown(character) for character in composed).split())
    marked = _without_stacks(spaced)
    tokens = _TOKEN.findall(marked)
    words = map(_name_word, _with_marks(tokens)) if name else map(_word, tokens)
    return unicodedata.normalize("NFC", "".join(words))


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


def _with_marks(tokens: Iterable[str]) -> Iterator[str]:
    """Join words with the marks on their letters, and with what follows those."""
    word = ""
    for token in tokens:
        if token.isalnum() or (word and unicodedata.category(token[0]).startswith("M")):
            word += token
            continue
        yield from filter(None, (word, token))
        word = ""
    if word:
        yield word


def _name_word(token: str) -> str:
    """Escape what looks like ASCII in a word that has a Latin letter, or that is all of such; and signs that do."""
    if token.isascii():
        return token
    token = _word(token)
    if token.isascii() or "\\" in token:
        return token  # the next time around what is left of it is looked at
    latin = any("LATIN" in unicodedata.name(character, "") for character in token)
    if latin or all(character.isascii() or _passes_for_ascii(character) for character in token):
        return "".join(_escape(one) if _passes_for_ascii(one) else one for one in token)
    return token


def _passes_for_ascii(character: str) -> bool:
    if character.isascii():
        return False
    compatible = unicodedata.normalize("NFKC", character)
    return (
        character in LOOKALIKES
        or (len(compatible) == 1 and compatible.isascii())
        or unicodedata.category(character) == "Pd"
        or "SMALL CAPITAL" in unicodedata.name(character, "")
    )


def _escape(character: str) -> str:
    number = ord(character)
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
