"""How many examples a property is tried on: a part that is always the same, or many more, other ones each time."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

LONG = settings.default is not None and settings.default.max_examples > 1000
"""Whether many examples are asked for: `--hypothesis-profile attacks`."""


def examples(few: int, many: int) -> settings:
    """Return the settings of a property: `few` examples as a rule, `many` where they are asked for."""
    return settings(
        max_examples=many if LONG else few,
        derandomize=not LONG,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
