"""`bench selftest`: does a device compute what it should, and how fast is it? For a machine that nobody here has.

A list of checks, each by itself: what fails or is skipped says why, and the others go on. A check is begun only if the
time that is left is enough for it, so that the whole takes ten minutes and no more.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib import util
from pathlib import Path
from typing import Any, Literal

import torch

from admbench.bench.measurement import environment
from admbench.bench.measurement.latency import Settings
from admbench.bench.measurement.latency_section import measure_latency
from admbench.bench.models import load_model
from admbench.bench.run.grid import load_grid
from admbench.bench.run.runner import run_grid
from admbench.bench.studies.kernel_check import LEAST_DB, check_kernel
from admbench.errors import BenchError
from admbench.methods.core.kernels.base import Kernel
from admbench.methods.core.kernels.select import KERNELS

State = Literal["passed", "failed", "skipped"]
MODELS = {"audioldm-s-full-v2": (60, 200), "tango": (90, 420), "stable-audio-open-1.0": (150, 900)}
"""Backbones that are timed at full size, U-Nets and a DiT -> about how many seconds that takes on CUDA, and on a CPU
of two cores."""
METHOD = "naive@w8a8"
LEAST_MODEL_DB = 20.0
"""Of a backbone with kernels against full precision, at W8A8: below it something else than rounding is wrong."""
GRID: dict[str, Any] = {
    "models": ["tiny-audioldm", "tiny-tango"],
    "methods": ["fp32", "naive@w8a8", "naive@w4a8"],
    "limit": 4,
    "generation.steps": 4,
}


class SkippedCheck(Exception):
    """A check cannot be made here, for the reason that it says."""


@dataclass(frozen=True)
class Check:
    """One thing that is checked."""

    name: str
    seconds: float
    """About how long it takes."""
    run: Callable[[], tuple[str, dict[str, Any]]]
    """Returns what was found, in one line and in numbers; raises `SkippedCheck`, or anything else if it fails."""


@dataclass(frozen=True)
class Outcome:
    """What became of a check."""

    name: str
    state: State
    detail: str
    seconds: float
    numbers: dict[str, Any] = field(default_factory=dict)


def plan(device: str) -> list[Check]:
    """Return the checks of a device, in their order: what is quick and says most comes first."""
    kernels = [Check(f"kernel {one.name}", 10, partial(_kernel, one, device)) for one in KERNELS]
    timings = [
        Check(f"time {name}", on_cuda if device == "cuda" else on_cpu, partial(_timing, name, device))
        for name, (on_cuda, on_cpu) in MODELS.items()
    ]
    return [*kernels, Check("grid", 120, partial(_grid, device)), *timings]


def selftest(device: str, limit_seconds: float, checks: Sequence[Check] | None = None) -> Iterator[Outcome]:
    """Make the checks, and yield what became of each as soon as it is known.

    Args:
        device: type of the device.
        limit_seconds: no check is begun that takes longer than what is left of this.
        checks: what is checked; None is `plan(device)`.
    """
    began = time.perf_counter()
    for check in plan(device) if checks is None else checks:
        left = limit_seconds - (time.perf_counter() - began)
        if _absent(device):
            yield Outcome(check.name, "skipped", "there is no CUDA device", 0.0)
        elif check.seconds > left:
            yield Outcome(check.name, "skipped", f"takes about {check.seconds:.0f} s, and {left:.0f} are left", 0.0)
        else:
            yield _made(check)


def report(device: str, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return everything that was found, as JSON."""
    there = "cpu" if _absent(device) else device
    return {
        "device": device,
        "environment": environment.describe(there, environment.cores()),
        "passed": passed(outcomes),
        "checks": [asdict(outcome) for outcome in outcomes],
    }


def passed(outcomes: Sequence[Outcome]) -> bool:
    """Return whether nothing failed, and something was checked at all."""
    states = {outcome.state for outcome in outcomes}
    return "failed" not in states and "passed" in states


def _absent(device: str) -> bool:
    return device == "cuda" and not torch.cuda.is_available()


def _made(check: Check) -> Outcome:
    began = time.perf_counter()
    state: State
    numbers: dict[str, Any] = {}
    try:
        detail, numbers = check.run()
        state = "passed"
    except SkippedCheck as reason:
        state, detail = "skipped", str(reason)
    except Exception as error:  # whatever a device stumbles over is a finding, and the other checks go on
        first = (str(error).strip().splitlines() or ["no message"])[0][:300]
        state, detail = "failed", first if isinstance(error, BenchError) else f"{type(error).__name__}: {first}"
    return Outcome(check.name, state, detail, time.perf_counter() - began, numbers)


def _kernel(kernel: Kernel, device: str) -> tuple[str, dict[str, Any]]:
    if kernel.device != device:
        raise SkippedCheck(f"a kernel for {kernel.device}")
    computed, worst, refused = check_kernel(kernel, device)
    if not computed:
        raise SkippedCheck(f"refuses: {refused}")
    if worst is not None and worst < LEAST_DB:
        raise BenchError(f"{worst:.1f} dB to the simulation; expected at least {LEAST_DB:g}")
    agreement = "no difference" if worst is None else f"at least {worst:.1f} dB"
    return f"{computed} layers, {agreement} to the simulation", {"layers": computed, "sqnr_db": worst}


def _grid(device: str) -> tuple[str, dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        grid = load_grid(None, {**GRID, "out": str(Path(folder) / "run"), "execution.device": device})
        results = run_grid(grid, command=f"bench selftest --device {device}")
    reasons = [result.reason for result in results if result.reason is not None]
    if reasons:
        raise BenchError(f"{len(reasons)} of {len(results)} cells have no result; the first: {reasons[0]}")
    return f"{len(results)} cells of {len(GRID['models'])} models, all with their scores", {"cells": len(results)}


def _timing(name: str, device: str) -> tuple[str, dict[str, Any]]:
    model = load_model(name, random_weights=True, device=device)
    baselines = ["bf16"]
    if device == "cuda":  # a CPU multiplies float16 as float32
        baselines += ["autocast:float16", "autocast:bfloat16"]
    if util.find_spec("torchao") is not None:
        baselines.append("torchao-int8@w8a8")
    settings = Settings(repeats=5, threads=environment.cores())
    section = measure_latency(model, METHOD, baselines=baselines, settings=settings, steps=1)
    if section["kernel"] is None:
        raise BenchError(f"no kernel runs: {section['reason']}")
    if section["sqnr_db"] is not None and section["sqnr_db"] < LEAST_MODEL_DB:
        raise BenchError(f"{section['sqnr_db']:.1f} dB to full precision; expected at least {LEAST_MODEL_DB:g}")
    others = [f"{one} {_milliseconds(found)}" for one, found in section["baselines"].items()]
    ours = f"{METHOD} {section['step_ms']['median']:.1f} ms, {section['sqnr_db']:.1f} dB"
    return f"{ours}; {', '.join(others)}", {"latency": section}


def _milliseconds(found: dict[str, Any]) -> str:
    return f"{found['step_ms']['median']:.1f} ms" if "step_ms" in found else f"none: {found['reason']}"
