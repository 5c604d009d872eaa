"""The hardware and software that a number belongs to."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from admbench import arithmetic

PACKAGES = ("admbench", "torch", "torchaudio", "diffusers", "transformers", "numpy", "scipy", "safetensors", "soxr")
INSTRUCTION_SETS = (
    "avx2",
    "fma",
    "avx512f",
    "avx512bw",
    "avx512_vnni",
    "avx_vnni",
    "avx512_bf16",
    "amx_int8",
    "amx_bf16",
)


def describe(device: str, threads: int) -> dict[str, Any]:
    """Return the `environment` section of a record. It holds no host name, user name or path."""
    return {
        "machine": f"{platform.machine()} {platform.system()}",
        "cpu": cpu_name(),
        "gpu": _gpu_name() if device == "cuda" else None,
        "threads": threads,
        "packages": package_versions(),
        "instruction_sets": instruction_sets(),
        "cores": cores(),
        "mkl_cbwr": arithmetic.mode(),
    }


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_name() -> str:
    """Return the model name of the processor, as the operating system gives it."""
    for key, value in _cpuinfo():
        if key == "model name":
            return value
    return platform.processor() or platform.machine()


def instruction_sets() -> list[str]:
    """Return those of `INSTRUCTION_SETS` that the processor has; empty where Linux's /proc/cpuinfo is missing."""
    flags: set[str] = set()
    for key, value in _cpuinfo():
        if key == "flags":
            flags = set(value.split())
            break
    return [name for name in INSTRUCTION_SETS if name in flags]


def package_versions() -> dict[str, str]:
    """Return the versions of Python and of the installed packages that can change a number."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        for distribution in metadata.distributions(name=name):
            versions[name] = distribution.version
            break
    return versions


def _cpuinfo() -> list[tuple[str, str]]:
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return []
    pairs = (line.partition(":") for line in path.read_text(encoding="utf-8", errors="replace").splitlines())
    return [(key.strip(), value.strip()) for key, _, value in pairs]


def _gpu_name() -> str:
    import torch

    return str(torch.cuda.get_device_name())
