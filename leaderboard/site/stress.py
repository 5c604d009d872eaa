"""The table of a stress ladder: a row per method, what it loses on each hard twin, and whether its claims hold."""

from dataclasses import dataclass

from admbench.leaderboard.site.columns import DASH
from admbench.leaderboard.site.numbers import fixed
from admbench.leaderboard.stress import Stress, StressOutcome
from admbench.taxonomy import DIFFICULTIES


@dataclass(frozen=True)
class StressCell:
    """A method on one twin."""

    text: str
    holds: bool | None  # None: no claim, or none that could be tried


@dataclass(frozen=True)
class StressTableRow:
    """A method."""

    method: str
    untouched: str
    cells: list[StressCell]


@dataclass(frozen=True)
class StressTable:
    """The ladder of one model."""

    model: str
    difficulties: tuple[str, ...]
    rows: list[StressTableRow]
    holding: int
    tried: int
    command: str
    day: str


def stress_table(stress: Stress) -> StressTable:
    """Return the file's rows as texts, decibels with one decimal."""
    rows = [
        StressTableRow(row.method, fixed(row.untouched, 1), [_cell(row.outcomes[name]) for name in DIFFICULTIES])
        for row in stress.rows
    ]
    return StressTable(
        stress.model,
        DIFFICULTIES,
        rows,
        sum(stress.claims),
        len(stress.claims),
        stress.provenance.command,
        stress.provenance.started[:10],
    )


def _cell(outcome: StressOutcome | None) -> StressCell:
    if outcome is None:
        return StressCell(DASH, None)
    return StressCell(f"{fixed(outcome.lost, 1)} {outcome.verdict or 'not hard'}", outcome.holds)
