"""Which cell should be used? Per model the smallest, fastest or least hungry one that is shown to be no worse.

Shown is shown: a cell of which it cannot be told is not chosen, and is listed with the captions that would tell. The
winner is the extreme of those that pass, so its own loss is a little more often understated than that of a cell that
was named before: docs/conclusions.md, "Limits".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median_low
from typing import Any, Literal

from admbench.errors import UsageError
from admbench.leaderboard.boards import make_boards
from admbench.leaderboard.gate import DEFAULT, gate
from admbench.leaderboard.inference.equivalence import Verdict, Word
from admbench.leaderboard.json_values import verdict_json
from admbench.leaderboard.reading import LoadedRecord
from admbench.leaderboard.record import FULL_PRECISION, Record

By = Literal["bytes", "latency", "memory"]


@dataclass(frozen=True)
class Cost:
    """What a cell costs, or why it is not known."""

    value: float | None
    """Bytes, or milliseconds of a denoising step."""
    reason: str | None = None


@dataclass(frozen=True)
class Candidate:
    """One cell with its cost and its verdicts."""

    method: str
    """Spec, as typed."""
    cost: Cost
    word: Word
    verdicts: dict[str, Verdict]
    """By score key; empty for a cell without results."""
    failed: str | None

    @property
    def captions_needed(self) -> int | None:
        """How many captions would tell of the scores of which they would; None where that is not projected."""
        return max((one.captions_needed for one in self.verdicts.values() if one.captions_needed), default=None)


@dataclass(frozen=True)
class Choice:
    """What is chosen for one model."""

    model: str
    by: By
    cost_of: str
    """What the cost is, such as `bytes of the whole pipeline`."""
    full: Cost
    """Full precision's."""
    chosen: Candidate | None
    """The cheapest cell that is shown to be no worse, full precision left out; None if there is none."""
    next: Candidate | None
    """The next cheapest of those."""
    undecided: tuple[Candidate, ...]
    """Of which it cannot be told, and that would be chosen if it could; the cheapest first."""
    worse: tuple[Candidate, ...]
    unpriced: tuple[Candidate, ...]
    """Shown to be no worse, at a cost that is not known."""
    caution: str | None

    def saved(self, candidate: Candidate) -> float | None:
        """Return how much less than full precision a cell costs, as a fraction; None if that is not known."""
        if not candidate.cost.value or not self.full.value:
            return None
        return 1 - candidate.cost.value / self.full.value


def choose(
    records: Iterable[LoadedRecord],
    within: Sequence[str] = DEFAULT,
    by: By = "bytes",
) -> list[Choice]:
    """Choose a cell of each model of some records.

    Args:
        records: of some runs; of a cell that was run several times the latest counts.
        within: margins as typed, such as `fd=+5%`; a cell has to keep all of them.
        by: `bytes` of the packed checkpoint, or of the whole pipeline where all cells know them; `latency`, the median
            of a denoising step; `memory`, the peak of the cell's process.

    Raises:
        UsageError: as of `gate`; or costs that were measured on several machines.
        DataError: as of `gate`.
    """
    choices = []
    for board in make_boards(records):
        loaded = [row.loaded for row in board.rows]
        found = gate(loaded, within)
        for group in board.groups:
            own: dict[str, list[Record]] = {}
            for row in (row for row in board.rows if row.group == group):
                own.setdefault(row.loaded.name, []).append(row.record)
            cost_of, costs = _costs(group, own, by)
            candidates = [
                Candidate(cell.method, costs[cell.method], cell.word, cell.verdicts, cell.failed)
                for cell in found.cells
                if cell.model == group and cell.method != FULL_PRECISION
            ]
            full = costs.get(FULL_PRECISION, Cost(None, "no record of full precision"))
            choices.append(_choice(group, by, cost_of, full, candidates, next(iter(found.cautions), None)))
    return choices


def to_json(choices: Iterable[Choice]) -> list[dict[str, Any]]:
    """Return choices as JSON values; what is missing is null with its reason."""
    return [
        {
            "model": one.model,
            "by": one.by,
            "cost_of": one.cost_of,
            "full": asdict(one.full),
            "chosen": one.chosen and _candidate_json(one, one.chosen),
            "next": one.next and _candidate_json(one, one.next),
            "undecided": [_candidate_json(one, own) for own in one.undecided],
            "worse": [_candidate_json(one, own) for own in one.worse],
            "unpriced": [_candidate_json(one, own) for own in one.unpriced],
            "caution": one.caution,
        }
        for one in choices
    ]


