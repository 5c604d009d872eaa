"""What a run was asked to do, read back from its folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from admbench.bench.run.grid import GateSpec
from admbench.bench.run.layout import RunLayout
from admbench.errors import DataError, UsageError
from admbench.leaderboard.untrusted import read_json


def gate_of(runs: Sequence[Path]) -> GateSpec | None:
    """Return the `[gate]` table of some runs; None if none has one.

    Args:
        runs: run folders; single records among them belong to no grid.

    Raises:
        DataError: a grid in a run folder is damaged.
        UsageError: two runs have other tables.
    """
    found: dict[Path, GateSpec] = {}
    for run in runs:
        path = RunLayout(run).grid
        if not path.is_file():
            continue
        grid = read_json(run, path)
        try:
            table = grid.get("gate") if isinstance(grid, dict) else None
            if table is not None:
                found[run] = GateSpec.model_validate(table)
        except ValidationError as error:
            raise DataError(f"{path}: gate: {error.errors(include_url=False)[0]['msg']}") from None
    first = next(iter(found), None)
    for run, table in found.items():
        if first is not None and table != found[first]:
            raise UsageError(f"{first} and {run} ask for other margins in [gate]; name them by --max")
    return None if first is None else found[first]
