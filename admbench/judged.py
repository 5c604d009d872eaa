"""Names that say by which judge: `fd` is by the first judge of its role in a run, `fd[laion-clap]` by a further one.

Scores, arrays of features and the seats of judges are named this way, so that what a run's first judge says is called
the same whether others sit beside it or not. A score against the full-precision model's own output ends in
`_vs_baseline` as always, after the judge: `fd[laion-clap]_vs_baseline`.
"""

from __future__ import annotations

import re

JUDGE_NAME = r"[a-z0-9][a-z0-9_.-]{0,63}"
"""Regular expression of the names that a further judge may have."""

_JUDGE = re.compile(rf"\[({JUDGE_NAME})\]", re.ASCII)


def by_judge(name: str, judge: str | None) -> str:
    """Return a name as of a further judge; of the first, None, the name itself.

    >>> by_judge("fd", None), by_judge("fd", "laion-clap")
    ('fd', 'fd[laion-clap]')
    """
    return name if judge is None else f"{name}[{judge}]"


def judge_of(name: str) -> str | None:
    """Return the further judge that a name says; None if it is of the first, or of no judge.

    >>> judge_of("fd[laion-clap]_vs_baseline"), judge_of("fd")
    ('laion-clap', None)
    """
    found = _JUDGE.search(name)
    return found[1] if found else None


def without_judge(name: str) -> str:
    """Return what the same thing is called of the first judge.

    >>> without_judge("fd[laion-clap]_vs_baseline")
    'fd_vs_baseline'
    """
    return _JUDGE.sub("", name, count=1)
