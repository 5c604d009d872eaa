"""The result record (schema, reading, validating) and the static site made from records.

Names load on first use, so that importing the package costs nothing.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "Record": "leaderboard.record",
    "LoadedRecord": "leaderboard.reading",
    "parse_record": "leaderboard.reading",
    "read_record": "leaderboard.reading",
    "read_runs": "leaderboard.reading",
    "validate": "leaderboard.reading",
    "Ladder": "leaderboard.ladder",
    "read_ladder": "leaderboard.ladder",
    "ptq4adm_claims": "leaderboard.claims",
    "to_frame": "leaderboard.frame",
    "build_site": "leaderboard.site",
    "SitePaths": "leaderboard.site",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
