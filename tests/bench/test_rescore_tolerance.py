"""How far a score may be from what its clips give: as far as another order of adding takes it, and no further."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from admbench.bench.scoring.rescore import _same


@pytest.mark.parametrize(
    ("value", "interval", "again", "same"),
    [
        (20.0, None, 20.019, True),
        (20.0, None, 20.021, False),
        (20.0, [18.0, 22.0], 20.039, True),  # 1 % of the interval is more than 0.1 % of the score
        (20.0, [18.0, 22.0], 20.041, False),
        (0.0, [-0.1, 0.1], 0.0019, True),
        (0.0, [-0.1, 0.1], 0.0021, False),
    ],
)
def test_it_is_a_thousandth_of_the_score_or_a_hundredth_of_its_interval(
    value: float, interval: Any, again: float, same: bool
) -> None:
    score: Any = SimpleNamespace(value=value, ci95=interval)
    assert _same(score, again) == same
