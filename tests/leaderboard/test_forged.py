"""Forged records: each kind is caught by `validate`, boards leave out those that they can know of, and none crashes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from admbench.leaderboard import build_site, gather, validate
from admbench.leaderboard.forge import FORGERIES, forge

from .agreeing_run import METHOD, N, written_run


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two cells that agrees with itself."""
    return written_run(tmp_path_factory.mktemp("good") / "run")


def test_the_run_that_is_forged_is_good(good: Path) -> None:
    assert [line for one in validate([good]) for line in one.problems] == []
    assert gather([good]).quarantined == ()
    assert (gather([good]).records[-1].record.method.spec, gather([good]).records[-1].record.suite.n) == (METHOD, N)


@pytest.mark.attack("record, forged")
@pytest.mark.parametrize("kind", FORGERIES)
def test_a_forged_record_is_caught_with_a_line_that_says_what_is_wrong(good: Path, tmp_path: Path, kind: str) -> None:
    path = forge(good, tmp_path / "run", kind)
    forgery = FORGERIES[kind]
    found = {one.path: one.problems for one in validate([tmp_path / "run"])}
    assert any(forgery.caught in line for line in found[path]), found[path]
    assert all(line.startswith(f"{path}: ") and "\n" not in line for line in found[path])
    assert not any(lines for other, lines in found.items() if other != path)
    gathered = gather([tmp_path / "run"])
    assert [one.path for one in gathered.quarantined] == ([path] if forgery.quarantined else [])
    assert len(gathered.records) + len(gathered.quarantined) == 2


def test_all_forgeries_at_once_stop_no_board(good: Path, tmp_path: Path) -> None:
    for kind in FORGERIES:
        forge(good, tmp_path / kind, kind)
    gathered = gather([good, *(tmp_path / kind for kind in FORGERIES)])
    assert len(gathered.quarantined) == sum(one.quarantined for one in FORGERIES.values())
    site = build_site(gathered.records, tmp_path / "site", quarantined=gathered.quarantined)
    page = (site.root / "quarantine.html").read_text()
    assert page.count("is no measurement") >= 1
    assert page.count("<li><code>tiny-tango/") == len(gathered.quarantined)


def test_commands_name_what_is_left_out_and_go_on(
    good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from admbench.bench.cli.app import main

    path = forge(good, tmp_path / "run", "bytes-endless")
    assert main(["table", str(tmp_path / "run"), str(good)]) == 0
    assert f"warning: left out: {path}: not valid JSON" in capsys.readouterr().err
    assert main(["leaderboard", str(tmp_path / "run"), "--out", str(tmp_path / "site")]) == 0
    assert "tiny-tango/naive-w4a8-" in (tmp_path / "site" / "quarantine.html").read_text()
    assert "<h1>Left out</h1>" in (tmp_path / "site" / "quarantine.html").read_text()
    main(["choose", str(tmp_path / "run"), str(good)])
    assert f"warning: left out: {path}: not valid JSON" in capsys.readouterr().err
    assert main(["validate", str(tmp_path / "run")]) == 2
    assert main(["table", str(path)]) == 2


def test_a_newline_in_a_spec_forges_no_line_of_validate(
    make_run: Callable[..., Path], make_record: Callable[..., dict[str, Any]]
) -> None:
    run = make_run([make_record()])
    path = next(run.glob("cells/*/*/result.json"))
    value = json.loads(path.read_text())
    value["method"]["spec"] = "other@w4a8\n/elsewhere/result.json: fine"
    path.write_text(json.dumps(value))
    (checked,) = validate([run])
    assert checked.problems
    assert all("\n" not in line for line in checked.problems)


@pytest.mark.slow
def test_several_processes_read_what_one_does(good: Path, tmp_path: Path) -> None:
    bad = shutil.copytree(good, tmp_path / "bad")
    next(bad.glob("cells/*/*/result.json")).write_text("{}")
    one, two = (gather([good, bad], processes=count) for count in (1, 2))
    assert one == two
    assert len(one.quarantined) == 1
