"""Everything that a site shows, in one file of each kind: table.csv, .json, .parquet."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from admbench.leaderboard.frame import flat_row
from admbench.leaderboard.parquet import to_parquet
from admbench.leaderboard.site import summary
from admbench.leaderboard.site.output import Output
from admbench.leaderboard.view import BoardView, ViewRow


def write_data(views: Sequence[BoardView], output: Output) -> None:
    """Write the tables."""
    rows = [_data_row(view, own) for view in views for model in view.models for own in model.rows]
    output.write("table.json", json.dumps(rows, indent=1, allow_nan=False) + "\n")
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(dict.fromkeys(key for row in rows for key in row)))
    writer.writeheader()
    writer.writerows({key: _csv_value(value) for key, value in row.items()} for row in rows)
    output.write("table.csv", text.getvalue())
    output.write_bytes("table.parquet", to_parquet(rows))


def _data_row(view: BoardView, own: ViewRow) -> dict[str, Any]:
    """A row of the downloads: its place in the order, its verdicts, then the record."""
    place = own.standings.get(view.score)
    row: dict[str, Any] = {
        "board": summary.suite_label(view.board),
        "order_by": view.score,
        "rank_low": place and place.first,
        "rank_high": place and place.last,
        "letters": place and place.letters,
        "not_ordered": own.missing.get(view.score),
        "state": own.state,
    }
    flat = flat_row(own.record)
    row |= flat
    for key, verdict in own.verdicts.items():
        column = f"score.{key}" if f"score.{key}" in flat else key
        row |= {f"{column}_verdict": verdict.word, f"{column}_captions_needed": verdict.captions_needed}
    return row


def _csv_value(value: Any) -> Any:
    """Text that a spreadsheet would run as a formula is quoted."""
    return f"'{value}" if isinstance(value, str) and value[:1] in "=+-@\t\r" else value
