"""Asks, in a child process, what is to be known of method specs before a run; see `admbench.bench.run.preflight`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from typing import IO, Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from admbench import children
from admbench.errors import UsageError
from admbench.methods.core.calibration.request import CalibrationRequest

TIMEOUT_SECONDS = 900.0
"""Of all questions together."""
_MOST_BYTES = 1 << 24


Line = Annotated[str, Field(max_length=4000)]


class Findings(BaseModel):
    """What is to be known of method specs before a run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mistake: Line | None = None
    """The first mistake of the user's in the specs or the device, in one line."""
    unavailable: dict[str, Line] = {}
    """Specs that cannot run here because what their method needs is not installed, each with the reason."""
    fixed: tuple[str, ...] = ()
    """Specs that give the same result whatever the calibration draw."""
    requests: dict[str, CalibrationRequest] = {}
    """Spec -> what its method asks for as calibration data; not of methods that calibrate for themselves."""
    efforts: dict[str, int] = {}
    """Spec -> samples that its reconstruction takes through every block, all iterations together."""


def ask(methods: list[str], device: str) -> Findings:
    """Let a child process build every method from its spec, which takes torch and runs other people's code.

    A plug-in that crashes or hangs there fails in its own cells, where it is reported. Of one of which nothing is
    known it is taken that it depends on its calibration draw, and calibrates for itself. The answer comes in a file
    that no plug-in has open, so that what they print is no part of it.

    Raises:
        UsageError: a mistake of the user's.
    """
    with tempfile.TemporaryFile() as answer:
        _run(json.dumps({"methods": methods, "device": device}), answer)
        answer.seek(0)
        said = answer.read(_MOST_BYTES)
    try:
        findings = Findings.model_validate_json(said)
    except ValidationError:
        return Findings()
    if findings.mistake is not None:
        raise UsageError(findings.mistake)
    return findings


def _run(question: str, answer: IO[bytes]) -> None:
    number = answer.fileno()
    child = subprocess.Popen(
        children.command("admbench.bench.run.preflight", str(number), str(os.getpid())),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=[number],
        start_new_session=True,
        env=children.environment(),
    )
    try:
        child.communicate(question.encode(), TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        pass
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
