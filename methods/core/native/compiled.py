"""The C++ sources beside this file as a library for this machine: compiled once, kept in the user's cache.

They include nothing but the compiler's own headers, so that compiling takes a second or two. They share torch's pool of
threads: both ask for `libgomp.so.1`, and a process loads it once. So it takes a compiler that makes use of it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from admbench import arithmetic
from admbench import cache as user_cache
from admbench.files import write_bytes_atomic
from admbench.hashing import sha256_file, sha256_json

FOLDER = "native"
"""In the user's cache."""
SOURCES = tuple(sorted(Path(__file__).parent.glob("*.cpp")))
_HEADERS = tuple(sorted(Path(__file__).parent.glob("*.h")))
VARIABLE = "ADMBENCH_NATIVE"
"""In the environment: `0` leaves everything to torch."""
NEEDED = ("avx512f", "avx512bw", "avx512_bf16", "avx512_vnni")
"""Instruction sets, as Linux names them."""
_LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
_WITH_BF16 = ("", "DEFAULT", "ALL", "AVX512_CORE_BF16", "AVX512_CORE_FP16", "AVX512_CORE_AMX", "AVX512_CORE_AMX_FP16")
"""What oneDNN may be limited to so that its products, and so ours, are of bfloat16."""
_FLAGS = (
    *("-O3", "-std=c++17", "-fPIC", "-shared", "-fopenmp", "-w"),
    *("-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mavx512bf16", "-mavx512vnni", "-mfma"),
)
_SECONDS = 120.0


class NotCompiledError(Exception):
    """There is no library here; the text says why."""


def refusal() -> str | None:
    """Return why nothing here can be compiled or run on this machine, None if it can. Compiles nothing."""
    if os.environ.get(VARIABLE) == "0":
        return f"{VARIABLE}=0 in the environment"
    lacking = [name for name in NEEDED if name not in arithmetic.instruction_sets()]
    if lacking:
        return f"the processor has no {', '.join(lacking)}"
    limit = next((os.environ[name].upper() for name in _LIMITS if os.environ.get(name)), "")
    if limit not in _WITH_BF16:
        return f"oneDNN is limited to {limit}"
    found = compiler()
    if found is None:
        return "no C++ compiler: expected c++ or g++ on the path, or CXX in the environment"
    if "clang" in found[1].lower():
        return f"{found[1]} brings threads of its own; expected GCC"
    return None


def library() -> Path:
    """Return the library, which is compiled if it is not in the cache.

    Raises:
        NotCompiledError: it cannot be compiled, or not be kept.
    """
    reason = refusal()
    if reason is not None:
        raise NotCompiledError(reason)
    kept = user_cache.path(FOLDER, identity(), ".so")
    if kept.exists():
        return kept
    found = compiler()
    assert found is not None
    try:
        with tempfile.TemporaryDirectory() as scratch:
            made = Path(scratch) / "native.so"
            command = [found[0], *_FLAGS, *map(str, SOURCES), "-o", str(made)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
            if done.returncode:
                said = (done.stderr.strip().splitlines() or ["no message"])[0]
                raise NotCompiledError(f"{found[0]}: exit code {done.returncode}: {said[:200]}")
            write_bytes_atomic(kept, made.read_bytes())
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotCompiledError(f"{type(error).__name__}: {error}") from error
    return kept


@cache
def identity() -> str:
    """Return a hash of the sources, the compiler and its flags: libraries of one identity are the same."""
    found = compiler()
    return sha256_json([{path.name: sha256_file(path) for path in (*SOURCES, *_HEADERS)}, found and found[1], _FLAGS])


@cache
def compiler() -> tuple[str, str] | None:
    """Return the C++ compiler and the first line of what it says of its version; None if there is none."""
    for name in filter(None, (os.environ.get("CXX"), "c++", "g++")):
        path = shutil.which(name)
        if path is None:
            continue
        try:
            said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=_SECONDS, check=True)
        except (OSError, subprocess.SubprocessError):
            continue
        return path, (said.stdout.splitlines() or [""])[0]
    return None
