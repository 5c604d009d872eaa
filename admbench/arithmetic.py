"""Whether products of float32 matrices come out the same, bit for bit, when they are computed again on this processor.

torch multiplies float32 matrices on x86 with Intel's MKL. On an Intel processor with AVX-512 the order in which MKL
adds depends on shapes, strides and threads, which a repeated computation has in common. On others (seen: AMD EPYC, Zen
4; an Intel Xeon that MKL_ENABLE_INSTRUCTIONS held to AVX2) it depends on the addresses of the matrices too, which
change from run to run: the same Linear of the same numbers differs by 4e-7, and where a rounding of codes follows, by
a whole step. MKL has a mode for it, "conditional numerical reproducibility", read from MKL_CBWR at the first product
of a process: set to a set of instructions, it takes these, whatever the addresses.

On that EPYC AVX2 is what MKL takes anyway. Narrow products at six addresses each (`tests/admbench/test_arithmetic.py`)
differed in 98 of 767 without the mode and in none of several thousand with AVX2, of one thread and of two, and took the
same time. What it costs on Intel's without AVX-512 was not tried: there it is COMPATIBLE, which uses SSE2 alone and
is slower (on the EPYC 40 against 102 GFLOP/s), so that times are taken without it.

Integer products, packing and whatever else oneDNN or torch computes repeat in any mode. Nothing here imports torch.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

VARIABLE = "MKL_CBWR"
ANYWHERE = "COMPATIBLE"
"""The mode that repeats on every processor."""
AVX2 = "AVX2"
"""The mode that repeats on AMD's."""
LIMIT = "MKL_ENABLE_INSTRUCTIONS"
"""The newest instruction set that MKL may use, where the user sets it."""
COST = "fp32 steps take up to 1.4 times as long"
"""Of ANYWHERE: 39.3 ms instead of 28.4 for one of tiny-tango on one thread of the EPYC."""
INTEL, AMD = "GenuineIntel", "AuthenticAMD"

MODES = (
    "ADMBENCH_NATIVE",
    VARIABLE,
    LIMIT,
    "ATEN_CPU_CAPABILITY",
    "CUBLAS_WORKSPACE_CONFIG",
    "DNNL_DEFAULT_FPMATH_MODE",
    "DNNL_MAX_CPU_ISA",
    "NPY_DISABLE_CPU_FEATURES",
    "NVIDIA_TF32_OVERRIDE",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "ONEDNN_MAX_CPU_ISA",
    "OPENBLAS_CORETYPE",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
    "TORCH_BLAS_PREFER_CUBLASLT",
    "TORCH_CUDNN_USE_HEURISTIC_MODE_B",
    "TORCH_CUDNN_V8_API_DISABLED",
    "TORCH_MKLDNN_MATMUL_MIN_DIM",
    "TORCH_MKLDNN_MATMUL_MIN_SIZE",
)
"""Variables by which MKL, torch, oneDNN, numpy, cuBLAS, cuDNN, OpenBLAS and we choose other instructions or precisions,
or other libraries for a product."""
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
    "asimddp",
    "i8mm",
    "bf16",
    "sve",
)
"""Of those that a processor has, libraries and our kernels take the widest: each adds in another order."""

_OURS = "ADMBENCH_SET_MKL_CBWR"
"""Set beside VARIABLE by this package, so that a child that measures time can take it back."""


def needs_mode() -> bool:
    """Return whether MKL's products do not repeat here unless it is told to: on x86, but for Intel's with AVX-512."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return False
    return not (vendor() == INTEL and has("avx512f") and os.environ.get(LIMIT, "AVX512").upper().startswith("AVX512"))


def reproducible_mode() -> str:
    """Return the mode in which MKL's products repeat on this processor: of those that do, the fastest."""
    limit = os.environ.get(LIMIT, AVX2).upper()
    return AVX2 if vendor() == AMD and has("avx2") and limit.startswith(("AVX2", "AVX512")) else ANYWHERE


def mode(environment: Mapping[str, str] | None = None) -> str | None:
    """Return MKL's mode of reproducibility as an environment (None: of this process) sets it; None is its default."""
    return (os.environ if environment is None else environment).get(VARIABLE) or None


def repeats() -> bool:
    """Return whether this process computes the same products to the same bits, if it was started as it is now."""
    return not needs_mode() or (mode() or "").upper().partition(",")[0] in (ANYWHERE, reproducible_mode())


def reproducible(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment with MKL's reproducible mode where it is needed. A mode that the user set stays."""
    if not needs_mode() or mode(environment) is not None:
        return dict(environment)
    return {**environment, VARIABLE: reproducible_mode(), _OURS: "1"}


def as_set_by_user(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without what `reproducible` put in: for a process that measures time."""
    if _OURS not in environment:
        return dict(environment)
    return {name: value for name, value in environment.items() if name not in (_OURS, VARIABLE)}


def undo() -> None:
    """Take out of this process's environment what `reproducible` put in, before it computes the first product."""
    if _OURS in os.environ:
        del os.environ[_OURS], os.environ[VARIABLE]


def slowed() -> bool:
    """Return whether this process runs in a slower mode that the user did not ask for."""
    return _OURS in os.environ and mode() == ANYWHERE


def vendor() -> str:
    """Return the vendor that the processor names, such as `GenuineIntel` or `AuthenticAMD`; empty if not known."""
    # Windows: "AMD64 Family 25 ..., AuthenticAMD"
    return _described("vendor_id") or platform.processor().rpartition(" ")[2]


def processor() -> str:
    """Return the model of the processor, as Linux says it; empty if not known."""
    return _described("model name")


def has(flag: str) -> bool:
    """Return whether the processor says that it has some instructions, as Linux names them; False if not known."""
    return flag in _described("flags").split()


def identity(environment: Mapping[str, str], device: str) -> dict[str, Any]:
    """Return what else than versions and threads decides in which order, and how exactly, products are added here.

    Args:
        environment: of the process that computes.
        device: `cpu` or `cuda`.
    """
    return {
        "machine": platform.machine(),
        "vendor": vendor(),
        "instruction_sets": instruction_sets(),
        "modes": {name: environment[name] for name in MODES if environment.get(name)},
        "gpus": gpus() if device == "cuda" else [],
    }


def instruction_sets() -> list[str]:
    """Return those of `INSTRUCTION_SETS` that the processor has; empty where Linux's /proc/cpuinfo is missing."""
    flags = {*_described("flags").split(), *_described("Features").split()}
    return [name for name in INSTRUCTION_SETS if name in flags]


def gpus() -> list[str]:
    """Return the names of NVIDIA's accelerators, as their driver lists them, without torch; empty if not known."""
    named = []
    for file in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        named += [line.partition(":")[2].strip() for line in lines if line.startswith("Model:")]
    return named


@cache
def _described(key: str) -> str:
    """Return what Linux says of the first processor under a key; empty if nothing."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")
