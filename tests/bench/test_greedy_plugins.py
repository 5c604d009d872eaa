"""Plug-ins that print megabytes or want more memory than a real run may have: it costs their cells alone."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from admbench.bench.cli.app import main
from admbench.bench.run.cell_logs import MOST_BYTES, MOST_OF_A_LINE
from admbench.bench.run.grid import GridSpec
from admbench.bench.run.layout import RunLayout
from admbench.files import read_json
from admbench.leaderboard.validating import validate

LIMIT = 24 << 30
"""Of address space, in bytes: enough for what torch maps, and less than `allocates` wants."""


@pytest.mark.slow
@pytest.mark.attack("job that prints or wants more than there is room for")
def test_in_a_run_with_a_limit_of_address_space_each_cell_has_its_own_end(
    make_grid: Callable[..., GridSpec], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, suite = tmp_path / "limited", str(make_grid().suite)
    own = ["--models", "fake-adm", "--methods", "allocates,chatters,fp32", "--steps", "2", "--suite", suite]
    judges = ["--metrics", "fd", "--tagger", "band-tagger", "--clap", "band-clap", "--workers", "1", "--quiet"]
    ended = subprocess.run(
        [sys.executable, "-P", "-m", "admbench", "run", *own, *judges, "--out", str(run)],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (LIMIT, LIMIT)),
    )
    by_method = {record["method"]["spec"]: record for record in map(read_json, RunLayout(run).records())}
    statuses = {method: record["status"] for method, record in by_method.items()}
    assert statuses == {"allocates": "failed", "chatters": "done", "fp32": "done"}
    reason = by_method["allocates"]["reason"]
    assert reason.startswith("out of memory: ")
    assert "\n" not in reason
    assert (ended.returncode, ended.stderr) == (1, f"failed: fake-adm allocates: {reason}\n")
    assert by_method["chatters"]["scores"] == by_method["fp32"]["scores"]
    assert all(not checked.problems for checked in validate([run]))
    capsys.readouterr()
    assert main(["logs", str(run), "fake-adm/chatters"]) == 0
    said = capsys.readouterr().out
    assert len(said) <= MOST_BYTES
    assert max(map(len, said.splitlines()), default=0) <= MOST_OF_A_LINE
