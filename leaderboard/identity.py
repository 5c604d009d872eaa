"""What defines a cell: everything that its numbers follow from, and nothing else.

Two records of one identity are two attempts at the same cell, and the later one counts. Records of different
identities stand side by side, and `differences` says in words what tells them apart. Where and by whom a cell was run
is no part of it: processor and submitter are dimensions (`machine`, `submitter`), along which records of one identity
may be compared. So the later record counts of those of one machine and one submitter; nobody's record replaces that of
somebody who is named.

A part that a record does not know - of a cell that failed early, or of an older schema - disagrees with nothing.
The parts:
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from admbench.leaderboard.record import Record

NOT_A_SETTING = {"batch_size"}
"""Of `generation`: noise is drawn per caption, so the batch size does not change the audio."""
SIMULATED = "simulated"
NO_KERNELS = "none"
_SHOWN = 60

Named = tuple[tuple[str, str], ...]
"""Names with values as text, sorted by name."""


@dataclass(frozen=True)
class Identity:
    """What defines a cell; None where the record does not know. Equal and hashable by all of it."""

    model: str
    """Name."""
    weights: str | None
    """SHA-256 over the pipeline's weights."""
    method: str
    """Spec, as typed."""
    repeat: int
    """Number of the calibration draw."""
    version: str | None
    """Of the method."""
    config: Named | None
    """Every option of the method, defaults expanded; each value as JSON."""
    components: tuple[str, ...] | None
    """That are quantized."""
    suite: str
    """Name; a caption file goes by its own, wherever it lay."""
    suite_sha256: str | None
    """Over captions, seeds and reference clips."""
    captions: int | None
    """How many of the suite's captions were used."""
    split: str | None
    """Of the corpus."""
    sampling: Named | None
    """Scheduler, steps, guidance, seed and what else `generation` says, each value as JSON."""
    arithmetic: str | None
    """Kernels that ran, `simulated`, or `none` where nothing is quantized."""
    judges: Named
    """Score -> name and hash of the network behind it."""
    metrics: Named
    """Score -> version of its metric, as far as the record says."""

    def differences(self, other: Identity) -> list[str]:
        """Return what tells two cells apart, one text each, such as `components: backbone, text_encoder`.

        Empty if they are the same cell, as far as both know. The first value in a text is this one's.
        """
        return [f"{part}: {_short(own)}, {_short(theirs)}" for part, own, theirs in self._compared(other)]

    def parts_apart(self, other: Identity) -> list[str]:
        """Return the names of the parts in which two cells differ: `version`, `config.prompts`, `judges.fd`."""
        return [part for part, _, _ in self._compared(other)]

    def agrees(self, other: Identity) -> bool:
        """Return whether two records are of the same cell, as far as both know."""
        return next(self._compared(other), None) is None

    def _compared(self, other: Identity) -> Iterator[tuple[str, str, str]]:
        for part in _TEXTS:
            own, theirs = getattr(self, part), getattr(other, part)
            if own is not None and theirs is not None and own != theirs:
                yield part, str(own), str(theirs)
        if None not in (self.components, other.components) and self.components != other.components:
            yield "components", "+".join(self.components or ()), "+".join(other.components or ())
        for part in ("config", "sampling"):
            yield from _apart(part, getattr(self, part), getattr(other, part), ABSENT)
        for part in ("judges", "metrics"):  # a score that only one of two records has tells nothing apart
            yield from _apart(part, getattr(self, part), getattr(other, part), None)


_TEXTS = ("model", "weights", "method", "repeat", "version", "suite", "suite_sha256", "captions", "split", "arithmetic")
ABSENT = "absent"
"""What a difference says of an option that one of two versions of a method has."""


def identity(record: Record) -> Identity:
    """Return what defines the cell of a record."""
    model, method, suite = record.model, record.method, record.suite
    return Identity(
        model=model.name,
        weights=model.weights_sha256,
        method=method.spec,
        repeat=method.repeat,
        version=method.version,
        config=None if method.config is None else _named(method.config),
        components=None if method.components is None else tuple(method.components),
        suite=suite_name(record),
        suite_sha256=suite.sha256,
        captions=suite.n,
        split=suite.split,
        sampling=sampling(record),
        arithmetic=_arithmetic(record),
        judges=tuple(
            (key, f"{score.backbone} {score.backbone_sha256}")
            for key, score in sorted(record.scores.items())
            if score.backbone is not None and score.backbone_sha256 is not None
        ),
        metrics=tuple(
            (key, score.version) for key, score in sorted(record.scores.items()) if score.version is not None
        ),
    )


def machine(record: Record) -> str | None:
    """Return the processor that a cell ran on, with the accelerator if there was one; None where it is not known."""
    environment = record.environment
    if environment is None or record.status != "done":
        return None  # no number depends on the machine of a cell that failed
    return " + ".join(filter(None, (environment.cpu, environment.gpu)))


def submitter(record: Record) -> str | None:
    """Return who ran a cell, as they call themselves; None where nobody is named."""
    return None if record.provenance is None else record.provenance.submitter


def suite_name(record: Record) -> str:
    """Return the suite's name; a caption file goes by its own, wherever it lay."""
    return PurePath(record.suite.name).name or record.suite.name


def sampling(record: Record) -> Named | None:
    """Return the settings of `generation` that change the audio; None where none was generated."""
    settings = record.generation
    return None if settings is None else _named(settings.model_dump(mode="json", exclude=NOT_A_SETTING))


def _arithmetic(record: Record) -> str | None:
    if record.method.simulated is None or record.status != "done":
        return None
    if record.method.simulated:
        return SIMULATED
    return (record.latency and record.latency.kernel) or NO_KERNELS


def _named(values: dict[str, Any]) -> Named:
    return tuple((key, json.dumps(value, sort_keys=True, ensure_ascii=False)) for key, value in sorted(values.items()))


def _apart(part: str, own: Named | None, theirs: Named | None, absent: str | None) -> Iterator[tuple[str, str, str]]:
    """Yield the entries in which two parts differ; with `absent`, also those that only one of them has."""
    if own is None or theirs is None:
        return
    mine, other = dict(own), dict(theirs)
    for key in sorted({*mine, *other}):
        if absent is None and not (key in mine and key in other):
            continue
        pair = mine.get(key, absent or ""), other.get(key, absent or "")
        if pair[0] != pair[1]:
            yield f"{part}.{key}", *pair


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
