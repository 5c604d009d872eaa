"""How much of the full effort a rebuild spends: all of it, or a share, for a trial of the whole chain of stages.

The share is in an environment variable, which the child process of every stage inherits.
"""

from __future__ import annotations

import os

VARIABLE = "ADMBENCH_ZOO_SCALE"


def share() -> float:
    """Return the share of the full effort, 0 < share <= 1."""
    return float(os.environ.get(VARIABLE, "1"))


def scaled(count: int, least: int = 1) -> int:
    """Return the share of a number of steps or clips, but at least so many.

    >>> scaled(3000)
    3000
    """
    return min(count, max(least, round(count * share())))
