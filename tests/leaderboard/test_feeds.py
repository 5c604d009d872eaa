"""Feeds of new cells: what a reader of feeds needs, whatever a record says."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from admbench.bench.cli.app import main
from admbench.leaderboard import feeds
from admbench.leaderboard.feeds import NEWEST
from admbench.leaderboard.reading import LoadedRecord, parse_record

from .conftest import record

ATOM = "{http://www.w3.org/2005/Atom}"


@pytest.fixture
def cells(tmp_path: Path) -> list[LoadedRecord]:
    return [loaded(tmp_path, spec, f"2026-03-0{day}T10:00:00+02:00") for day, spec in ((1, "fp32"), (3, "naive@w8a8"))]


def to_atom(cells: list[LoadedRecord], title: str, url: str | None = None) -> str:
    return feeds.to_atom(cells, title, pages_of(cells), url)


def to_json_feed(cells: list[LoadedRecord], title: str) -> str:
    return feeds.to_json_feed(cells, title, pages_of(cells))


def pages_of(cells: list[LoadedRecord]) -> dict[Path, str]:
    return {cell.path: f"cells/{cell.path.stem}.html" for cell in cells}


def loaded(run: Path, spec: str, started: str, **changes: Any) -> LoadedRecord:
    value = record(spec=spec) | changes
    value["provenance"] = value["provenance"] | {"started": started}
    path = run / f"{len(list(run.iterdir()))}.json"
    path.write_text(json.dumps(value))
    return LoadedRecord(parse_record(value), path, run)


def test_the_newest_cell_comes_first_with_its_scores_and_bytes(cells: list[LoadedRecord]) -> None:
    feed = ElementTree.fromstring(to_atom(cells, "Board", "https://board.example/x"))
    entries = feed.findall(f"{ATOM}entry")
    assert [entry.findtext(f"{ATOM}title") for entry in entries] == ["naive@w8a8 on tiny-tango", "fp32 on tiny-tango"]
    assert feed.findtext(f"{ATOM}updated") == entries[0].findtext(f"{ATOM}updated") == "2026-03-03T08:00:00Z"
    words = str(entries[0].findtext(f"{ATOM}content"))
    assert words.startswith("fd_vs_baseline ")
    assert words.endswith(" MB; 4 captions of foley")
    assert [link.get("href") for link in feed.findall(f"{ATOM}link")] == [
        "https://board.example/x/feed.atom",
        "https://board.example/x/index.html",
    ]


def test_an_entry_leads_to_the_page_of_its_cell_and_a_copy_of_another_run_is_none(cells: list[LoadedRecord]) -> None:
    pages, url = {cells[1].path: "cells/new.html"}, "https://board.example/x"
    (item,) = json.loads(feeds.to_json_feed(cells, "Board", pages, url))["items"]
    (link,) = ElementTree.fromstring(feeds.to_atom(cells, "Board", pages, url)).findall(f"{ATOM}entry/{ATOM}link")
    assert item["url"] == link.get("href") == f"{url}/cells/new.html"
    assert json.loads(feeds.to_json_feed(cells, "Board", pages))["items"][0]["url"] == "cells/new.html"


def test_both_feeds_say_the_same(cells: list[LoadedRecord]) -> None:
    entries = ElementTree.fromstring(to_atom(cells, "Board")).findall(f"{ATOM}entry")
    feed = json.loads(to_json_feed(cells, "Board"))
    assert feed["version"] == "https://jsonfeed.org/version/1.1"
    for item, entry in zip(feed["items"], entries, strict=True):
        assert item["id"] == entry.findtext(f"{ATOM}id")
        assert item["content_text"] == entry.findtext(f"{ATOM}content")
        assert datetime.fromisoformat(item["date_published"]).tzinfo is not None
    assert feed["home_page_url"] == "index.html", "relative where nobody said where the board is"


def test_a_page_has_its_feeds_beside_it_and_names_them(make_run: Any, tmp_path: Path) -> None:
    run = make_run([record()])
    out = tmp_path / "site"
    assert main(["leaderboard", str(run), "--out", str(out), "--url", "https://board.example/x", "--quiet"]) == 0
    (item,) = json.loads((out / "feed.json").read_text())["items"]
    (page,) = (out / "cells").glob("*.html")
    assert item["url"] == f"https://board.example/x/cells/{page.name}"
    link = ElementTree.fromstring((out / "feed.atom").read_text()).find(f"{ATOM}entry/{ATOM}link")
    assert link is not None
    assert link.get("href") == item["url"]
    assert 'type="application/atom+xml" title="New cells" href="feed.atom"' in (out / "index.html").read_text()


@pytest.mark.parametrize("url", ["board.example", "javascript:alert(1)", "https://"])
def test_an_address_that_is_none_is_refused(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["leaderboard", str(tmp_path), "--out", str(tmp_path / "site"), "--url", url]) == 2
    assert "expected an address such as https://board.example" in capsys.readouterr().err


def test_a_cell_is_news_once_and_again_when_it_is_run_again(cells: list[LoadedRecord], tmp_path: Path) -> None:
    ids = {item["id"] for item in json.loads(to_json_feed(cells, "Board"))["items"]}
    again = loaded(tmp_path, "naive@w8a8", "2026-03-05T10:00:00+00:00")
    items = json.loads(to_json_feed([*cells, again], "Board"))["items"]
    assert {item["id"] for item in items} - ids == {items[0]["id"]}


def test_failed_cells_are_no_news(cells: list[LoadedRecord], tmp_path: Path) -> None:
    failed = LoadedRecord(cells[0].record.model_copy(update={"status": "failed"}), cells[0].path, tmp_path)
    assert len(json.loads(to_json_feed([failed, cells[1]], "Board"))["items"]) == 1


def test_an_empty_board_has_an_empty_feed() -> None:
    assert json.loads(to_json_feed([], "Board"))["items"] == []
    assert ElementTree.fromstring(to_atom([], "Board")).findall(f"{ATOM}entry") == []


def test_only_the_newest_are_in_it(tmp_path: Path) -> None:
    one = loaded(tmp_path, "fp32", "2026-03-01T10:00:00+00:00")
    assert len(json.loads(to_json_feed([one] * (NEWEST + 7), "Board"))["items"]) == NEWEST


def test_whatever_a_record_says_the_feed_is_xml(tmp_path: Path) -> None:
    cell = loaded(tmp_path, "fp32", "2026-03-01T10:00:00+00:00")
    method = cell.record.method.model_copy(update={"spec": '<script>&"\x00\x1b[31m\ufffe'})
    hostile = LoadedRecord(cell.record.model_copy(update={"method": method}), cell.path, tmp_path)
    feed = ElementTree.fromstring(to_atom([hostile], "A <b>\x07"))
    title = feed.findtext(f"{ATOM}entry/{ATOM}title")
    assert title == '<script>&"\ufffd\ufffd[31m\ufffd on tiny-tango'
