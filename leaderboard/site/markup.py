"""Parts of a page that it has by the thousand, as markup: a board of 1,000 records spends seconds in macros for them.

Every text is escaped and shows all it holds, as where a template writes it.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

from admbench.leaderboard.site.columns import DASH, Column, Value, words
from admbench.leaderboard.site.front import FrontCell
from admbench.plain_text import visible_lines, visible_name

MOST_UNFOLDED = 8
"""Entries of a part of a tree, those of its own parts among them; what has more is folded."""
FURTHER = ' class="further"'
"""Of a fact that a table of cells shows when all are asked for; the front page shows none of them unless asked."""


def shown(text: str) -> str:
    """Return a text as it stands between tags or in an attribute.

    >>> shown('a < "b"\\u200b')
    'a &lt; &#34;b&#34;\\\\u200b'
    """
    return str(escape(visible_lines(text)))


def tree(value: Any) -> Markup:
    """Return plain data as nested lists of keys and values.

    >>> tree({"bits": [4, 8], "fit": True})
    Markup('<dl><div><dt>bits</dt><dd>4, 8</dd></div><div><dt>fit</dt><dd>yes</dd></div></dl>')
    """
    return Markup(_tree(value))


def _tree(value: Any, depth: int = 0) -> str:
    if isinstance(value, str):
        return shown(value)
    if value is None:
        return '<span class="null">null</span>'
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, Mapping):
        entries = "".join(
            f"<div><dt>{_broken(str(key))}</dt><dd>{_tree(item, depth + 1)}</dd></div>" for key, item in value.items()
        )
        if depth and entries.count("<dt>") > MOST_UNFOLDED:
            entry = "entry" if len(value) == 1 else "entries"
            return f"<details><summary>{len(value)} {entry}</summary><dl>{entries}</dl></details>"
        return f"<dl>{entries}</dl>" if entries else "none"
    return ", ".join(_tree(item, depth + 1) for item in value) or "none"


def _broken(key: str) -> str:
    """Return a key that may go on in the next line after each of its parts."""
    return shown(key).replace("_", "_<wbr>")


def fact(column: Column, value: Value, *, noted: bool = True) -> Markup:
    """Return what a cell has in a column.

    Args:
        column: for its decimals and unit.
        value: of the cell.
        noted: whether notes and reasons stand beside it; else they are its tooltip.
    """
    tooltip = "" if noted else value.missing or value.note
    title = f' title="{shown(tooltip)}"' if tooltip else ""
    if value.missing:
        beside = f" <small>{shown(value.missing)}</small>" if noted else ""
        return Markup(f'<span class="none"{title}>{DASH}</span>{beside}')
    tone = f' class="{value.tone}"' if value.tone else ""
    said = f"<span{tone}{title}>{shown(words(column, value))}</span>"
    if value.tone == "busy" and not noted:
        said += ' <small class="busy">\N{WARNING SIGN} busy machine</small>'
    if value.note and noted:
        said += f" <small>{shown(value.note)}</small>"
    return Markup(said)


def emphasized(text: str, specs: Iterable[str]) -> Markup:
    """Return a sentence with the names of methods in it in bold, which a line does not break.

    >>> emphasized("a@w4a8[x=1] beats a@w4a8 & all", ["a@w4a8", "a@w4a8[x=1]"])
    Markup('<b>a@w4a8[x=1]</b> beats <b>a@w4a8</b> &amp; all')
    """
    named = sorted((spec for spec in specs if spec in text), key=len, reverse=True)
    parts = re.split(f"({'|'.join(map(re.escape, named))})", text) if named else [text]
    return Markup("").join(
        Markup("<b>{}</b>").format(visible_name(part)) if place % 2 else escape(visible_lines(part))
        for place, part in enumerate(parts)
    )


class FactRows:
    """Rows of facts. A cell has one on the page of its model and then on that of its method: made once, and let go.

    Between the two a board of many records would hold 3 KB and more of each, which take a sixth of it compressed.
    """

    def __init__(self) -> None:
        self._made: dict[int, bytes] = {}

    def __call__(self, columns: Sequence[Column], cell: FrontCell) -> Markup:
        """Return the entries of a table for one cell, a column each; a cell is on one board, and has its columns."""
        if id(cell) in self._made:
            return Markup(zlib.decompress(self._made.pop(id(cell))).decode())  # the second page is the last
        entries = (
            f'<td data-key="{column.key}" data-label="{shown(column.label)}"{"" if column.shown else FURTHER}>'
            f"{fact(column, cell.values[column.key], noted=False)}</td>"
            for column in columns
        )
        text = "".join(entries)
        self._made[id(cell)] = zlib.compress(text.encode(), level=1)
        return Markup(text)
