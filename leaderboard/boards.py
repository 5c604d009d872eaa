"""Which records may stand in one table, and which of them are current.

A Frechet distance falls with the number of clips and depends on the network behind it, so records share a board only if
suite, number of captions, metric networks and versions of metrics agree. What makes two records the same cell is in
`admbench.leaderboard.identity`; cells that differ in anything, or that two people ran, or two machines, stand side by
side under names that say what tells them apart. Within a board, cells are compared per model and sampling settings: the
groups. Their order is no matter of records: `admbench.leaderboard.view` reads it from the engine of inference.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from admbench.judged import without_judge
from admbench.leaderboard.identity import ABSENT, NOT_A_SETTING, Identity, identity, machine, submitter, suite_name
from admbench.leaderboard.reading import LoadedRecord
from admbench.leaderboard.record import FULL_PRECISION, Record

_METRIC_ORDER = ("fd", "zimtohrli", "kl", "is", "clap")
BACKBONE = "backbone"
"""The component that every method quantizes unless others are asked for."""


@dataclass(frozen=True, slots=True)
class Row:
    """A record on a board; of a method that was run with several calibration draws each has its row."""

    loaded: LoadedRecord
    group: str  # the model's name, with the sampling settings where the board has several of one model

    @property
    def record(self) -> Record:
        """The record itself."""
        return self.loaded.record

    @property
    def name(self) -> str:
        """What the row is called: by it those of a group are told apart."""
        repeat = self.record.method.repeat
        return f"{self.loaded.name}, repeat {repeat}" if repeat else self.loaded.name


@dataclass(frozen=True)
class Board:
    """Rows whose scores may be compared, ordered by group and method, full precision first."""

    suite: str
    suite_sha256: str | None
    split: str | None
    n: int | None
    networks: dict[str, tuple[str, str]]  # score key -> (name, sha256) of the network behind it
    rows: list[Row]
    replaced: list[LoadedRecord]  # older runs of cells that are here

    @property
    def metrics(self) -> list[str]:
        """Score keys of all rows: FD, KL, IS, CLAP, then others by name; those against the baseline last."""
        return sorted({key for row in self.rows for key in row.record.scores}, key=_metric_order)

    @property
    def groups(self) -> list[str]:
        """Group labels in the order of the rows."""
        return list(self.by_group)

    @cached_property
    def by_group(self) -> dict[str, list[Row]]:
        """The rows of each group."""
        found: dict[str, list[Row]] = {}
        for row in self.rows:
            found.setdefault(row.group, []).append(row)
        return found


@dataclass
class _Pile:
    """Records that agree on suite, number of captions and networks; what one does not know disagrees with nothing."""

    suite: str
    suite_sha256: str | None = None
    split: str | None = None
    n: int | None = None
    networks: dict[str, tuple[str, str]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    members: list[LoadedRecord] = field(default_factory=list)

    def accepts(self, record: Record) -> bool:
        suite = record.suite
        return (
            suite_name(record) == self.suite
            and _agree(suite.sha256, self.suite_sha256)
            and _agree(suite.n, self.n)
            and all(self.networks.get(key, network) == network for key, network in _networks(record).items())
            and all(self.versions.get(key, version) == version for key, version in _versions(record).items())
        )

    def add(self, loaded: LoadedRecord) -> None:
        suite = loaded.record.suite
        self.suite_sha256 = self.suite_sha256 or suite.sha256
        self.split = self.split or suite.split
        self.n = self.n or suite.n
        self.networks.update(_networks(loaded.record))
        self.versions.update(_versions(loaded.record))
        self.members.append(loaded)


def make_boards(records: Iterable[LoadedRecord]) -> list[Board]:
    """Sort records into boards, and keep the latest of each cell. Larger suites come first."""
    piles: list[_Pile] = []
    for loaded in sorted(records, key=lambda loaded: (loaded.record.status != "done", str(loaded.path))):
        pile = next((pile for pile in piles if pile.accepts(loaded.record)), None)
        if pile is None:
            pile = _Pile(suite_name(loaded.record))
            piles.append(pile)
        pile.add(loaded)
    boards = [_board(pile) for pile in piles]
    return sorted(boards, key=lambda board: (-(board.n or 0), board.suite, board.suite_sha256 or ""))


def _board(pile: _Pile) -> Board:
    current, replaced = _latest(pile.members)
    labels = _group_labels(current)
    rows: list[Row] = []
    of_label: dict[str, list[LoadedRecord]] = {}
    for loaded, label in zip(current, labels, strict=True):
        of_label.setdefault(label, []).append(loaded)
    for label, members in of_label.items():
        rows += [Row(loaded, label) for loaded in _named(members)]
    rows.sort(key=_row_order)
    networks = dict(sorted(pile.networks.items()))
    return Board(pile.suite, pile.suite_sha256, pile.split, pile.n, networks, rows, replaced)


def _latest(members: Sequence[LoadedRecord]) -> tuple[list[LoadedRecord], list[LoadedRecord]]:
    """Split into the latest record of each cell by each submitter on each machine and the older ones, by start."""
    current: dict[tuple[str, str], list[tuple[Identity, LoadedRecord]]] = {}
    replaced: list[LoadedRecord] = []
    for loaded in sorted(members, key=_latest_last, reverse=True):
        own = identity(loaded.record)
        newer = current.setdefault((own.model, own.method), [])
        if any(own.agrees(other) and _same_place(loaded.record, one.record) for other, one in newer):
            replaced.append(loaded)
        else:
            newer.append((own, loaded))
    kept = [loaded for cells in current.values() for _, loaded in cells]
    return sorted(kept, key=lambda loaded: str(loaded.path)), replaced


def _latest_last(loaded: LoadedRecord) -> tuple[datetime, str]:
    return _started(loaded.record), str(loaded.path)


def _same_place(first: Record, second: Record) -> bool:
    """Whether two records are of one machine, as far as that is known, and of one submitter, whom both name or none."""
    return _agree(machine(first), machine(second)) and submitter(first) == submitter(second)


def _named(members: Sequence[LoadedRecord]) -> list[LoadedRecord]:
    """Name each cell of a group, all draws of it alike: the spec, and what tells it from the others of that spec.

    The plain spec is the latest cell that quantizes the backbone and nothing else.
    """
    names: dict[int, str] = {}
    of_spec: dict[str, list[LoadedRecord]] = {}
    for loaded in sorted(members, key=_latest_last, reverse=True):
        of_spec.setdefault(loaded.record.method.spec, []).append(loaded)
    for spec, cells in of_spec.items():
        cells.sort(key=lambda cell: not _usual(cell.record))  # stable: of these the latest is the first
        taken: Counter[tuple[str, int]] = Counter()
        for cell in cells:
            aside = _aside(cell.record, cells[0].record)
            name = f"{spec} ({', '.join(aside)})" if aside else spec
            of_draw = name, cell.record.method.repeat
            taken[of_draw] += 1
            names[id(cell)] = name if taken[of_draw] == 1 else f"{name} #{taken[of_draw]}"
    return [replace(loaded, called=names[id(loaded)]) for loaded in members]


def _usual(record: Record) -> bool:
    return record.method.components in (None, [BACKBONE])


def _aside(record: Record, plain: Record) -> list[str]:
    """Say what tells a cell from the plain one of its spec, in few words."""
    own = identity(record)
    said = [] if _usual(record) else ["+".join(record.method.components or ())]
    for part in own.parts_apart(identity(plain)):
        kind, _, option = part.partition(".")
        if kind == "version":
            said.append(f"version {own.version}")
        elif kind == "arithmetic":
            said.append(str(own.arithmetic))
        elif kind == "config":
            said.append(f"{option}={dict(own.config or ()).get(option, ABSENT)[:20]}")
    if not _agree(machine(record), machine(plain)):
        said.append(f"on {machine(record)}")
    if submitter(record) != submitter(plain):
        said.append(f"by {submitter(record) or 'nobody named'}")
    return said


def _group_labels(records: Sequence[LoadedRecord]) -> list[str]:
    """The model's name per record; where one model has several weights or settings, what tells them apart is added."""
    variants: dict[str, list[dict[str, Any]]] = {}
    for loaded in records:
        known = variants.setdefault(loaded.record.model.name, [])
        if (own := _variant(loaded.record)) and own not in known[:1]:
            known.append(own)
    apart = {
        name: [key for key in known[0] if any(other[key] != known[0][key] for other in known)] if known else []
        for name, known in variants.items()
    }
    labels = []
    for loaded in records:
        name = loaded.record.model.name
        own = _variant(loaded.record) or next(iter(variants[name]), {})
        labels.append(", ".join([name, *(f"{key} {str(own[key])[:8]}" for key in apart[name])]))
    return labels


