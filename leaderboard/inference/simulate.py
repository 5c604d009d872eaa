"""Error rates and power of the engine by simulation: `python -m admbench.leaderboard.inference.simulate`.

Three kinds of scores, drawn where the truth is known, K cells over the same n captions:

- `means`: means over clips, skewed and correlated between cells by caption, as CLAP or LMD are;
- `distances`: a squared distance of means, which like a Frechet distance is a distance, has a second-order part, and
  is biased upwards; its jackknife values have a closed form;
- `near zero`: the same of sets of one distribution, where the second-order part is all there is.

Frechet distances themselves are in `admbench.leaderboard.inference.closed_forms`. A row of the table is a rate with
its trials, the bound that it is held to, and what it is.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations, product
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from admbench.leaderboard.inference.agreement import Opinion, agreement
from admbench.leaderboard.inference.bootstrap import studentized_draws
from admbench.leaderboard.inference.closed_forms import CASES, squared_distance, wrongly_told_apart
from admbench.leaderboard.inference.contrasts import Cell, Contrast
from admbench.leaderboard.inference.crossed import crossed_mean
from admbench.leaderboard.inference.equivalence import Verdict, judge
from admbench.leaderboard.inference.influence import Influence
from admbench.leaderboard.inference.margins import parse_margin
from admbench.leaderboard.inference.pairs import Pair, all_pairs
from admbench.leaderboard.inference.scores import KINDS

Array = NDArray[np.float64]
Cells = dict[str, Influence]
DrawnCells = Mapping[str, Cell]
DrawPair = Callable[[np.random.Generator], tuple[Influence, Influence]]

DIMENSIONS = 12


class Drawing(Protocol):
    """Draws cells with given effects."""

    def __call__(self, rng: np.random.Generator, n: int, effects: Sequence[float]) -> Cells:
        """Return the cells, over n captions."""
        ...


@dataclass(frozen=True)
class Rate:
    """How often something happened."""

    what: str
    hits: int
    trials: int
    bound: str
    """What it is held to; empty for power, which is stated."""

    @property
    def rate(self) -> float:
        """Share of the trials."""
        return self.hits / self.trials


def draw_means(rng: np.random.Generator, n: int, effects: Sequence[float]) -> Cells:
    """Return cells whose true means are `effects`, in units of a clip's own standard deviation; skewed, correlated."""
    shared = rng.gamma(2.0, size=n) / math.sqrt(2) - math.sqrt(2)
    own = rng.gamma(2.0, size=(len(effects), n)) / math.sqrt(2) - math.sqrt(2)
    return {
        f"cell {k}": Influence.of_clips(effect + 2 * shared + noise)
        for k, (effect, noise) in enumerate(zip(effects, own, strict=True))
    }


def draw_distances(rng: np.random.Generator, n: int, effects: Sequence[float]) -> Cells:
    """Return cells at squared distances d effect^2 from a shared reference, plus the bias at n."""
    reference = rng.normal(size=(n, DIMENSIONS))
    common = rng.normal(size=(n, DIMENSIONS))
    cells = {}
    for k, shift in enumerate(effects):
        own = rng.normal(size=(n, DIMENSIONS))
        cells[f"cell {k}"] = squared_distance(shift + 0.8 * common + 0.6 * own, reference)
    return cells


def draw_repeated(
    rng: np.random.Generator,
    n: int,
    effects: Sequence[float],
    scatter: Sequence[float],
    draws: int = 3,
    without: int = 0,
) -> dict[str, Cell]:
    """Return cells of several calibration draws whose true means are `effects`.

    Args:
        rng: random numbers.
        n: captions.
        effects: (K,) true means.
        scatter: (K,) standard error that a cell's own draws bring to its mean, over that which its clips bring. What a
            draw does to all cells alike is as large.
        draws: R.
        without: how many of the cells, the first, depend on no draw: they have one, and nothing of what draws do.
    """
    captions, shared = 2 * rng.normal(size=n), rng.normal(size=(draws, 1)) / math.sqrt(n)
    cells: dict[str, Cell] = {}
    for k, (effect, own) in enumerate(zip(effects, scatter, strict=True)):
        if k < without:
            cells[f"cell {k}"] = Influence.of_clips(effect + captions + rng.normal(size=n))
            continue
        rows = effect + captions + shared + own * rng.normal(size=(draws, 1)) * math.sqrt(draws / n)
        rows = rows + math.sqrt(0.5) * (rng.normal(size=n) + rng.normal(size=(draws, n)))
        cells[f"cell {k}"] = [Influence.of_clips(row) for row in rows]
    return cells


def expected_distance(n: int, shift: float) -> float:
    """Return the expected value of a cell of `draw_distances`."""
    return DIMENSIONS * (shift**2 + 2 / n)


