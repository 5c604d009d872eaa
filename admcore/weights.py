"""Where the user keeps large published weights."""

from __future__ import annotations

import os
from pathlib import Path


def weights_folder() -> Path | None:
    """Return the folder of published weights, `$ADMBENCH_WEIGHTS`; None where the variable is not set."""
    chosen = os.environ.get("ADMBENCH_WEIGHTS")
    return Path(chosen) if chosen else None
