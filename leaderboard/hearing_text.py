"""What listeners heard, in words, rows and JSON: for the terminal and for the board."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from admbench.leaderboard.hearing import Heard

HEADER = ("model", "test", "method", "answers", "share", "95 %", "p", "listeners", "given up", "verdict")
_NAMES = {"abx": "ABX", "preference": "preference"}


def rows(found: Sequence[Heard]) -> list[tuple[str, ...]]:
    """Return a line per model, kind of test and method, in the order of `HEADER`."""
    return [
        (
            one.model,
            _NAMES[one.kind],
            one.method,
            answers(one),
            "-" if one.share is None else f"{100 * one.share:.0f} %",
            interval(one),
            chance(one.p),
            str(one.listeners),
            str(one.given_up),
            verdict(one),
        )
        for one in found
    ]


def answers(one: Heard) -> str:
    """Return the hits among the trials.

    >>> answers(Heard("m", "s", "naive@w4a8", "abx", 1, 1, 0, 12, 16, (0.48, 0.93), 0.038, "heard"))
    '12 of 16 right'
    """
    return f"{one.hits} of {one.trials} {'right' if one.kind == 'abx' else 'for the method'}"


def interval(one: Heard) -> str:
    """Return the interval of the share in percent; a dash where no session was finished."""
    return "-" if one.ci95 is None else f"{100 * one.ci95[0]:.0f} to {100 * one.ci95[1]:.0f} %"


def chance(p: float | None) -> str:
    """Return a p-value in three digits.

    >>> chance(0.03841), chance(0.0000001), chance(None)
    ('0.038', '< 0.001', '-')
    """
    if p is None:
        return "-"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def verdict(one: Heard) -> str:
    """Return the verdict, which for one listener is of that listener alone."""
    return f"{one.verdict} (one listener)" if one.listeners == 1 else one.verdict


def to_json(found: Sequence[Heard]) -> dict[str, Any]:
    """Return all numbers as a JSON value."""
    return {"format": "admbench-heard", "schema_version": 1, "heard": [asdict(one) for one in found]}
