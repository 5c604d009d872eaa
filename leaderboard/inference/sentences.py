"""Conclusions as two or three plain sentences. Nothing is said here that the numbers given do not say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from admbench.leaderboard.inference.across import Across
from admbench.leaderboard.inference.crossed import Crossed
from admbench.leaderboard.inference.equivalence import Verdict
from admbench.leaderboard.inference.pairs import AllPairs

MOST_NAMES = 6
"""So many names a sentence has; of more it has their number."""


def nearest_sentence(model: str, pairs: AllPairs, among: Iterable[str], what: str) -> str:
    """Say which of some cells of a model comes first, and from which of them it is told apart.

    Args:
        model: name of the model.
        pairs: all pairs of its cells.
        among: the cells that are meant, such as those of 4-bit weights.
        what: what is meant, such as `at 4-bit weights`.
    """
    chosen = set(among)
    order = [name for name in pairs.order if name in chosen]
    if not order:
        return f"{model}: no cell {what}."
    first, others = order[0], order[1:]
    if not others:
        return f"{model}: {first} is the only cell {what}."
    beaten = [name for name in others if pairs.better_than(first, name)]
    tied = [name for name in others if name not in beaten]
    if not tied:
        return f"{model}: {what} {first} comes first, told apart from {listed(beaten)}."
    if not beaten:
        return f"{model}: {what} {first} comes first, but is not told apart from {listed(tied)}."
    return f"{model}: {what} {first} comes first, told apart from {listed(beaten)}, not from {listed(tied)}."


def across_sentence(across: Across) -> str:
    """Say on how many models one cell beats another, and by how much on average."""
    total = len(across.models)
    if not total or across.mean is None:
        return f"{across.cell} and {across.versus} stand on no model together."
    parts = [f"{across.cell} is shown to be better than {across.versus} on {across.better} of {total} models"]
    if across.worse:
        parts.append(f"worse on {across.worse}")
    if across.untold:
        parts.append(f"not told apart on {across.untold}")
    if across.low is None or across.high is None:
        return f"{', '.join(parts)}; ratio {across.mean:.2g}."
    mean = f"geometric mean of the ratios {across.mean:.2g} [{across.low:.2g}, {across.high:.2g}]"
    return f"{', '.join(parts)}; {mean}."


def verdict_sentence(cell: str, verdict: Verdict) -> str:
    """Say whether a cell is no worse than full precision, and how many captions would tell where it is not known."""
    key = verdict.margin.key
    if verdict.estimate is None or verdict.low is None or verdict.high is None or verdict.limit is None:
        return f"Whether {cell} is no worse by {key} cannot be told: {verdict.reason}."
    numbers = f"{key} {measured(verdict)}, margin {verdict.margin}"
    if verdict.word == "cannot be told":
        needed = verdict.captions_needed
        more = f"about {needed:,} captions would tell" if needed else str(verdict.reason)
        return f"Whether {cell} is no worse than full precision cannot be told ({numbers}); {more}."
    real = " though measurably different" if verdict.word == "no worse" and verdict.differs else ""
    return f"{cell} is {verdict.word} than full precision{real} ({numbers})."


def draws_sentences(crossed: Mapping[str, Crossed]) -> list[str]:
    """Say how much of the variance of cells' scores is that of calibration draws; nothing where there are none.

    Args:
        crossed: of each cell of several draws, by its name.
    """
    if not crossed:
        return []
    first = next(iter(crossed.values()))
    shares = {name: one.share_draws for name, one in crossed.items()}
    most = max(shares, key=lambda name: shares[name])
    least = f"{min(shares.values()):.0%}".replace("%", "") + " to " if len(shares) > 1 else ""
    whose = f", most to that of {most}" if len(shares) > 1 else f" of {most}"
    brought = f"draws bring {least}{100 * shares[most]:.0f} % to the variance of a score{whose}"
    return [f"Over {first.draws} calibration draws and {first.captions:,} captions, {brought}."]


def conclusion(sentences: Sequence[str], cautions: Iterable[str | None]) -> str:
    """Return a paragraph of sentences, with each caution once at its end."""
    warnings = [f"Caution: {one}." for one in dict.fromkeys(cautions) if one]
    return " ".join([*sentences, *warnings])


def listed(names: Sequence[str], most: int = MOST_NAMES) -> str:
    """Return names as a list in words, of many the first ones and how many there are beside them.

    >>> listed(["a", "b", "c"]), listed(["a", "b", "c", "d"], most=2)
    ('a, b and c', 'a, b and 2 more')
    """
    shown = [*names[:most], f"{len(names) - most} more"] if len(names) > most + 1 else names
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def measured(verdict: Verdict) -> str:
    """Return estimate and interval, or why there are none: of a ratio to the same score as a change in per cent.

    Of several calibration draws also how many, and how much of the variance is theirs.
    """
    if verdict.estimate is None or verdict.low is None or verdict.high is None:
        return str(verdict.reason)
    numbers = [verdict.estimate, verdict.low, verdict.high]
    if verdict.scale != "ratio":
        form, unit = ("+.3g" if verdict.scale == "difference" else ".3g"), ""
    elif verdict.margin.bounded == "level":
        form, unit, numbers = ".1f", f" % of full precision's {verdict.margin.of}", [100 * one for one in numbers]
    else:
        form, unit, numbers = "+.1f", " %", [100 * (one - 1) for one in numbers]
    over = ""
    if verdict.share_draws is not None:
        over = f" over {verdict.draws} draws ({100 * verdict.share_draws:.0f} % of the variance)"
    return f"{numbers[0]:{form}}{unit} [{numbers[1]:{form}}, {numbers[2]:{form}}]{over}"
