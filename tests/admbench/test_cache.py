"""Where the user's cache lies."""

from pathlib import Path

import pytest

from admbench import cache


def test_it_lies_where_the_user_says_then_where_the_desktop_says_then_at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADMBENCH_CACHE", "/mine")
    monkeypatch.setenv("XDG_CACHE_HOME", "/desktop")
    assert cache.root() == Path("/mine")
    monkeypatch.delenv("ADMBENCH_CACHE")
    assert cache.root() == Path("/desktop/admbench")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.root() == Path.home() / ".cache" / "admbench"
