"""One run of the embedded models for all slow tests that judge it: made once, whichever worker asks first."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from admbench.bench.cli.app import main

MODELS = ("tiny-audioldm", "tiny-tango", "tiny-make-an-audio")
METHODS = ("fp32", "bf16", "naive@w4a8", "naive@w3a8", "q-diffusion@w4a8", "ptq4adm@w4a8")
CAPTIONS = 48


def make_embedded_run(factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the run, finished; workers of one test session share it, and wait for each other."""
    own = factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    run = shared / "embedded-run"
    with open(shared / "embedded-run.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        grid = ["--models", ",".join(MODELS), "--methods", ",".join(METHODS), "--limit", str(CAPTIONS)]
        assert main(["run", *grid, "--metrics", "fd,latent_sqnr", "--out", str(run), "--quiet"]) == 0
    return run
