"""What a text says that is nobody else's business: taken out of everything that a run writes for others to read.

That is the home folder and the name of the user in paths, what logs in to a URL, and values of environment variables
that are named as secrets are. Records pass through here as they are written, whatever put the text there: a command
line, a traceback, a name of a folder.
"""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_LOGIN = re.compile(r"(?<=://)[^/@\s'\"]+@")
"""Name and password in a URL."""
_QUERY = re.compile(r"(?i)([?&#][\w.-]*(?:token|secret|passw|signature|credential|key|sig)[\w.-]*=)[^&\s'\"]+")
"""Tokens among the parameters of a URL."""
_TOKEN = re.compile(r"\b(?:hf|ghp|gho|github_pat|glpat|sk|xox[abp])[_-][A-Za-z0-9_-]{16,}")
"""Tokens of hubs by their form: of Hugging Face, GitHub, GitLab, OpenAI, Slack."""
_SECRET_NAME = re.compile(r"(?i)(token|secret|passw(or)?d|credentials?|(api|access|private)_?key)$")
"""Name of an environment variable whose value is nobody's business."""
_SHORTEST_SECRET = 8
"""Characters; a shorter value would be found in innocent words."""
GONE = "..."
"""In place of a secret."""


class Private:
    """What is private here.

    Args:
        home: the user's home folder.
        user: their name; empty if it has none.
        environment: variables.
    """

    def __init__(self, home: Path, user: str, environment: Mapping[str, str]) -> None:
        self._home: re.Pattern[str] | None = None
        if home != home.parent:  # not the root of all
            self._home = re.compile(rf"(?<![\w.-]){re.escape(str(home))}(?![\w-]|\.\w)")
        self._user: re.Pattern[str] | None = None
        if user:  # in the middle of any path, or last in one of this machine: not of a URL, nor after a model's owner
            name = re.escape(user)
            self._user = re.compile(rf"(?<=/){name}(?=/)|((?<![\w./-])/(?:[^/\s'\"]+/)*){name}(?![\w/-]|\.\w)")
        self._secrets = _secrets(environment)

    @classmethod
    def here(cls) -> Private:
        """Return what is private in this process."""
        return cls(_home(), _user(), os.environ)

    def hidden(self, text: str) -> str:
        """Return a text with the home folder as `~`, the user's name in other paths as `USER`, and without secrets.

        >>> ann = Private(Path("/home/ann"), "ann", {"HUB_PASSWORD": "correct-horse"})
        >>> ann.hidden("bench run --out /home/ann/runs/a"), ann.hidden("/data/ann/x")
        ('bench run --out ~/runs/a', '/data/USER/x')
        >>> ann.hidden("s3://ann:pass@host/run?X-Token=abc&n=1"), ann.hidden("401: bad 'correct-horse'")
        ('s3://host/run?X-Token=...&n=1', "401: bad '...'")
        """
        for value in self._secrets:
            text = text.replace(value, GONE)
        text = _TOKEN.sub(GONE, text)
        if "/" not in text:
            return text
        text = text if self._home is None else self._home.sub("~", text)
        text = text if self._user is None else self._user.sub(lambda found: f"{found[1] or ''}USER", text)
        return _QUERY.sub(rf"\1{GONE}", _LOGIN.sub("", text))

    def hidden_in(self, value: Any) -> Any:
        """Return a JSON value with all its texts, and the names in it, so."""
        if isinstance(value, str):
            return self.hidden(value)
        if isinstance(value, list):
            return [self.hidden_in(item) for item in value]
        if isinstance(value, dict):
            return {self.hidden(key): self.hidden_in(item) for key, item in value.items()}
        return value


def _secrets(environment: Mapping[str, str]) -> list[str]:
    """Return the values that are secrets, the longest first: one may hold another."""
    found = {value for name, value in environment.items() if _SECRET_NAME.search(name)}
    return sorted((value for value in found if len(value) >= _SHORTEST_SECRET), key=len, reverse=True)


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:  # a user without one
        return Path("/")


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a number that has no name
        return ""
