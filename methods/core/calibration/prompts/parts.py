"""A caption as its parts: one phrase for each sound, with how they are joined.

    "a dog barks while rain falls"      ->  "a dog barks", "rain falls", at the same time
    "first a bell ringing and then applause"  ->  "a bell ringing", "applause", one after the other

By connecting words, not by grammar. Some always join sounds ("while", "followed by"); "and", a comma, "with" or "over"
join as often two verbs, adjectives or things, and count only if a sound's source is named on either side.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

SEQUENTIAL = (
    "and after that",
    "and afterwards",
    "and finally",
    "and then",
    "followed by",
    "after which",
    "after that",
    "afterwards",
    "then",
    "before",
    "after",
    "until",
)
SIMULTANEOUS = ("over the sound of", "together with", "accompanied by", "along with", "mixed with", "while", "as")
EITHER = ("and", ",", ";", "with", "over", "above", "under", "below")
"""Connecting words that also do other work."""
TAILS = ("in the background", "at the same time", "all together", "is heard", "are heard", "can be heard")
"""What ends a caption and belongs to none of its parts."""
HEADS = ("first", "there is", "there are", "you can hear that", "you can hear", "the sound of", "a recording of", "and")
"""What begins one."""

_WORDS = "|".join(map(re.escape, (*SEQUENTIAL, *SIMULTANEOUS, *(word for word in EITHER if word.isalpha()))))
_JOIN = re.compile(rf"\s*(?:,\s*)?(?<![\w'-])({_WORDS})(?![\w'-])\s*|\s*([,;])\s*")


@dataclass(frozen=True)
class Parts:
    """A caption, taken apart."""

    phrases: tuple[str, ...]
    """One of each sound, in lower case, at least one."""
    sequential: bool
    """Whether some sound follows another; if not, several sound at the same time."""


def split_caption(caption: str, names_source: Callable[[str], bool]) -> Parts:
    """Take a caption apart.

    >>> split_caption("A dog barks, then rain falls", lambda phrase: True)
    Parts(phrases=('a dog barks', 'rain falls'), sequential=True)

    Args:
        caption: any text.
        names_source: whether a phrase names the source of a sound.
    """
    text = " ".join(re.sub(r"[^\w\s,;'-]", " ", caption.lower()).split())
    phrases, joins, start = [], [], 0
    for match in _JOIN.finditer(text):
        left, right = text[start : match.start()], text[match.end() :]
        join = match[1] or match[2]
        if join in EITHER and not (_stands(left, names_source) and _stands(_up_to_join(right), names_source)):
            continue
        phrases.append(left)
        joins.append(join)
        start = match.end()
    phrases.append(text[start:])
    trimmed = tuple(phrase for phrase in map(_trimmed, phrases) if phrase)
    return Parts(trimmed or (text,), any(join in SEQUENTIAL for join in joins))


def _stands(phrase: str, names_source: Callable[[str], bool]) -> bool:
    """Whether a phrase can be a part of its own: two words or more, or one that is no verb left over."""
    words = _trimmed(phrase).split()
    return bool(words) and names_source(phrase) and (len(words) > 1 or not re.search(r"[^s]s$", words[0]))


def _up_to_join(text: str) -> str:
    match = _JOIN.search(text)
    return text[: match.start()] if match and match.start() else text


def _trimmed(phrase: str) -> str:
    """Without what begins and ends captions."""
    phrase = phrase.strip(" ,;")
    while True:
        shorter = phrase
        for head in HEADS:
            shorter = shorter.removeprefix(head + " ")
        for tail in TAILS:
            shorter = shorter.removesuffix(" " + tail)
        shorter = shorter.strip(" ,;")
        if shorter == phrase:
            return phrase
        phrase = shorter
