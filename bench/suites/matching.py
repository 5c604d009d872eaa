"""Which caption a clip belongs to: one rule for reference clips of a run and for folders that are scored.

A clip belongs to a caption by its file's name without the suffix. That is the caption's `id`; or a name that the
caption file gives its clip (`reference`, `file_name`, what AudioCaps and Clotho call their clips); or what an id was
made from where that was no safe file name. One of several clips of a caption has a number behind the name:
`rain_1`, `rain-2`, `rain.3`, `rain 4`, `rain (5)`. A name as it stands goes before a name with a number.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from admbench.audio_files import is_audio_file
from admbench.bench.suites.base import SuiteItem
from admbench.errors import DataError
from admbench.files import slug

_NUMBERED = re.compile(r"(?P<name>.+?)(?P<number>[_. -][0-9]{1,6}| ?\([0-9]{1,6}\))")


def clip_name(file: str) -> str:
    """Return a clip's name as it is compared: without the suffix of audio, in Unicode's composed form.

    >>> clip_name("Rain (1).wav"), clip_name("take.1")
    ('Rain (1)', 'take.1')
    """
    stem = file.rpartition(".")[0] if is_audio_file(file) else file
    return unicodedata.normalize("NFC", stem)


@dataclass(frozen=True)
class Match:
    """The caption of a clip."""

    item: SuiteItem
    number: str = ""
    """What stands behind the caption's name, of one of several clips; empty of the only one."""


class Matcher:
    """Finds the captions of clips by name.

    Args:
        where: the caption file or suite, for messages.
        items: its captions.
    """

    def __init__(self, where: str, items: Sequence[SuiteItem]) -> None:
        self._where = where
        self._by_id = {clip_name(item.id): item for item in items}
        self._by_name: dict[str, list[SuiteItem]] = {}
        for item in items:
            for name in dict.fromkeys(map(clip_name, item.clip_names)):
                self._by_name.setdefault(name, []).append(item)

    def find(self, name: str) -> Match | None:
        """Return the caption of a clip; None if it has none.

        Args:
            name: of the clip, without suffix.

        Raises:
            DataError: it could be that of several captions; names two.
        """
        name = clip_name(name)
        if item := self._named(name):
            return Match(item)
        numbered = _NUMBERED.fullmatch(name)
        if numbered is None:
            return None
        own = numbered["name"]
        # not by further names of a clip: ID_30 is the clip of AudioCaps that begins at 30 s, not the thirtieth of ID
        item = self._by_id.get(own) or self._by_id.get(slug(own))
        return Match(item, numbered["number"]) if item else None

    def _named(self, name: str) -> SuiteItem | None:
        if item := self._by_id.get(name):
            return item
        found = self._by_name.get(name, [])
        if len(found) > 1:
            raise DataError(f"{self._where}: clip {name} could be of {found[0].id} and of {found[1].id}")
        return found[0] if found else self._by_id.get(slug(name))


def first_few(names: Iterable[str], shown: int = 3) -> str:
    """Return the first names of some, and how many more there are.

    >>> first_few("abcde")
    'a, b, c and 2 more'
    """
    known = list(names)
    more = f" and {len(known) - shown} more" if len(known) > shown else ""
    return ", ".join(known[:shown]) + more
