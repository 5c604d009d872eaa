"""The hardware and software that a number belongs to."""

from __future__ import annotations

import os
import platform
from functools import cache
from pathlib import Path
from typing import Any

from admbench import arithmetic
from admbench.versions import COMPUTING, distribution_versions

PACKAGES = ("admbench", "torch", "torchaudio", "diffusers", "transformers", "numpy", "scipy", "safetensors", "soxr")
"""Those without which nothing runs."""


def describe(device: str, threads: int) -> dict[str, Any]:
    """Return the `environment` section of a record. It holds no host name, user name or path."""
    return {
        "machine": f"{platform.machine()} {platform.system()}",
        "cpu": cpu_name(),
        "gpu": _gpu_name() if device == "cuda" else None,
        "threads": threads,
        "packages": package_versions(),
        "instruction_sets": arithmetic.instruction_sets(),
        "cores": cores(),
        "mkl_cbwr": arithmetic.mode(),
    }


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def cpu_name() -> str:
    """Return the model name of the processor, as the operating system gives it."""
    for key, value in _cpuinfo():
        if key == "model name":
            return value
    return platform.processor() or platform.machine()


def package_versions() -> dict[str, str]:
    """Return the versions of Python and of the installed packages that can change a number."""
    computing = {name for names in COMPUTING.values() for name in names}
    found = distribution_versions([*PACKAGES, *sorted(computing - {*PACKAGES})])
    return {"python": platform.python_version(), **{name: own for name, own in found.items() if own is not None}}


def _cpuinfo() -> list[tuple[str, str]]:
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return []
    pairs = (line.partition(":") for line in path.read_text(encoding="utf-8", errors="replace").splitlines())
    return [(key.strip(), value.strip()) for key, _, value in pairs]


def _gpu_name() -> str:
    import torch

    return str(torch.cuda.get_device_name())
