"""How far a cell was checked, and how it loses what was noted of it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from admbench.errors import DataError
from admbench.leaderboard import gather, validation_state
from admbench.leaderboard.per_caption import PER_CAPTION
from admbench.leaderboard.reading import LoadedRecord
from admbench.leaderboard.site import build_site
from admbench.leaderboard.states import forget, note, read_validation

from .agreeing_run import METHOD, written_run


@pytest.fixture
def cell(tmp_path: Path) -> LoadedRecord:
    """A quantized cell that agrees with itself."""
    run = written_run(tmp_path / "run")
    return next(one for one in gather([run]).records if one.name == METHOD)


def test_a_cell_whose_captions_give_its_numbers_is_checked(cell: LoadedRecord) -> None:
    assert validation_state(cell) == "checked"
    (cell.cell / PER_CAPTION).unlink()
    assert validation_state(cell) == "self-reported"


def test_a_difference_that_full_precisions_cell_does_not_give_is_not_checked(cell: LoadedRecord) -> None:
    value = json.loads(cell.path.read_text())
    interval = value["scores"]["fd"]["difference"]["ci95"]
    interval[1] += 1
    cell.path.write_text(json.dumps(value))
    (forged,) = (one for one in gather([cell.run]).records if one.name == METHOD)
    assert validation_state(forged) == "self-reported"


@pytest.mark.parametrize("changed", ["result.json", PER_CAPTION, "captions.json", "audio/foley-000.wav"])
def test_what_was_noted_is_lost_with_any_change(cell: LoadedRecord, changed: str) -> None:
    note(cell, {"fd": 1.0}, {"latent_sqnr_vs_baseline": "it compares latents, not clips"})
    assert validation_state(cell) == "re-scored"
    assert read_validation(cell.run)[f"tiny-tango/{cell.cell.name}"].scores == {"fd": 1.0}
    path = cell.cell / changed
    path.write_bytes(path.read_bytes().replace(b"test tone", b"tested tone") + b" ")
    assert validation_state(cell) != "re-scored"


def test_a_note_can_be_taken_back(cell: LoadedRecord) -> None:
    note(cell, {}, {})
    forget(cell)
    assert validation_state(cell) == "checked"
    assert read_validation(cell.run) == {}


def test_a_note_that_is_not_valid_counts_not(cell: LoadedRecord) -> None:
    (cell.run / "validation.json").write_text('{"schema_version": 1, "cells": {"a": 1}}')
    with pytest.raises(DataError, match=r"validation\.json: cells\.a"):
        read_validation(cell.run)
    assert validation_state(cell) == "checked"
    note(cell, {}, {})
    assert validation_state(cell) == "re-scored"


def test_the_page_says_how_far_each_cell_was_checked(cell: LoadedRecord, tmp_path: Path) -> None:
    note(cell, {}, {})
    site = build_site(gather([cell.run]).records, tmp_path / "site")
    pages = {path.name.split("-")[2]: path.read_text() for path in (site.root / "cells").iterdir()}
    states = {name: re.findall(r"from run; ([a-z-]+)</p>", text) for name, text in pages.items()}
    assert sorted(states.values()) == [["checked"], ["re-scored"]]
    assert "1 of 2 re-scored" in site.index.read_text()
    assert re.findall(r'data-label="Checked">([a-z-]+)<', site.index.read_text()) == ["checked", "re-scored"]
