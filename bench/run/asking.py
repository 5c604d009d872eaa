"""Asks, in a child process, what is to be known of method specs before a run; see `admbench.bench.run.preflight`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from admbench import children
from admbench.bench.run.answers import read_tail
from admbench.errors import UsageError
from admbench.methods.core.calibration.request import CalibrationRequest

TIMEOUT_SECONDS = 900.0
"""Of all questions together."""
_MOST_BYTES = 1 << 24
_MODULE = "admbench.bench.run.preflight"

Run = Callable[[str, Sequence[str], Path, float], None]
"""Lets a child process run the `main` of a module with arguments, its output in a file, for so many seconds at most."""


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


def in_new_process(module: str, arguments: Sequence[str], log: Path, timeout: float) -> None:
    """Run a module in a new process, which imports everything; see `Run`."""
    with open(log, "ab") as output:
        child = subprocess.Popen(
            children.command(module, *arguments, str(os.getpid())),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env=children.environment(),
        )
    try:
        child.wait(timeout)
    except subprocess.TimeoutExpired:
        pass
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def ask(methods: list[str], device: str, run: Run = in_new_process) -> Findings:
    """Let a child process build every method from its spec, which takes torch and runs other people's code.

    A plug-in that crashes or hangs there fails in its own cells, where it is reported. Of one of which nothing is
    known it is taken that it depends on its calibration draw, and calibrates for itself. The answer comes in a file
    that no plug-in has open, so that what they print is no part of it.

    Args:
        methods: method specs.
        device: of the models.
        run: how the child is started.

    Raises:
        UsageError: a mistake of the user's.
    """
    with tempfile.TemporaryDirectory() as name:
        question, answer, log = (Path(name) / file for file in ("question.json", "answer.json", "log.txt"))
        question.write_text(json.dumps({"methods": methods, "device": device}), encoding="utf-8")
        run(_MODULE, [str(question), str(answer)], log, TIMEOUT_SECONDS)
        said = read_tail(answer, _MOST_BYTES) or b""
    try:
        findings = Findings.model_validate_json(said)
    except ValidationError:
        return Findings()
    if findings.mistake is not None:
        raise UsageError(findings.mistake)
    return findings
