"""Everything that a site shows, in one file of each kind: table.csv, .json, .parquet.

Of ten thousand cells the rows as objects are most of what a build holds, so they are kept column by column.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

from admbench.leaderboard.frame import flat_row
from admbench.leaderboard.parquet import columns_to_parquet
from admbench.leaderboard.site import summary
from admbench.leaderboard.site.output import Output
from admbench.leaderboard.view import BoardView, ViewRow


def write_data(views: Sequence[BoardView], output: Output) -> None:
    """Write the tables."""
    columns: dict[str, list[Any]] = {}
    texts = []
    for place, row in enumerate(_data_row(view, own) for view in views for model in view.models for own in model.rows):
        texts.append(_indented(row))
        for key, value in row.items():
            column = columns.setdefault(key, [])
            column += [None] * (place - len(column))
            column.append(value)
    count = len(texts)
    output.write_bytes("table.json", b"[\n " + b",\n ".join(texts) + b"\n]\n" if texts else b"[]\n")
    del texts
    for column in columns.values():
        column += [None] * (count - len(column))
    output.write_bytes("table.csv", b"".join(_csv(columns)))
    output.write_bytes("table.parquet", columns_to_parquet(columns, count))


def _indented(row: dict[str, Any]) -> bytes:
    """Return a row as it stands in a list of JSON."""
    return json.dumps(row, indent=1, allow_nan=False).replace("\n", "\n ").encode("ascii")


def _csv(columns: dict[str, list[Any]]) -> Iterator[bytes]:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    for values in _lines(columns):
        writer.writerow(values)
        yield text.getvalue().encode()
        text.seek(0)
        text.truncate()


def _lines(columns: dict[str, list[Any]]) -> Iterator[list[Any]]:
    yield [*columns]
    for values in zip(*columns.values(), strict=True):
        yield [_csv_value(value) for value in values]


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
