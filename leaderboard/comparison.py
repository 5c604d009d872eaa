"""Every method on every model as one table a model, from records: in the order of the board, with what can be told.

Scores stand beside each other only where they may be compared: one comparison per suite, number of captions and metric
networks, as on the board. Order, letters, ranks and verdicts are those of the board's view. A number that is missing is
None with its reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from admbench.errors import UsageError, nearest
from admbench.leaderboard.inference.across import Across
from admbench.leaderboard.inference.equivalence import Verdict
from admbench.leaderboard.json_values import across_json, verdict_json
from admbench.leaderboard.reading import LoadedRecord
from admbench.leaderboard.record import Record
from admbench.leaderboard.states import State
from admbench.leaderboard.view import BoardView, ModelView, Standing, ViewRow, bits_per_weight, view_boards
from admbench.leaderboard.view_words import headline, judges_sentences, model_sentences

METRICS = ("fd_vs_baseline", "zimtohrli_vs_baseline", "kl_vs_baseline", "fd", "clap")
"""Scores that are shown if none are named, as far as a record has them."""


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

    method: str
    """Spec, as typed."""
    version: str | None
    """Of the method: another one gives other numbers; None of a record that does not say it."""
    preset: str | None
    standing: Standing | None
    """Its place in the order of the model; None with a reason."""
    not_ordered: str | None
    """Why it has no place in the order."""
    state: State | None
    """How far it was checked; None of a cell that is not done."""
    draws: str
    """Calibration draws, with their share of the variance of the score of the order where there were several."""
    scores: dict[str, Value]
    """By score key."""
    verdicts: dict[str, Verdict]
    """Of the scores that are shown, and have a margin: is the cell no worse than full precision?"""
    weight_bits: int | None
    """Nominal, as the method's spec says."""
    activation_bits: int | None
    bits_per_weight: Value
    """Of all weights of the checkpoint on average."""
    megabytes: Value
    """Of the packed checkpoint, 10^6 bytes."""
    seconds: Value
    """Spent in quantization, calibration included."""


@dataclass(frozen=True)
class ModelTable:
    """The methods of one model."""

    model: str
    sentences: list[str]
    """What comes first."""
    lines: list[Line]
    """In the order of the board."""


@dataclass(frozen=True)
class Comparison:
    """What may stand beside each other."""

    suite: str
    suite_sha256: str | None
    n: int | None
    """Captions."""
    networks: dict[str, tuple[str, str]]
    """Score key -> name and SHA-256 of the network behind it."""
    processors: list[str]
    """That the seconds were spent on."""
    metrics: list[str]
    """Score keys, in the order of the columns; the score of the order is the first."""
    sorted_by: str
    """The score of the order."""
    sentences: list[str]
    """What can be told, in words."""
    cautions: list[str]
    """What is to be said beside every conclusion."""
    models: list[ModelTable]
    judges: list[str]
    """Whether further judges order the cells alike, in words."""
    across: tuple[Across, ...]
    """Every method against rounding at the same bits, on all models."""


def compare(
    records: Iterable[LoadedRecord], metrics: Sequence[str] | None = None, by: str | None = None
) -> list[Comparison]:
    """Put records into tables; of a cell that was run several times the latest counts.

    Args:
        records: of some runs.
        metrics: score keys, such as `fd_vs_baseline`; None is `METRICS`.
        by: score key of the order; None is nearness to full precision.

    Raises:
        UsageError: a key that no record has; names the nearest.
    """
    return compare_views(view_boards(records, by), metrics)


def compare_views(views: Sequence[BoardView], metrics: Sequence[str] | None = None) -> list[Comparison]:
    """Put views of boards into tables; see `compare`."""
    known = list(dict.fromkeys(key for view in views for key in view.board.metrics))
    for key in metrics or ():
        if key not in known:
            raise UsageError(f'no record has the score "{key}".{nearest(key, known)} Scores: {", ".join(known)}')
    return [_comparison(view, metrics or METRICS) for view in views]