def _row_order(row: Row) -> tuple[str, bool, bool, str]:
    """By group; full precision first, and what is not done last."""
    method = row.record.method
    return row.group, row.record.status != "done", method.name != FULL_PRECISION, method.spec


def _metric_order(key: str) -> tuple[bool, int, str]:
    """Sort scores of further judges right behind the first's."""
    first = without_judge(key)
    base = first.removesuffix("_vs_baseline")
    return base != first, _METRIC_ORDER.index(base) if base in _METRIC_ORDER else len(_METRIC_ORDER), key


def _networks(record: Record) -> dict[str, tuple[str, str]]:
    return {
        key: (score.backbone, score.backbone_sha256)
        for key, score in record.scores.items()
        if score.backbone is not None and score.backbone_sha256 is not None
    }


def _versions(record: Record) -> dict[str, str]:
    return {key: score.version for key, score in record.scores.items() if score.version is not None}


def _settings(record: Record) -> dict[str, Any] | None:
    return record.generation.model_dump(exclude=NOT_A_SETTING) if record.generation else None


def _variant(record: Record) -> dict[str, Any]:
    """What makes two records of one model no cells of one order; empty where it is not known."""
    settings = _settings(record)
    return {"weights": record.model.weights_sha256, **settings} if settings else {}


def _started(record: Record) -> datetime:
    if record.provenance is None:
        return datetime.min.replace(tzinfo=UTC)
    return datetime.fromisoformat(record.provenance.started)


def _agree(first: object, second: object) -> bool:
    return first is None or second is None or first == second
