"""The table of a sanity ladder: a row per rung, with its step from the rung before."""

from dataclasses import dataclass

from admbench.leaderboard.boards import RANKED_BY
from admbench.leaderboard.ladder import Estimate, LadderModel
from admbench.leaderboard.site.cells import Cell, estimate_cells
from admbench.leaderboard.site.numbers import decimals, fixed, interval


@dataclass(frozen=True)
class LadderRow:
    """One rung: its cells (FD, KL, CLAP) and its step from the rung before."""

    name: str
    n: int
    cells: list[Cell]
    relation: str  # "<", "~" or "" for the first rung
    difference: str
    holds: bool


@dataclass(frozen=True)
class LadderTable:
    """The ladder of one model."""

    model: LadderModel
    keys: list[str]
    rows: list[LadderRow]


def ladder_table(model: LadderModel) -> LadderTable:
    """Rungs as table rows; the numbers of a column share one format and one scale."""
    keys = list(dict.fromkeys(key for rung in model.rungs for key in rung.scores))
    columns = [estimate_cells(key, [rung.scores.get(key) for rung in model.rungs]) for key in keys]
    fds = [rung.scores[RANKED_BY].value for rung in model.rungs if RANKED_BY in rung.scores]
    places = decimals(value for value in fds if value is not None)
    rows = []
    for place, rung in enumerate(model.rungs):
        cells, step = [column[place] for column in columns], rung.step
        if step is None:
            rows.append(LadderRow(rung.name, rung.n, cells, "", "", True))
        else:
            difference = _signed(step.difference, places)
            rows.append(LadderRow(rung.name, rung.n, cells, step.relation, difference, step.holds))
    return LadderTable(model, keys, rows)


def _signed(estimate: Estimate, places: int) -> str:
    value = "" if estimate.value is None else fixed(estimate.value, places, sign=True)
    return f"{value} {interval(estimate.ci95, places, sign=True)}" if estimate.ci95 else value