def _candidate_json(choice: Choice, one: Candidate) -> dict[str, Any]:
    return {
        "method": one.method,
        "cost": asdict(one.cost),
        "saved": choice.saved(one),
        "word": one.word,
        "scores": {key: verdict_json(verdict) for key, verdict in one.verdicts.items()},
        "failed": one.failed,
        "captions_needed": one.captions_needed,
    }


def _choice(
    model: str, by: By, cost_of: str, full: Cost, candidates: Sequence[Candidate], caution: str | None
) -> Choice:
    def cheapest(among: Iterable[Candidate]) -> list[Candidate]:
        return sorted(among, key=lambda one: (one.cost.value is None, one.cost.value or 0.0, one.method))

    good = cheapest(one for one in candidates if one.word == "no worse")
    priced = [one for one in good if one.cost.value is not None]
    limit = priced[0].cost.value if priced else None
    return Choice(
        model=model,
        by=by,
        cost_of=cost_of,
        full=full,
        chosen=priced[0] if priced else None,
        next=priced[1] if len(priced) > 1 else None,
        undecided=tuple(
            one
            for one in cheapest(one for one in candidates if one.word == "cannot be told")
            if limit is None or one.cost.value is None or one.cost.value < limit
        ),
        worse=tuple(cheapest(one for one in candidates if one.word == "worse")),
        unpriced=tuple(one for one in good if one.cost.value is None),
        caution=caution,
    )


def _costs(model: str, methods: Mapping[str, Sequence[Record]], by: By) -> tuple[str, dict[str, Cost]]:
    """Return what the cost is, and that of each method by its spec, from the records of its calibration draws."""
    if by == "bytes":
        done = [record for records in methods.values() for record in records if record.status == "done"]
        whole = all(_pipeline_bytes(record) for record in done)
        what = "bytes of the whole pipeline" if whole else "bytes of the packed checkpoint"
        return what, {spec: _typical([_bytes(one, whole=whole) for one in own]) for spec, own in methods.items()}
    what, of = _MEASURED[by]
    measured = {spec: [(of(record), record) for record in own] for spec, own in methods.items()}
    machines = {_machine(record) for own in measured.values() for cost, record in own if cost.value is not None}
    if len(machines) > 1:
        raise UsageError(f"{model}: {by} on several machines is not compared: {'; '.join(sorted(machines))}")
    return what, {spec: _typical([cost for cost, _ in own]) for spec, own in measured.items()}


def _typical(draws: Sequence[Cost]) -> Cost:
    """Return the median of the draws' costs, the lower of two; the reason of the first where none is known."""
    known = [one.value for one in draws if one.value is not None]
    return Cost(median_low(known)) if known else draws[0]


def _pipeline_bytes(record: Record) -> int | None:
    size = record.size
    if size is None:
        return None
    return size.pipeline.bytes if size.pipeline else sum((size.components or {}).values()) or None


def _bytes(record: Record, *, whole: bool) -> Cost:
    value = _pipeline_bytes(record) if whole else record.size and record.size.checkpoint_bytes
    reason = record.size.reason if record.size else record.reason
    return Cost(value) if value else Cost(None, reason or "no checkpoint was written")


def _step(record: Record) -> Cost:
    latency = record.latency
    if latency is None or latency.step_ms is None:
        return Cost(None, (latency and latency.reason) or record.reason or "not measured")
    return Cost(latency.step_ms.median)


def _peak(record: Record) -> Cost:
    memory = record.memory
    if memory is None or memory.peak_bytes is None:
        return Cost(None, (memory and memory.reason) or record.reason or "not measured")
    return Cost(memory.peak_bytes)


_MEASURED: dict[str, tuple[str, Callable[[Record], Cost]]] = {
    "latency": ("milliseconds of a denoising step", _step),
    "memory": ("peak bytes of the process", _peak),
}


def _machine(record: Record) -> str:
    environment = record.environment
    if environment is None:
        return "an unknown machine"
    return f"{environment.gpu or environment.cpu}, {environment.threads} threads"
