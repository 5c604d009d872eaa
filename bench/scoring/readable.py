"""Whether the clips of all folders can be read, before any network computes: one error names all that cannot."""

from __future__ import annotations

from collections.abc import Iterable

from admbench.bench.scoring.clips import Clip
from admbench.errors import DataError
from admbench.metrics.audio import read_audio
from admbench.progress import track

NAMED = 20
"""Files that an error names; all are counted."""


def require_readable(clips: Iterable[Clip]) -> None:
    """Read every clip to its end; a second of network time is a hundred clips read.

    Raises:
        DataError: some cannot be read, are cut off, empty, or hold a sample that is not finite; names them with why.
    """
    problems = []
    for clip in track(list(clips), "Reading"):
        try:
            read_audio(clip.path)
        except DataError as error:
            problems.append(str(error))
    if problems:
        count = f"{len(problems)} files cannot be scored: " if len(problems) > 1 else ""
        more = f"; and {len(problems) - NAMED} more" if len(problems) > NAMED else ""
        raise DataError(count + "; ".join(problems[:NAMED]) + more)