def simultaneous(
    draw: Callable[[np.random.Generator], DrawnCells], truth: dict[str, float], key: str, trials: int, seed: int = 0
) -> dict[str, int]:
    """Count trials in which something is wrong anywhere: a pair, an interval, a rank; and pairs rightly told apart."""
    kind = KINDS[key]
    counts = dict.fromkeys(("wrongly told apart", "interval misses", "rank misses", "rightly told apart"), 0)
    sign = -1 if kind.higher_is_better else 1
    ranks = {name: 1 + sum(sign * other < sign * own for other in truth.values()) for name, own in truth.items()}
    rng = np.random.default_rng(seed)
    for _ in range(trials):
        found = all_pairs(draw(rng), kind)
        pairs = found.pairs  # computed whenever it is asked for
        wrong, missed = _wrong(pairs, truth, sign)
        counts["wrongly told apart"] += wrong
        counts["interval misses"] += missed
        counts["rank misses"] += any(not low <= ranks[name] <= high for name, (low, high) in found.ranks.items())
        counts["rightly told apart"] += sum(
            pair.told_apart and sign * truth[pair.better] < sign * truth[pair.worse] for pair in pairs
        )
    return counts


def step_down(contrasts: Sequence[Contrast]) -> int:
    """Return how many pairs a step down would tell apart, with directions (Mogstad et al. 2024, stepwise procedure).

    Hypotheses are one-sided, two a pair; those that a step rejects leave the next step's critical value.
    """
    drawn = np.concatenate(list(studentized_draws(contrasts)))
    drawn = np.concatenate([drawn, -drawn], axis=1)
    t = np.array([one.estimate / one.standard_error for one in contrasts])
    t = np.concatenate([t, -t])
    remaining = np.ones(len(t), dtype=bool)
    while remaining.any():
        rejected = remaining & (t > np.quantile(drawn[:, remaining].max(axis=1), 0.95))
        if not rejected.any():
            break
        remaining &= ~rejected
    return int((~remaining).sum())


def _wrong(pairs: Sequence[Pair], truth: dict[str, float], sign: int) -> tuple[bool, bool]:
    wrong = missed = False
    for pair in pairs:
        better, worse = truth[pair.better], truth[pair.worse]
        expected = better / worse if pair.contrast.scale == "ratio" else better - worse
        missed |= not pair.low <= expected <= pair.high
        wrong |= pair.told_apart and sign * better >= sign * worse
    return wrong, missed


def words(draw: DrawPair, margin: str, trials: int, seed: int = 0) -> list[Verdict]:
    """Return the verdict on the first cell against the second, of each trial."""
    rng = np.random.default_rng(seed)
    parsed = parse_margin(margin)
    verdicts = []
    for _ in range(trials):
        cell, full = draw(rng)
        verdicts.append(judge(parsed, KINDS[parsed.key], {parsed.key: cell}, {parsed.key: full}))
    return verdicts


def distance_at(n: int, ratio: float, base_shift: float = 0.6) -> DrawPair:
    """Return a draw of a cell whose expected distance is `ratio` times that of full precision, and the latter."""
    shift = math.sqrt(max(0.0, ratio * expected_distance(n, base_shift) / DIMENSIONS - 2 / n))
    return lambda rng: _two(draw_distances(rng, n, (shift, base_shift)))


def _two(cells: Cells) -> tuple[Influence, Influence]:
    return cells["cell 0"], cells["cell 1"]


def mean_at(n: int, effect: float) -> DrawPair:
    """Return a draw of a cell whose true mean is off by `effect` from that of full precision, and the latter."""
    return lambda rng: _two(draw_means(rng, n, (effect, 0.0)))


def crossed_misses(draws: int, n: int, ratio: float, trials: int, seed: int = 0) -> int:
    """Count intervals over draws and captions that miss the truth.

    Args:
        draws: R.
        n: captions.
        ratio: standard error that draws bring to the mean, over that which captions bring.
        trials: how often.
        seed: of the simulation.
    """
    rng = np.random.default_rng(seed)
    misses = 0
    for _ in range(trials):
        captions, rest = rng.normal(size=(1, n)), rng.normal(size=(draws, n))
        rows = rng.normal(size=(draws, 1)) * ratio * math.sqrt(draws / n)
        low, high = crossed_mean(rows + captions + 0.5 * rest).interval()
        misses += not low <= 0 <= high
    return misses


