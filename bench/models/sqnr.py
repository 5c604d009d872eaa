"""How close two predictions of a backbone are."""

from __future__ import annotations

import math

from torch import Tensor


def sqnr_db(expected: Tensor, found: Tensor) -> float | None:
    """Return the mean square of `expected` over that of the difference, dB; None where there is no difference."""
    power, error = expected.double().pow(2).mean().item(), (found - expected).double().pow(2).mean().item()
    return 10 * math.log10(power / error) if power > 0 and error > 0 else None
