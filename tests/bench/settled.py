"""What a run came to, for tests that compare two of them."""

from __future__ import annotations

import json
from typing import Any

from admbench.bench.run.grid import GridSpec
from admbench.hashing import sha256_file
from admbench.leaderboard.reading import read_record


def settled(grid: GridSpec) -> dict[str, Any]:
    """Everything that a run came to, but for what a step was timed with: its records, its clips, its checkpoints.

    Where a step is timed MKL has its fastest mode, so the error of that step differs in its last digits on AMD.
    """
    found: dict[str, Any] = {}
    for cell in sorted(grid.out.glob("cells/*/*")):
        record = json.loads(read_record(cell / "result.json").model_dump_json())
        for section in ("memory", "provenance"):
            del record[section]
        record["method"].pop("seconds", None)
        if record["latency"] is not None:  # of a cell that failed there is none
            record["latency"] = {key: record["latency"].get(key) for key in ("kernel", "layers", "reason")}
        (record["calibration"] or {}).pop("seconds", None)
        products = {
            path.relative_to(cell).as_posix(): sha256_file(path)
            for path in sorted(cell.rglob("*"))
            if path.suffix in (".wav", ".safetensors") and path.is_file()
        }
        found[f"{cell.parent.name}/{cell.name}"] = [record, products]
    return found
