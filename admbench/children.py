"""How a child process of this package is started: the same code as here, whatever folder the user is in."""

from __future__ import annotations

import os
import sys

from admbench import arithmetic


def command(module: str, *arguments: str) -> list[str]:
    """Return the command line that runs one of our modules.

    With -P the current folder is not on the path: it may hold modules of the user's that hide others.
    """
    return [sys.executable, "-P", "-m", module, *arguments]


def environment(threads: int | None = None) -> dict[str, str]:
    """Return the environment of a child: that of this process and, if given, the child's share of the cores.

    What the child computes repeats bit for bit: see `admbench.arithmetic`.
    """
    variables = arithmetic.reproducible(os.environ)
    variables["TOKENIZERS_PARALLELISM"] = "false"
    if threads is not None:
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            variables[name] = str(threads)
    return variables


def timing_environment() -> dict[str, str]:
    """Return the environment of a child that measures time: that of this process, MKL as fast as it is for users."""
    return arithmetic.as_set_by_user(os.environ)
