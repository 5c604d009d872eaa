"""The result record (schema, reading, validating) and the static site made from records.

Names load on first use, so that importing the package costs nothing.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "Record": "admbench.leaderboard.record",
    "LoadedRecord": "admbench.leaderboard.reading",
    "parse_record": "admbench.leaderboard.reading",
    "read_record": "admbench.leaderboard.reading",
    "read_runs": "admbench.leaderboard.reading",
    "gather": "admbench.leaderboard.reading",
    "validate": "admbench.leaderboard.validating",
    "validation_state": "admbench.leaderboard.states",
    "Ladder": "admbench.leaderboard.ladder",
    "read_ladder": "admbench.leaderboard.ladder",
    "ptq4adm_claims": "admbench.leaderboard.claims",
    "to_frame": "admbench.leaderboard.frame",
    "build_site": "admbench.leaderboard.site",
    "SitePaths": "admbench.leaderboard.site",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
