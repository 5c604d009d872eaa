"""From the jackknife of a metric to what the engine of inference keeps of a score: its influences over captions."""

from __future__ import annotations

from admbench.leaderboard.inference.influence import Influence
from admbench.metrics.intervals import Replicates, deletion_pairs


def influence_of(replicates: Replicates) -> Influence:
    """Return a score of a set of n captions, linearized: (n,) first-order and (p,) second-order influences."""
    return Influence.of_jackknife(
        replicates.value, replicates.without_one, replicates.without_two, deletion_pairs(replicates.n)
    )
