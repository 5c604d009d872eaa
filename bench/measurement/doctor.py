"""What this machine has, what is missing, and what will be slow and why."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from typing import Literal

import psutil

from admbench import arithmetic, cache
from admbench.bench.measurement import environment
from admbench.errors import BenchError
from admbench.registry import BUILTIN_DISTRIBUTION

State = Literal["ok", "slow", "missing"]

_NEEDED_DISK = 2e9
_NEEDED_MEMORY = 2e9


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    state: State
    what: str
    detail: str


def examine(folder: Path = Path()) -> list[Finding]:
    """Return what was found, in the order in which a run would meet it.

    Args:
        folder: where runs are written, for the free disk space.
    """
    return [*_hardware(folder), *_packages(), *_weights(), *_judges()]


def _hardware(folder: Path) -> Iterator[Finding]:
    cores, sets = environment.cores(), arithmetic.instruction_sets()
    yield Finding("ok", "cpu", environment.cpu_name())
    yield Finding(
        "slow" if cores < 2 else "ok", "cores", f"{cores}" + (": cells run one at a time" if cores < 2 else "")
    )
    from admbench.methods.core.processor import has_bf16, has_vnni

    if has_vnni():
        yield Finding("ok", "instruction sets", ", ".join(sets))
    else:
        lacking = "no VNNI for oneDNN: products of 8 by 8 bits would saturate; such layers are simulated, and not timed"
        yield Finding("slow", "instruction sets", f"{', '.join(sets) or 'not known'} ({lacking})")
    if not has_bf16():
        lacking = "no bf16 products for oneDNN: bf16 is emulated, slower than fp32, and attention stays fp32 in kernels"
        yield Finding("slow", "bf16", lacking)
    yield _attention()
    yield _threads(cores)
    yield _reproducibility()
    yield from _accelerator()
    memory = psutil.virtual_memory().available
    yield _enough("memory", memory, _NEEDED_MEMORY, "a worker takes about 1 GB")
    yield _enough("disk", shutil.disk_usage(folder).free, _NEEDED_DISK, "a run writes up to 1 GB")
    yield Finding("ok", "cache", str(cache.root()))


def _attention() -> Finding:
    """What computes attention between quantized products, measured here, once."""
    from admbench.methods.core.native.choice import OWN, chosen

    found = chosen()
    if found.attention == OWN:
        return Finding("ok", "attention", f"our kernel in C++, {found.attention}: {found.reason}")
    return Finding("slow" if found.own_ms is None else "ok", "attention", f"torch's: {found.reason}")


def _threads(cores: int) -> Finding:
    """How many threads short products are fastest with now, and what those that wait do."""
    from admbench.bench.measurement.fastest_threads import ThreadChoice, short_products_ms
    from admbench.bench.measurement.timing import OtherWork

    elsewhere = OtherWork()
    found = {count: short_products_ms(count) for count in ThreadChoice(cores).counts}
    best = min(found, key=lambda count: found[count])
    times = ", ".join(f"{count}: {milliseconds:.1f} ms" for count, milliseconds in found.items())
    said = f"a hundred short products, by threads: {times}; others kept {elsewhere.cores():.2f} cores busy meanwhile"
    policy = os.environ.get("OMP_WAIT_POLICY") or "not set"
    said += f"; OMP_WAIT_POLICY {policy}; bench latency has each network use what it is fastest with"
    return Finding("ok" if best == cores else "slow", "threads", said)


def _reproducibility() -> Finding:
    """Which mode of MKL the cells of a run compute in, why, and what it costs."""
    import torch

    chosen, what = arithmetic.mode(), "reproducibility"
    if not torch.backends.mkl.is_available():
        return Finding("ok", what, "torch multiplies without MKL here; the same command gives the same bits")
    if chosen is not None:
        known = (
            "the same command gives the same bits" if arithmetic.repeats() else "last bits may change from run to run"
        )
        return Finding("ok", what, f"{arithmetic.VARIABLE}={chosen} from the environment: {known}")
    if not arithmetic.needs_mode():
        return Finding("ok", what, "MKL's default mode; with Intel's AVX-512 the same command gives the same bits")
    mode = arithmetic.reproducible_mode()
    slower = f"; {arithmetic.COST}, times are measured in the default" if mode == arithmetic.ANYWHERE else ""
    return Finding(
        "slow" if slower else "ok",
        what,
        f"cells of a run set {arithmetic.VARIABLE}={mode}: MKL's default gives other last bits at other addresses on"
        f" {arithmetic.vendor() or 'this processor'}{slower}."
        f" {arithmetic.VARIABLE}=AUTO in the environment turns it off",
    )


def _accelerator() -> Iterator[Finding]:
    import torch

    if torch.cuda.is_available():
        yield Finding("ok", "cuda", torch.cuda.get_device_name())
    else:
        yield Finding("ok", "cuda", "none: models run on the CPU")


def _packages() -> Iterator[Finding]:
    found = environment.package_versions()
    for name in environment.PACKAGES[1:]:
        version = found.get(name)
        yield Finding("ok" if version else "missing", name, version or f"pip install {name}")
    if util.find_spec("laion_clap") is None:
        yield Finding("missing", "laion-clap", "pip install laion-clap")


def _weights() -> Iterator[Finding]:
    from admbench.bench.models import BUILTIN, EMBEDDED, fingerprint, missing_weights, registry

    for name in registry.names():
        reason = missing_weights(name) if name in BUILTIN else None
        if reason is not None and name not in EMBEDDED:
            yield Finding("ok", name, f"not here, and needed by no default: {reason}")
            continue
        try:
            yield Finding("ok", name, f"weights {fingerprint(name)[:12]}")
        except BenchError as error:
            yield Finding("missing", name, str(error))


def _judges() -> Iterator[Finding]:
    from admbench.metrics.embedders import registry

    for name in registry.names():
        info = registry.info(name)
        if info.distribution != BUILTIN_DISTRIBUTION:
            continue  # other people's code is not imported to ask it for weights
        judge = registry.get(name)
        try:
            weights, lacking = str(judge.find()), []
        except BenchError as error:
            weights, lacking = "", [str(error)]
        lacking = [*filter(None, [info.unavailable]), *lacking]
        # Only the embedded judges are needed by every run.
        state: State = "missing" if lacking and name in ("tiny-tagger", "tiny-clap") else "ok"
        found = f"not here: {'; '.join(lacking)}" if lacking else weights
        yield Finding(state, name, f"judge ({' or '.join(judge.roles)}): {found}; licence {judge.license}")


def _enough(what: str, available: float, needed: float, why: str) -> Finding:
    state: State = "ok" if available >= needed else "slow"
    return Finding(state, what, f"{available / 1e9:.1f} GB free" + ("" if state == "ok" else f": little, {why}"))
