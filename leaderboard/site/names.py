"""Where each page of the site lies, and what it is called."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from admbench.files import slug
from admbench.hashing import sha256_json
from admbench.leaderboard.boards import Row


@dataclass
class Names:
    """Paths from the root of the site. A cell is named by its content too, so that a link never shows another one."""

    _cells: dict[str, str] = field(default_factory=dict)

    def anchor(self, row: Row) -> str:
        """Return the name of a record's page and file."""
        key = str(row.loaded.path)
        if key not in self._cells:
            readable = slug(f"{row.record.model.name} {row.name}")
            self._cells[key] = f"{readable}-{sha256_json(row.record.model_dump(mode='json'))[:8]}"
        return self._cells[key]

    def of(self, rows: Iterable[Row]) -> Names:
        """Return these names with those of some records alone."""
        return Names({key: self._cells[key] for row in rows if self.anchor(row) and (key := str(row.loaded.path))})

    def cell(self, row: Row) -> str:
        """Return the page of a record."""
        return f"cells/{self.anchor(row)}.html"

    def record(self, row: Row) -> str:
        """Return the file of a record."""
        return f"records/{self.anchor(row)}.json"

    def model(self, group: str) -> str:
        """Return the page of a model with its sampling settings."""
        return f"models/{slug(group)}.html"

    def method(self, spec: str) -> str:
        """Return the page of a method."""
        return f"methods/{slug(spec)}.html"


def anchor(page: str) -> str:
    """Return the name of a row that leads to a page, for the part of an address after its #.

    >>> anchor("methods/naive-w8a8.html")
    'naive-w8a8'
    """
    return page.rpartition("/")[2].removesuffix(".html")
