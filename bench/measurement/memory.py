"""Peak memory of this process, as the operating system saw it."""

from __future__ import annotations

import resource
import sys
from pathlib import Path


def peak_resident_bytes() -> int:
    """Return the largest resident set that this process ever had, in bytes.

    It counts everything: the interpreter, the libraries, weights, activations. On Linux it is `VmHWM`, which starts
    anew with the program; `getrusage`, used elsewhere, would hand down the peak of the process that started this one.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
