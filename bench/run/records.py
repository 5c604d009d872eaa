"""Puts records together, and writes none that a board would refuse.

What plug-ins say (names, reasons, options, reports, notes) is made plain and cut to its limits as it is written
(`admbench.leaderboard.tidy`); a score that is none costs itself alone. Then the cell is read as boards read it.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from admbench.bench.measurement import environment
from admbench.bench.run.jobs import CellJob
from admbench.bench.run.layout import JobFolder
from admbench.errors import DataError, PluginError
from admbench.files import write_text_atomic
from admbench.identities import PluginIdentity
from admbench.leaderboard.consistency import score_problems
from admbench.leaderboard.per_caption import PerCaption, write_per_caption
from admbench.leaderboard.reading import parse_record, read_whole
from admbench.leaderboard.record import SCHEMA_VERSION, Score
from admbench.leaderboard.tidy import plain_json, tidied, tidied_score
from admbench.leaderboard.untrusted import decode_json
from admbench.methods.spec import FULL_PRECISION, MethodSpec
from admbench.metrics.keys import score_keys
from admbench.private_text import Private
from admbench.versions import git_state

Section = dict[str, Any]


class Clock:
    """When a job began."""

    def __init__(self) -> None:
        self._started = datetime.now(UTC)
        self._counter = time.perf_counter()

    def provenance(self, job: CellJob, before: float) -> Section:
        """Return the `provenance` section for a job that began with this clock, after some seconds, and ends now."""
        return _provenance(job, self._started, before + time.perf_counter() - self._counter)


def done_record(
    job: CellJob,
    *,
    model: Section,
    method: Section,
    suite: Section,
    generation: Section,
    scores: Section,
    audio: Section,
    size: Section,
    latency: Section,
    memory: Section,
    calibration: Section | None,
    clock: Clock,
    seconds_before: float,
) -> Section:
    """Return the record of a finished cell; its sections are as in `admbench.leaderboard.record`.

    `seconds_before` is what went into its checkpoint, in another process.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "status": "done",
        "reason": None,
        "model": model,
        "method": method,
        "suite": suite,
        "generation": generation,
        "scores": scores,
        "audio": audio,
        "size": size,
        "latency": latency,
        "memory": memory,
        "calibration": calibration,
        "environment": _environment(job, job.device),
        "provenance": clock.provenance(job, seconds_before),
    }


def failed_record(job: CellJob, reason: str, seconds: float) -> Section:
    """Return the record of a cell that failed: what is known from the job, and why it failed."""
    return _unfinished_record(job, "failed", reason, seconds)


def skipped_record(job: CellJob, reason: str) -> Section:
    """Return the record of a cell that cannot run here: what is known from the job, and what is missing."""
    return _unfinished_record(job, "skipped", reason, 0.0)


def _unfinished_record(job: CellJob, status: str, reason: str, seconds: float) -> Section:
    ended = {"failed": "the cell failed", "skipped": "the cell was skipped"}[status]
    return {
        "schema_version": SCHEMA_VERSION,
        "status": status,
        "reason": reason,
        "model": {"name": job.model},
        "method": {**method_identity(job), "components": _component_of(job)},
        "suite": {"name": job.suite_name},
        "generation": None,
        "scores": {key: {"value": None, "reason": ended} for key in _requested_keys(job)},
        "audio": None,
        "size": None,
        "latency": None,
        "memory": None,
        "calibration": None,
        "environment": _environment(job, "cpu"),
        "provenance": _provenance(job, datetime.now(UTC) - timedelta(seconds=seconds), seconds),
    }


def _component_of(job: CellJob) -> list[str] | None:
    """Return the component that a cell is about; None where the job asks for several, which the model may not have."""
    asked = ("backbone",) if job.method == FULL_PRECISION else job.components
    return list(asked) if len(asked) == 1 else None


def method_identity(job: CellJob) -> Section:
    """Return the keys of the `method` section that follow from the job alone."""
    parsed = MethodSpec.parse(job.method)
    return {
        "name": parsed.name,
        "spec": job.method,
        "repeat": job.repeat,
        "bits": {"weight": parsed.weight_bits, "activation": parsed.activation_bits},
    }


def _requested_keys(job: CellJob) -> list[str]:
    """Return the keys of all scores that were asked for; a metric that cannot be loaded stands under its own name."""
    keys = []
    for metric in job.metrics:
        try:
            keys += score_keys([metric], job.judges.further())
        except PluginError:
            keys.append(metric)
    return keys


def write_record(path: Path, record: Section) -> None:
    """Make a record plain and tidy and take out what is private, validate it as a board would, and write it atomically.

    Raises:
        DataError: the record contradicts the schema or itself: a mistake of the harness or of a plug-in.
    """
    said = tidied(Private.here().hidden_in(plain_json(record)))
    text = json.dumps(said, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    parse_record(decode_json(text.encode(), path), path)
    write_text_atomic(path, text)


def write_results(folder: JobFolder, record: Section, content: PerCaption) -> None:
    """Write the per-caption results of a cell and then its record, and read both as boards do.

    Raises:
        DataError: besides what `write_record` raises, the per-caption results break their format, or are not what the
            record says, or the captions are none that a board takes: a mistake of the harness or of a plug-in. Then
            there is no record.
    """
    write_per_caption(folder.per_caption, content)
    write_record(folder.record, record)
    try:
        read_whole(folder.path, folder.record)
    except DataError:
        folder.record.unlink()
        raise


def sound_scores(scores: Section) -> Section:
    """Return scores as JSON; one that no board would take (a plug-in's NaN, an interval beside its value) is missing
    then, with the reason, and costs no other."""
    return {key: _sound(key, score) for key, score in plain_json(scores).items()}


def _sound(key: str, score: Section) -> Section:
    try:
        found = [": ".join(one) for one in score_problems(key, Score.model_validate(tidied_score(score)))]
    except ValidationError as error:
        details = error.errors(include_url=False)
        found = [f"{'.'.join(map(str, detail['loc'])) or 'score'}: {detail['msg']}" for detail in details]
    return {"value": None, "reason": f"the metric gave no valid score: {found[0]}"} if found else score


def _provenance(job: CellJob, started: datetime, seconds: float) -> Section:
    return {
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(seconds, 3),
        "git": git_state(),
        "command": job.command,
        "submitter": job.submitter,
        "code": dict(job.made_by.code),
        "plugins": {key: _state(one) for key, one in job.made_by.plugins.items()},
    }


def _environment(job: CellJob, device: str) -> Section:
    """Return the section, with the variables by which libraries were told to compute in another way."""
    return environment.describe(device, job.threads) | {"modes": job.made_by.arithmetic.get("modes", {})}


def _state(plugin: PluginIdentity) -> Section:
    """Return a plug-in's identity without its group and name, which it stands under."""
    return {name: value for name, value in asdict(plugin).items() if name not in ("group", "name")}