def _comparison(view: BoardView, metrics: Sequence[str]) -> Comparison:
    board = view.board
    keys = [key for key in dict.fromkeys((view.score, *metrics)) if key in board.metrics]
    return Comparison(
        suite=board.suite,
        suite_sha256=board.suite_sha256,
        n=board.n,
        networks={key: network for key, network in board.networks.items() if key in keys},
        processors=sorted({row.record.environment.cpu for row in board.rows if row.record.environment}),
        metrics=keys,
        sorted_by=view.score,
        sentences=headline(view),
        cautions=view.cautions,
        models=[_table(view, model, keys) for model in view.models],
        judges=judges_sentences(view),
        across=view.across,
    )


def _table(view: BoardView, model: ModelView, keys: Sequence[str]) -> ModelTable:
    return ModelTable(model.name, model_sentences(view, model), [_line(own, view.score, keys) for own in model.rows])


def _line(own: ViewRow, score: str, keys: Sequence[str]) -> Line:
    record = own.record
    failed = None if record.status == "done" else f"{record.status}: {record.reason}"
    bits = record.method.bits
    return Line(
        method=own.spec,
        version=record.method.version,
        preset=record.method.preset,
        standing=own.standings.get(score),
        not_ordered=own.missing.get(score),
        state=own.state,
        draws=own.draws,
        scores={key: _score(own, key, failed) for key in keys},
        verdicts={key: own.verdicts[key] for key in keys if key in own.verdicts},
        weight_bits=bits.weight if bits else None,
        activation_bits=bits.activation if bits else None,
        bits_per_weight=_bits(record, failed),
        megabytes=_megabytes(record, failed),
        seconds=_seconds(record, failed),
    )


def _score(own: ViewRow, key: str, failed: str | None) -> Value:
    """Return a score: the engine's where it has one, else what the record says."""
    standing, score = own.standings.get(key) or own.drawn.get(key), own.record.scores.get(key)
    if standing is not None:
        return Value(standing.value, standing.low, standing.high)
    if score is None:
        return Value(None, reason=failed or "not asked for in this run")
    if score.value is None:
        return Value(None, reason=failed or score.reason)
    low, high = score.ci95 or (None, None)
    return Value(score.value, low, high, None if score.ci95 else score.reason)


def _bits(record: Record, failed: str | None) -> Value:
    bits = bits_per_weight(record)
    return Value(bits, reason=None if bits is not None else failed or "the record does not say it")


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
            "sentences": one.sentences,
            "cautions": one.cautions,
            "models": [
                {"model": table.model, "sentences": table.sentences, "rows": [_line_json(line) for line in table.lines]}
                for table in one.models
            ],
            "judges": one.judges,
            "across": [across_json(across) for across in one.across],
        }
        for one in comparisons
    ]


def _line_json(line: Line) -> dict[str, Any]:
    place = line.standing
    return {
        "method": line.method,
        "method_version": line.version,
        "preset": line.preset,
        "rank": None if place is None else [place.first, place.last],
        "letters": None if place is None else place.letters,
        "draws": None if place is None else place.draws,
        "share_draws": None if place is None else place.share_draws,
        "not_ordered": line.not_ordered,
        "state": line.state,
        "scores": {key: _value_json(value) for key, value in line.scores.items()},
        "verdicts": {key: verdict_json(verdict) for key, verdict in line.verdicts.items()},
        "weight_bits": line.weight_bits,
        "activation_bits": line.activation_bits,
        "bits_per_weight": _value_json(line.bits_per_weight),
        "megabytes": _value_json(line.megabytes),
        "seconds": _value_json(line.seconds),
    }


def _value_json(value: Value) -> dict[str, Any]:
    interval = None if value.low is None else [value.low, value.high]
    return {"value": value.value, "ci95": interval, "reason": value.reason}
