"""Records for the commands that show them: what cannot be read is named on standard error, and stops nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sized
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from admbench.leaderboard.reading import Gathered

MANY_RECORDS = 1000
"""From so many on every core reads and concludes: fewer are done while the processes would start."""


def concluding(records: Sized) -> int:
    """Return how many processes read some records, or conclude from them."""
    from admbench.bench.measurement.environment import cores

    return cores() if len(records) >= MANY_RECORDS else 1


def gather_records(runs: Iterable[Path], *, remembered: bool = False) -> Gathered:
    """Read every record of some run folders, and say which are left out and why; arguments and errors of `gather`."""
    from admbench.leaderboard.reading import gather, record_files
    from admbench.plain_text import visible

    runs = list(runs)
    gathered = gather(runs, processes=concluding(record_files(runs)), remembered=remembered)
    for one in gathered.quarantined:
        print(f"warning: left out: {visible(str(one))}", file=sys.stderr)
    return gathered
