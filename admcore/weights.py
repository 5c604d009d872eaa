"""Where the user keeps large published weights."""

from __future__ import annotations

import os
from pathlib import Path

WEIGHTS_VARIABLE = "ADMBENCH_WEIGHTS"


def weights_folder() -> Path | None:
    """Return the folder of published weights, `$ADMBENCH_WEIGHTS`; None where the variable is not set."""
    chosen = os.environ.get(WEIGHTS_VARIABLE)
    return Path(chosen).expanduser() if chosen else None
