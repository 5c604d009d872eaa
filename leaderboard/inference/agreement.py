"""Do two judges put the cells of a model in the same order? Kendall's tau, with an interval over captions.

tau is the mean over pairs of cells of +1 where both judges find the same cell better, and -1 where they contradict each
other (Kendall 1938, "A new measure of rank correlation"). A pair that is equal to a judge counts as 0: this is tau-a,
which is tau-b where no two cells are equal. It was taken and not Spearman's rho because it is made of pairs, which is
what the engine concludes on.

Resampling the captions and computing tau again does not give its interval: a rank statistic jumps where cells are
equal, and there such intervals do not hold their coverage. So the interval is projected, as rank intervals are
(Mogstad, Romano, Shaikh and Wilhelm 2024): one critical value, from the multiplier bootstrap of
`admbench.leaderboard.inference.pairs` over the pairs of *both* judges, so that with probability 95 % every pair that a
judge tells apart is told apart rightly. A pair that both tell apart is then known; of any other nothing is assumed. The
interval is from the tau in which all of these are contradictions to the one in which none is. It holds the true tau at
this number of captions with at least 95 %, ties or not, and is longer than need be, because it also counts orders that
no two judges can have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from admbench.leaderboard.inference.bootstrap import largest_draws
from admbench.leaderboard.inference.contrasts import Cell, draws, value
from admbench.leaderboard.inference.influence import Values
from admbench.leaderboard.inference.pairs import half_widths
from admbench.leaderboard.inference.pairwise import Pairwise, pairwise
from admbench.leaderboard.inference.scores import ScoreKind, caution
from admbench.leaderboard.inference.sentences import listed

Word = Literal["agree", "disagree", "cannot be told"]


@dataclass(frozen=True)
class Opinion:
    """What one judge says of the cells of a model."""

    judge: str
    """Name of the network or measure, for texts."""
    cells: Mapping[str, Cell]
    """By name, one score over the same captions in the same order."""
    kind: ScoreKind
    """Of the score."""
    largest: Values | None = None
    """The largest |t| of all pairs of these cells in each draw of the bootstrap, where `all_pairs` has found it."""


@dataclass(frozen=True)
class Agreement:
    """Two judges of the same cells."""

    judges: tuple[str, str]
    cells: tuple[str, ...]
    """That both judge, the best by the first judge's point estimate first."""
    tau: float
    """Kendall's tau of the point estimates, -1 to 1."""
    low: float
    """95 % interval of the tau of the true scores, over captions like these."""
    high: float
    alike: int
    """Pairs that both judges tell apart, the same way."""
    contradictions: tuple[tuple[str, str], ...]
    """Pairs that both tell apart in opposite ways: the cell that is better by the first judge, then the other."""
    n: int
    """Captions."""

    @property
    def pairs(self) -> int:
        """Number of pairs of cells."""
        return len(self.cells) * (len(self.cells) - 1) // 2

    @property
    def word(self) -> Word:
        """Whether tau is shown to be above zero, or below."""
        return "agree" if self.low > 0 else "disagree" if self.high < 0 else "cannot be told"

    @property
    def caution(self) -> str | None:
        """Why not to trust this too far: too few captions; None if nothing."""
        return caution(self.n)


def agreement(first: Opinion, second: Opinion) -> Agreement:
    """Hold the orders of two judges against each other.

    Args:
        first: a judge of some cells.
        second: another of the same cells, over the same captions in the same order; cells that only one judges are
            left out.

    Raises:
        ValueError: fewer than two cells that both judge, or other captions.
    """
    shared = [name for name in first.cells if name in second.cells]
    if len(shared) < 2:
        raise ValueError(f"{len(shared)} cells that both {first.judge} and {second.judge} judge; two have an order")
    order = sorted(shared, key=lambda name: (-_goodness(first, name), name))
    pairs = list(combinations(order, 2))
    parts = [pairwise(opinion.cells, order, opinion.kind) for opinion in (first, second)]
    of_each = [
        largest_draws(own.families) if opinion.largest is None or len(opinion.cells) > len(order) else opinion.largest
        for opinion, own in zip((first, second), parts, strict=True)
    ]
    halves, _ = half_widths(parts, np.maximum(*of_each))
    kinds = (first.kind, second.kind)
    known = [_ways(*each) for each in zip(parts, kinds, halves, strict=True)]
    seen = [_ways(one, kind, np.zeros(len(pairs))) for one, kind in zip(parts, kinds, strict=True)]
    told, estimated = ((one * other).tolist() for one, other in (known, seen))
    return Agreement(
        judges=(first.judge, second.judge),
        cells=tuple(order),
        tau=sum(estimated) / len(pairs),
        low=(sum(told) - told.count(0)) / len(pairs),
        high=(sum(told) + told.count(0)) / len(pairs),
        alike=told.count(1),
        contradictions=tuple(pair for pair, product in zip(pairs, told, strict=True) if product < 0),
        n=draws(first.cells[order[0]])[0].n,
    )


def agreement_sentence(model: str, found: Agreement) -> str:
    """Say whether two judges order the cells of a model alike, and where they contradict each other."""
    first, second = found.judges
    tau = f"Kendall's tau {found.tau:.2f} [{found.low:.2f}, {found.high:.2f}]"
    told = found.alike + len(found.contradictions)
    apart = f"of {found.pairs} pairs both tell {told} apart"
    if found.contradictions:
        apart += ", contradicting each other on " + listed([f"{one}/{other}" for one, other in found.contradictions])
    elif told:
        apart += ", all the same way" if told > 1 else ", the same way"
    who = f"{first} and {second}"
    if found.word == "cannot be told":
        return f"{model}: whether {who} agree on the order of {len(found.cells)} cells cannot be told ({tau}); {apart}."
    return f"{model}: {who} {found.word} on the order of {len(found.cells)} cells ({tau}); {apart}."


def _goodness(opinion: Opinion, name: str) -> float:
    own = value(opinion.cells[name], ratio=opinion.kind.ratio_scale)
    return own if opinion.kind.higher_is_better else -own


def _ways(one: Pairwise, kind: ScoreKind, half_widths: Values) -> NDArray[np.int64]:
    """Return for each pair 1 if its first cell is better by more than an error, -1 if it is worse, else 0."""
    gain = one.estimate if kind.higher_is_better else -one.estimate
    return np.where(np.abs(gain) <= half_widths, 0, np.where(gain > 0, 1, -1))
