"""New cells as feeds: Atom (RFC 4287) and JSON Feed 1.1, so that a board can be followed.

An entry is a finished cell: its id follows from the record's bytes, so a cell that is run again is news. Nothing in a
feed depends on when it was made.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urljoin
from xml.etree import ElementTree

from admbench.hashing import sha256_file
from admbench.leaderboard.reading import LoadedRecord
from admbench.leaderboard.record import Record, Score
from admbench.leaderboard.xml_text import xml_text

ATOM_FILE, JSON_FILE = "feed.atom", "feed.json"
NEWEST = 100
"""Entries of a feed."""
_FRONT = "index.html"
_ATOM = "http://www.w3.org/2005/Atom"


def _newest(records: Sequence[LoadedRecord], pages: Mapping[Path, str]) -> list[LoadedRecord]:
    """Return the finished cells of a feed, the newest first; another run's copy of one has no page and is no news."""
    on_board = [one for one in records if one.path in pages]
    finished = [one for one in on_board if one.record.status == "done" and one.record.provenance is not None]
    return sorted(finished, key=lambda one: (_started(one.record), str(one.path)), reverse=True)[:NEWEST]


def to_atom(records: Sequence[LoadedRecord], title: str, pages: Mapping[Path, str], url: str | None = None) -> str:
    """Return the Atom feed of some records.

    Args:
        records: of a board, in any order.
        title: of the board.
        pages: file of a record -> page of its cell, from where the board is.
        url: where the board is; without it links are relative to the feed.
    """
    cells = _newest(records, pages)
    ElementTree.register_namespace("", _ATOM)
    feed = ElementTree.Element(f"{{{_ATOM}}}feed")
    _add(feed, "title", title)
    _add(feed, "id", uuid.uuid5(uuid.NAMESPACE_URL, url or title).urn)
    _add(feed, "updated", _time(cells[0].record) if cells else datetime.fromtimestamp(0, UTC).isoformat())
    _add(_add(feed, "author", None), "name", title)
    _add(feed, "link", None).attrib.update(rel="self", href=_at(url, ATOM_FILE))
    _add(feed, "link", None).attrib.update(rel="alternate", href=_at(url, _FRONT))
    for cell in cells:
        entry = _add(feed, "entry", None)
        _add(entry, "title", _title(cell.record))
        _add(entry, "id", _id(cell))
        _add(entry, "updated", _time(cell.record))
        _add(entry, "link", None).set("href", _at(url, pages[cell.path]))
        _add(entry, "content", _words(cell.record)).set("type", "text")
    ElementTree.indent(feed)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(feed, encoding="unicode") + "\n"


def to_json_feed(records: Sequence[LoadedRecord], title: str, pages: Mapping[Path, str], url: str | None = None) -> str:
    """Return the JSON Feed of some records; arguments as of `to_atom`."""
    items = [
        {
            "id": _id(cell),
            "url": _at(url, pages[cell.path]),
            "title": _title(cell.record),
            "content_text": _words(cell.record),
            "date_published": _time(cell.record),
        }
        for cell in _newest(records, pages)
    ]
    feed = {
        "version": "https://jsonfeed.org/version/1.1",
        "title": title,
        "home_page_url": _at(url, _FRONT),
        "feed_url": _at(url, JSON_FILE),
        "items": items,
    }
    return json.dumps(feed, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _add(parent: ElementTree.Element, name: str, text: str | None) -> ElementTree.Element:
    added = ElementTree.SubElement(parent, f"{{{_ATOM}}}{name}")
    added.text = None if text is None else xml_text(text)
    return added


def _at(url: str | None, name: str) -> str:
    return name if url is None else urljoin(url if url.endswith("/") else f"{url}/", name)


def _id(cell: LoadedRecord) -> str:
    return uuid.uuid5(uuid.NAMESPACE_OID, sha256_file(cell.path)).urn


def _started(record: Record) -> datetime:
    assert record.provenance is not None
    return datetime.fromisoformat(record.provenance.started).astimezone(UTC)


def _time(record: Record) -> str:
    return _started(record).isoformat(timespec="seconds").replace("+00:00", "Z")


def _title(record: Record) -> str:
    return f"{record.method.spec} on {record.model.name}"


def _words(record: Record) -> str:
    """Return what a reader wants to know first: how far from full precision, how good, how large."""
    said = [_score(key, record.scores[key]) for key in ("fd_vs_baseline", "fd", "clap") if key in record.scores]
    if record.size is not None and record.size.checkpoint_bytes is not None:
        said.append(f"{record.size.checkpoint_bytes / 1e6:.2f} MB")
    return "; ".join([*filter(None, said), f"{record.suite.n} captions of {record.suite.name}"])


def _score(key: str, score: Score) -> str | None:
    if score.value is None:
        return None
    interval = f" [{score.ci95[0]:.3g}, {score.ci95[1]:.3g}]" if score.ci95 else ""
    return f"{key} {score.value:.3g}{interval}"
