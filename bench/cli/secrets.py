"""What a command line says that is nobody else's business, before it goes into a record."""

from __future__ import annotations

import re
from pathlib import Path

_LOGIN = re.compile(r"(?<=://)[^/@\s'\"]+@")
"""Name and password in a URL."""
_QUERY = re.compile(r"(?i)([?&][\w.-]*(?:token|secret|password|signature|key)[\w.-]*=)[^&\s'\"]+")
"""Tokens among the parameters of a URL."""


def without_secrets(command: str, home: Path) -> str:
    """Return a command line with the home folder as `~`, and without what logs in to a URL.

    >>> without_secrets("bench run --out /home/ann/runs/a", Path("/home/ann"))
    'bench run --out ~/runs/a'
    >>> without_secrets("bench run --out s3://ann:pass@host/run?X-Token=abc&n=1", Path("/home/ann"))
    'bench run --out s3://host/run?X-Token=...&n=1'
    """
    if home != home.parent:  # not the root of all
        command = re.sub(rf"(?<![\w.-]){re.escape(str(home))}(?=/|\s|$)", "~", command)
    return _QUERY.sub(r"\1...", _LOGIN.sub("", command))