SCATTERS: dict[str, Callable[[int], list[float]]] = {
    "none": lambda cells: [0.0] * cells,
    "alike": lambda cells: [1.0] * cells,
    "from 0.3 to 3": lambda cells: np.geomspace(0.3, 3, cells).tolist(),
    "half of them five times as much": lambda cells: [1.0, 5.0] * (cells // 2),
    "one of them five times as much": lambda cells: [5.0] + [1.0] * (cells - 1),
}
"""How much cells scatter over their draws: what it is called -> the number of cells -> standard errors."""


def judged_twice(
    n: int, effects: tuple[Sequence[float], Sequence[float]], trials: int, *, alike: bool = False, seed: int = 0
) -> dict[str, int]:
    """Count what is said of the agreement of two judges whose true orders are known.

    Args:
        n: captions.
        effects: of each judge, how far each cell truly is from the reference.
        trials: how often.
        alike: whether both hear the same noise, as judges that are much alike; else noise of their own.
        seed: of the simulation.
    """
    first, second = effects
    products = {
        frozenset((f"cell {one}", f"cell {other}")): float(
            np.sign(first[other] - first[one]) * np.sign(second[other] - second[one])
        )
        for one, other in combinations(range(len(first)), 2)
    }
    true = sum(products.values()) / len(products)
    counts = dict.fromkeys(("interval misses", "wrong contradiction", "agree", "disagree"), 0)
    for trial in range(trials):
        rngs = [np.random.default_rng((seed, trial, 0 if alike else k)) for k in range(2)]
        drawn = [draw_distances(rng, n, own) for rng, own in zip(rngs, effects, strict=True)]
        found = agreement(*(Opinion(str(k), cells, KINDS["fd"]) for k, cells in enumerate(drawn)))
        counts["interval misses"] += not found.low - 1e-9 <= true <= found.high + 1e-9
        counts["wrong contradiction"] += any(products[frozenset(pair)] >= 0 for pair in found.contradictions)
        counts["agree"] += found.word == "agree"
        counts["disagree"] += found.word == "disagree"
    return counts


def table(trials: int) -> Iterator[Rate]:
    """Yield every row of the table."""
    yield from _error_rates(trials)
    yield from frechet_rates(trials)
    yield from _margin_rates(trials)
    yield from _repeated_rates(trials)
    yield from agreement_rates(trials)
    for draws, ratio in ((3, 0.0), (3, 0.5), (3, 2.0), (3, 8.0), (10, 1.0)):
        misses = crossed_misses(draws, 96, ratio, trials)
        what = f"{draws} draws, 96 captions, s.e. of draws {ratio:g} times that of captions: interval misses"
        yield Rate(what, misses, trials, "<= 5 %")
    yield from _power(trials)


def _error_rates(trials: int) -> Iterator[Rate]:
    some_means, some_distances = (0.0, 0.0, 0.0, 0.3, 0.6), (0.3, 0.3, 0.3, 0.4, 0.6)
    none = (0.0,) * 5
    for n in (48, 96, 240):
        away = partial(expected_distance, n)
        cases: list[tuple[str, str, Drawing, Sequence[float], Callable[[float], float]]] = [
            ("means, all equal", "clap", draw_means, none, float),
            ("means, three equal", "snr", draw_means, some_means, float),
            ("distances, three equal", "fd", draw_distances, some_distances, away),
            ("near zero, all equal", "fd", draw_distances, none, away),
        ]
        for name, key, draw, effects, expected in cases:
            truth = {f"cell {k}": expected(effect) for k, effect in enumerate(effects)}
            counts = simultaneous(partial(draw, n=n, effects=effects), truth, key, trials)
            for what in ("wrongly told apart", "interval misses", "rank misses"):
                yield Rate(f"{name}, 5 cells, n = {n}: any {what}", counts[what], trials, "<= 5 %")


def frechet_rates(trials: int) -> Iterator[Rate]:
    """Yield the rows on Frechet distances, a pair of equal cells each."""
    for n, (name, case) in product((48, 96, 260), CASES.items()):
        what = f"Frechet distances of two equal cells, {name}, n = {n}: told apart"
        yield Rate(what, wrongly_told_apart(n, case, trials), trials, "<= 6.5 %" if "tail" in case else "<= 5.5 %")


def _repeated_rates(trials: int) -> Iterator[Rate]:
    for cells in (4, 12, 20):
        truth = {f"cell {k}": 0.0 for k in range(cells)}
        for name, scatter in SCATTERS.items():
            draw = partial(draw_repeated, n=96, effects=[0.0] * cells, scatter=scatter(cells))
            counts = simultaneous(draw, truth, "snr", trials)
            what = f"3 draws of {cells} equal cells, scatter {name}: any wrongly told apart"
            yield Rate(what, counts["wrongly told apart"], trials, "<= 5 %")
            counts = simultaneous(partial(draw, without=cells // 2), truth, "snr", trials)
            which = f"{cells - cells // 2} cells, {cells // 2} equal ones without"
            what = f"3 draws of {which}, scatter {name}: any wrongly told apart"
            yield Rate(what, counts["wrongly told apart"], trials, "<= 5 %")
    for effect in (0.5, 1.0, 2.0):
        truth = {f"cell {k}": 0.0 if k else effect for k in range(12)}
        draw = partial(draw_repeated, n=96, effects=list(truth.values()), scatter=[0.5] * 12)
        counts = simultaneous(draw, truth, "snr", trials)
        what = f"3 draws of 12 cells, scatter 0.5, one off by {effect:g} s.d. of a clip: its 11 pairs told apart"
        yield Rate(what, counts["rightly told apart"], 11 * trials, "")


def _margin_rates(trials: int) -> Iterator[Rate]:
    for n in (48, 96, 240):
        at = words(distance_at(n, 1.05), "fd=+5%", trials)
        yield Rate(f"distance 5 % above, n = {n}: `no worse` at +5 %", _count(at, "no worse"), trials, "<= 5 %")
        yield Rate(f"distance 5 % above, n = {n}: `worse` at +5 %", _count(at, "worse"), trials, "<= 5 %")
        mean = words(mean_at(n, -0.3), "clap=-0.3", trials)
        yield Rate(f"mean at the margin, n = {n}: `no worse`", _count(mean, "no worse"), trials, "<= 5 %")


def agreement_rates(trials: int) -> Iterator[Rate]:
    """Yield the rows on the agreement of judges."""
    apart, turned, none = (0.3, 0.4, 0.5, 0.6), (0.4, 0.3, 0.6, 0.5), (0.3,) * 4
    cases = {"alike": apart, "alike but for two pairs": turned, "one of them hears nothing": none}
    for n in (48, 96):
        for name, second in cases.items():
            counts = judged_twice(n, (apart, second), trials)
            for what in ("interval misses", "wrong contradiction"):
                yield Rate(f"two judges, {name}, 4 cells, n = {n}: {what}", counts[what], trials, "<= 5 %")
    for n in (48, 96, 240):
        for shifts in (apart, (0.3, 0.5, 0.7, 0.9)):
            counts = judged_twice(n, (shifts, shifts), trials)
            what = f"two judges alike, distances {', '.join(map(str, shifts))} squared, n = {n}: shown to agree"
            yield Rate(what, counts["agree"], trials, "")


def _power(trials: int) -> Iterator[Rate]:
    shifts = (0.3, 0.4, 0.5, 0.6, 0.7)
    truth = {f"cell {k}": expected_distance(96, shift) for k, shift in enumerate(shifts)}
    draw = partial(draw_distances, n=96, effects=shifts)
    one_step = simultaneous(draw, truth, "fd", trials)["rightly told apart"]
    rng = np.random.default_rng(0)
    steps = sum(step_down([pair.contrast for pair in all_pairs(draw(rng), KINDS["fd"]).pairs]) for _ in range(trials))
    yield Rate("distances, five different, n = 96: pairs told apart", one_step, 10 * trials, "")
    yield Rate("distances, five different, n = 96: pairs told apart by a step down", steps, 10 * trials, "")
    for n in (96, 240):
        for effect in (0.2, 0.4, 0.6):
            truth = {"cell 0": 0.0, "cell 1": 0.0, "cell 2": 0.0, "cell 3": effect}
            counts = simultaneous(partial(draw_means, n=n, effects=(0, 0, 0, effect)), truth, "snr", trials)
            what = f"one mean of 4 off by {effect:g} s.d. of a clip, n = {n}: its 3 pairs told apart"
            yield Rate(what, counts["rightly told apart"], 3 * trials, "")
    for n in (96, 240, 960):
        same = words(distance_at(n, 1.0), "fd=+25%", trials)
        yield Rate(f"distances equal, margin +25 %, n = {n}: `no worse`", _count(same, "no worse"), trials, "")
    first = words(distance_at(96, 1.0), "fd=+25%", 50)
    needed = [verdict.captions_needed for verdict in first if verdict.captions_needed]
    if needed:
        n = int(np.median(needed))
        again = words(distance_at(n, 1.0), "fd=+25%", trials, seed=1)
        told = sum(verdict.word != "cannot be told" for verdict in again)
        yield Rate(f"the same with the {n} captions that n = 96 asked for: told", told, trials, "")


def _count(verdicts: Sequence[Verdict], word: str) -> int:
    return sum(verdict.word == word for verdict in verdicts)


def markdown(rates: Iterator[Rate]) -> Iterator[str]:
    """Yield the table's lines."""
    yield "| what | rate | trials | held to |"
    yield "|---|---|---|---|"
    for one in rates:
        yield f"| {one.what} | {100 * one.rate:.1f} % | {one.trials} | {one.bound} |"


if __name__ == "__main__":
    for line in markdown(table(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)):
        print(line, flush=True)
