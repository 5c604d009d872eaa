"""Every method on every model as one table, from records: grouped by bits, closest to full precision first.

Scores stand beside each other only where they may be compared: one comparison per suite, number of captions and metric
networks, as on the board. A number that is missing is None with its reason.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from admbench.errors import UsageError, nearest
from admbench.leaderboard.boards import Board, Row, make_boards
from admbench.leaderboard.reading import LoadedRecord
from admbench.leaderboard.record import Record, Score

METRICS = ("fd_vs_baseline", "zimtohrli_vs_baseline", "kl_vs_baseline", "fd", "clap")
"""Scores that are shown if none are named, as far as a record has them."""
OWN_AUDIO = "_vs_baseline"
"""End of the keys of scores against the full-precision model's own output."""


@dataclass(frozen=True)
class Value:
    """A number with its 95 % interval, or the reason why there is none."""

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Line:
    """One method on one model."""

    model: str
    method: str
    """Spec, as typed."""
    preset: str | None
    scores: dict[str, Value]
    """By score key."""
    megabytes: Value
    """Of the packed checkpoint, 10^6 bytes."""
    seconds: Value
    """Spent in quantization, calibration included."""


@dataclass(frozen=True)
class Group:
    """The methods of the same bits; those without bits, such as full precision, are a group too."""

    weight_bits: int | None
    activation_bits: int | None
    lines: list[Line]

    @property
    def title(self) -> str:
        """`W4A8`, or what stands for it."""
        return "no bits" if self.weight_bits is None else f"W{self.weight_bits}A{self.activation_bits}"


@dataclass(frozen=True)
class Comparison:
    """What may stand in one table."""

    suite: str
    suite_sha256: str | None
    n: int | None
    """Captions."""
    networks: dict[str, tuple[str, str]]
    """Score key -> name and SHA-256 of the network behind it."""
    processors: list[str]
    """That the seconds were spent on."""
    metrics: list[str]
    """Score keys, in the order of the columns."""
    sorted_by: str | None
    """The score by which lines are sorted within a model."""
    groups: list[Group]


def compare(records: Iterable[LoadedRecord], metrics: Sequence[str] | None = None) -> list[Comparison]:
    """Put records into tables; of a cell that was run several times the latest counts.

    Args:
        records: of some runs.
        metrics: score keys, such as `fd_vs_baseline`; None is `METRICS`.

    Raises:
        UsageError: a key that no record has; names the nearest.
    """
    boards = make_boards(records)
    known = list(dict.fromkeys(key for board in boards for key in board.metrics))
    for key in metrics or ():
        if key not in known:
            raise UsageError(f'no record has the score "{key}".{nearest(key, known)} Scores: {", ".join(known)}')
    return [_comparison(board, [key for key in metrics or METRICS if key in board.metrics]) for board in boards]


def _comparison(board: Board, metrics: list[str]) -> Comparison:
    sorted_by = next((key for key in metrics if key.endswith(OWN_AUDIO)), metrics[0] if metrics else None)
    by_bits: dict[tuple[int | None, int | None], list[Row]] = {}
    for row in board.rows:
        by_bits.setdefault(_bits(row.record), []).append(row)
    groups = []
    for (weight, activation), rows in sorted(by_bits.items(), key=lambda item: _coarseness(item[0])):
        ordered = sorted(rows, key=lambda row: (row.group, *_place(row.record, sorted_by), row.record.method.spec))
        groups.append(Group(weight, activation, [_line(row, metrics) for row in ordered]))
    processors = sorted({row.record.environment.cpu for row in board.rows if row.record.environment})
    networks = {key: network for key, network in board.networks.items() if key in metrics}
    return Comparison(board.suite, board.suite_sha256, board.n, networks, processors, metrics, sorted_by, groups)


def _bits(record: Record) -> tuple[int | None, int | None]:
    bits = record.method.bits
    return (None, None) if bits is None else (bits.weight, bits.activation)


def _coarseness(bits: tuple[int | None, int | None]) -> tuple[int, int]:
    """Sort full precision first, then ever fewer bits."""
    weight, activation = bits
    return (-(weight or 64), -(activation or 64))


def _place(record: Record, key: str | None) -> tuple[bool, float]:
    """Sort the best first and what has no number last."""
    score = record.scores.get(key) if key else None
    if score is None or score.value is None:
        return True, 0.0
    return False, -score.value if score.higher_is_better else score.value


def _line(row: Row, metrics: Sequence[str]) -> Line:
    record = row.record
    failed = None if record.status == "done" else f"{record.status}: {record.reason}"
    return Line(
        model=row.group,
        method=row.name,
        preset=record.method.preset,
        scores={key: _score(record.scores.get(key), failed) for key in metrics},
        megabytes=_megabytes(record, failed),
        seconds=_seconds(record, failed),
    )


def _score(score: Score | None, failed: str | None) -> Value:
    if score is None:
        return Value(None, reason=failed or "not asked for in this run")
    if score.value is None:
        return Value(None, reason=failed or score.reason)
    low, high = score.ci95 or (None, None)
    return Value(score.value, low, high, None if score.ci95 else score.reason)


def _megabytes(record: Record, failed: str | None) -> Value:
    size = record.size
    if size is None or size.checkpoint_bytes is None:
        return Value(None, reason=failed or (size and size.reason) or "no checkpoint was written")
    return Value(size.checkpoint_bytes / 1e6)


def _seconds(record: Record, failed: str | None) -> Value:
    spent = record.method.seconds
    if spent is None:
        return Value(None, reason=failed or "the record does not say how long quantization took")
    return Value(spent + (record.calibration.seconds if record.calibration else 0.0))


def to_json(comparisons: Iterable[Comparison]) -> list[dict[str, Any]]:
    """Return comparisons as JSON values; a missing number is null with its reason."""
    return [
        {
            "suite": one.suite,
            "suite_sha256": one.suite_sha256,
            "n": one.n,
            "networks": {key: {"name": name, "sha256": digest} for key, (name, digest) in one.networks.items()},
            "processors": one.processors,
            "sorted_by": one.sorted_by,
            "groups": [
                {
                    "weight_bits": group.weight_bits,
                    "activation_bits": group.activation_bits,
                    "rows": [_line_json(line) for line in group.lines],
                }
                for group in one.groups
            ],
        }
        for one in comparisons
    ]


def _line_json(line: Line) -> dict[str, Any]:
    return {
        "model": line.model,
        "method": line.method,
        "preset": line.preset,
        "scores": {key: _value_json(value) for key, value in line.scores.items()},
        "megabytes": _value_json(line.megabytes),
        "seconds": _value_json(line.seconds),
    }


def _value_json(value: Value) -> dict[str, Any]:
    interval = None if value.low is None else [value.low, value.high]
    return {"value": value.value, "ci95": interval, "reason": value.reason}
