"""The table of a sanity ladder: a row per level, with its step from the level before."""

from dataclasses import dataclass

from admbench.leaderboard.ladder import Estimate, LadderModel
from admbench.leaderboard.site.entries import Cell, estimate_cells
from admbench.leaderboard.site.numbers import decimals, fixed, interval

_STEPS_OF = "fd"  # the score whose paired difference a step is


@dataclass(frozen=True)
class LadderRow:
    """One level: its cells (FD, KL, CLAP) and its step from the level before."""

    name: str
    n: int
    cells: list[Cell]
    relation: str  # "<", "~" or "" for the first level
    difference: str
    holds: bool


@dataclass(frozen=True)
class LadderTable:
    """The ladder of one model."""

    model: LadderModel
    keys: list[str]
    rows: list[LadderRow]


def ladder_table(model: LadderModel) -> LadderTable:
    """Levels as table rows; the numbers of a column share one format and one scale."""
    keys = list(dict.fromkeys(key for level in model.levels for key in level.scores))
    columns = [estimate_cells(key, [level.scores.get(key) for level in model.levels]) for key in keys]
    fds = [level.scores[_STEPS_OF].value for level in model.levels if _STEPS_OF in level.scores]
    places = decimals(value for value in fds if value is not None)
    rows = []
    for place, level in enumerate(model.levels):
        cells, step = [column[place] for column in columns], level.step
        if step is None:
            rows.append(LadderRow(level.name, level.n, cells, "", "", True))
        else:
            difference = _signed(step.difference, places)
            rows.append(LadderRow(level.name, level.n, cells, step.relation, difference, level.holds))
    return LadderTable(model, keys, rows)


def _signed(estimate: Estimate, places: int) -> str:
    value = "" if estimate.value is None else fixed(estimate.value, places, sign=True)
    return f"{value} {interval(estimate.ci95, places, sign=True)}" if estimate.ci95 else value
