"""What answers of listeners say: exact tests of fair coins, and intervals for a share over listeners.

Answers of one listener are alike, so that 10 listeners with 16 trials each are not 160 independent ones. The interval
for the share that all such listeners would have is that of Korn and Graubard (1998, "Confidence intervals for
proportions with small expected number of positive counts estimated from survey data", Survey Methodology 24:193-201):
Clopper and Pearson's at the number of independent answers that would have the same variance, made smaller for the few
listeners by which that variance is known. Listeners are the clusters, and no more independent answers are counted than
were given.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import bdtrc, betaincinv, stdtrit

LEVEL = 0.95


def at_least(hits: int, count: int) -> float:
    """Return the chance of `hits` or more heads in `count` throws of a fair coin: p of an ABX test.

    >>> round(at_least(12, 16), 4)
    0.0384
    """
    return float(bdtrc(hits - 1, count, 0.5))


def as_far(hits: int, count: int) -> float:
    """Return the chance of a number of heads as far from one half as `hits`, or farther: the exact sign test.

    >>> as_far(8, 16), round(as_far(13, 16), 4)
    (1.0, 0.0213)
    """
    return min(1.0, 2 * at_least(max(hits, count - hits), count))


def exact_interval(hits: float, count: float, level: float = LEVEL) -> tuple[float, float]:
    """Return Clopper and Pearson's interval for a share; both numbers need not be whole.

    >>> [round(bound, 4) for bound in exact_interval(12, 16)]
    [0.4762, 0.9273]
    """
    tail = (1 - level) / 2
    low = 0.0 if hits <= 0 else float(betaincinv(hits, count - hits + 1, tail))
    high = 1.0 if hits >= count else float(betaincinv(hits + 1, count - hits, 1 - tail))
    return low, high


def clustered_interval(hits: Sequence[int], counts: Sequence[int], level: float = LEVEL) -> tuple[float, float]:
    """Return the interval for the share of hits over all such listeners.

    Of one listener it is the exact interval of that listener, and says nothing of others.

    Args:
        hits: of each listener.
        counts: answers of each listener, at least one.
        level: of confidence.
    """
    own, asked = np.asarray(hits, dtype=float), np.asarray(counts, dtype=float)
    total, listeners = float(asked.sum()), len(asked)
    share = float(own.sum()) / total
    if listeners == 1:
        return exact_interval(float(own[0]), total, level)
    variance = listeners / (listeners - 1) * float(np.sum((own - share * asked) ** 2)) / total**2
    independent = min(total, share * (1 - share) / variance) if variance > 0 else total
    tail = (1 + level) / 2
    independent *= float(stdtrit(total - 1, tail) / stdtrit(listeners - 1, tail)) ** 2
    return exact_interval(independent * share, independent, level)


def holm(chances: Sequence[float]) -> list[float]:
    """Return p-values adjusted for the number of tests (Holm 1979), in their order.

    >>> holm([0.01, 0.5, 0.02])
    [0.03, 0.5, 0.04]
    """
    order = np.argsort(chances, kind="stable")
    adjusted, largest = [0.0] * len(chances), 0.0
    for place, index in enumerate(order):
        largest = max(largest, min(1.0, (len(chances) - place) * chances[index]))
        adjusted[index] = largest
    return adjusted
