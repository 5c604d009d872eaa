"""What a job's results are made by beside its settings: code, plug-ins, packages, and the arithmetic of the machine.

It is part of every key. The process that plans writes it into the job, and the process that does the job compares it
with what it is itself (`refuse_others`): code that was edited in between is refused, not mixed; so is another machine.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from admbench import arithmetic, versions
from admbench.errors import UsageError
from admbench.identities import PluginIdentity
from admbench.methods.core.native.choice import chosen as native_choice
from admbench.versions import COMPUTING, source_sha256

RUN: tuple[str, ...] = (
    "caption_results",
    "cell",
    "checkpoint",
    "generating",
    "groundwork",
    "parts",
    "program",
    "quantizing",
    "records",
    "splitting",
    "work",
)
"""Modules of `admbench.bench.run` that compute or say what a result is."""
_RECORD: tuple[str, ...] = ("consistency", "inference.influence", "inference.scores", "per_caption", "record", "tidy")
"""Those of `admbench.leaderboard` that say which scores are sound, and what a record and its other half hold."""

CODE: Mapping[str, Callable[[], str]] = {
    "common": versions.common_sha256,
    "run": lambda: versions.files_sha256(*(f"admbench.bench.run.{name}" for name in RUN)),
    "measurement": lambda: source_sha256("admbench.bench.measurement"),
    "suites": lambda: source_sha256("admbench.bench.suites"),
    "models": lambda: source_sha256("admbench.bench.models"),
    "methods": lambda: versions.used_sha256("admbench.methods"),
    "audio": lambda: versions.files_sha256("admbench.metrics.audio", "admbench.bench.scoring.clips"),
    "metrics": lambda: source_sha256("admbench.metrics"),
    "scoring": lambda: source_sha256("admbench.bench.scoring"),
    "record": lambda: versions.files_sha256(*(f"admbench.leaderboard.{name}" for name in _RECORD)),
}
"""Part of our code -> hash of its source. What plans, starts processes or shows results computes no number.

`methods` is what all methods share; the file of one counts where that method runs, by its plug-in's identity."""


class Stage(BaseModel):
    """What computes in a stage."""

    model_config = ConfigDict(frozen=True)

    code: tuple[str, ...]
    """Names in `CODE`."""
    packages: tuple[str, ...]
    """Names in `COMPUTING`."""


_MAKING = ("common", "run", "measurement", "models", "methods")
STAGES: Mapping[str, Stage] = {
    "audio": Stage(code=("common", "run", "suites", "audio"), packages=("synthesis",)),
    "calibration": Stage(code=(*_MAKING, "suites"), packages=("generating",)),
    "checkpoint": Stage(code=(*_MAKING, "suites"), packages=("generating",)),
    "latency": Stage(code=_MAKING, packages=("generating",)),
    "texts": Stage(code=_MAKING, packages=("generating",)),
    "generate": Stage(code=(*_MAKING, "audio"), packages=("generating",)),
    "trajectory": Stage(code=_MAKING, packages=("generating",)),
    "features": Stage(code=("common", "run", "metrics", "scoring"), packages=("scoring",)),
    "score": Stage(code=("common", "run", "measurement", "metrics", "scoring", "record"), packages=("scoring",)),
}
"""Name of a stage -> what computes in it. So an edited metric generates nothing again."""


class MadeBy(BaseModel):
    """What results are made by."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    code: dict[str, str] = {}
    """Part of our code -> hash of its source."""
    plugins: dict[str, PluginIdentity] = {}
    """`GROUP NAME` of each plug-in that runs -> what tells its state from another."""
    packages: dict[str, str | None] = {}
    """Distribution that computes -> version."""
    arithmetic: dict[str, Any] = {}
    """As `admbench.arithmetic.identity` says it, and what computes attention between quantized products."""

    def of_stage(self, name: str, plugins: Iterable[PluginIdentity] = ()) -> list[Any]:
        """Return what a stage's key has of it.

        Args:
            name: of the stage, in `STAGES`.
            plugins: that run in it.
        """
        stage = STAGES[name]
        computing = sorted({one for use in stage.packages for one in COMPUTING[use]})
        return [
            {part: self.code.get(part) for part in stage.code},
            {one: self.packages.get(one) for one in computing},
            sorted(one.sha256 for one in plugins),
            self.arithmetic,
        ]

    def differences(self, here: MadeBy) -> list[str]:
        """Return what tells another from this one, one text each, such as `packages.torch: 2.9.1, here 2.10.0`."""
        own, other = _flat(self.model_dump(mode="json")), _flat(here.model_dump(mode="json"))
        return [
            f"{name}: {_short(own.get(name))}, here {_short(other.get(name))}"
            for name in sorted({*own, *other})
            if own.get(name) != other.get(name)
        ]


def made_by_here(plugins: Iterable[PluginIdentity], device: str) -> MadeBy:
    """Return what results would be made by in a process of this machine that runs some plug-ins."""
    used = {one for names in COMPUTING.values() for one in names}
    return MadeBy(
        code={part: digest() for part, digest in CODE.items()},
        plugins={one.key: one for one in plugins},
        packages=versions.distribution_versions(sorted(used)),
        arithmetic=arithmetic.identity(arithmetic.reproducible(os.environ), device)
        | {"attention": native_choice().attention if device == "cpu" else None},
    )


def refuse_others(planned: MadeBy, here: MadeBy, what: str) -> None:
    """Refuse to do a job that was planned with other code, packages, plug-ins or arithmetic than this process has.

    Raises:
        UsageError: the first difference.
    """
    apart = planned.differences(here)
    if apart:
        more = f" and {len(apart) - 1} more" if len(apart) > 1 else ""
        raise UsageError(f"{what}: planned with what does not run here ({apart[0]}{more}); the same command plans anew")


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: value}
    parts = (_flat(inner, f"{prefix}.{key}" if prefix else key) for key, inner in value.items())
    return {name: one for part in parts for name, one in part.items()}


def _short(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text[:12] if len(text) == 64 else text
