"""Before a run: can every method be built from its spec, what is not installed, and is the device there?

Also which methods depend on their calibration data, and which data they ask for. The specs of a method are looked at in
a child of this process, so that a plug-in that exits, hangs, prints or changes what is global says nothing about the
next; specs behind one at which it did so are looked at in a child of their own.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import NoReturn

from pydantic import BaseModel, ConfigDict, ValidationError

from admbench.bench.run.answers import MOST_CHARACTERS
from admbench.bench.run.asking import Findings, Line
from admbench.bench.run.executors.descendants import adopt_orphans, end_descendants, end_with_parent
from admbench.errors import UsageError
from admbench.methods.core.calibration.request import CalibrationRequest
from admbench.plain_text import visible

SECONDS_OF_A_SPEC = 120.0
_MOST_BYTES = 1 << 16


class Answer(BaseModel):
    """What is to be known of one method spec."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mistake: Line | None = None
    unavailable: Line | None = None
    fixed: bool = False
    request: CalibrationRequest | None = None
    effort: int = 0


def look(spec: str) -> Answer:
    """Build a method and ask it; what a plug-in raises, but for a mistake of the user's, passes through."""
    from admbench.methods import from_spec
    from admbench.registry import missing_distributions

    try:
        method = from_spec(spec)
    except UsageError as error:
        return Answer(mistake=visible(str(error), MOST_CHARACTERS))
    missing = missing_distributions(method.requires)
    unavailable = None if missing is None else visible(missing, MOST_CHARACTERS)
    return Answer(
        unavailable=unavailable,
        fixed=not method.varies,
        request=method.calibration_request,
        effort=_effort(method.config),
    )


def _effort(config: object) -> int:
    """Return iterations x samples of each, of a method that says both; its other work is small beside that."""
    iterations, batch = getattr(config, "iterations", None), getattr(config, "batch", None)
    return iterations * batch if isinstance(iterations, int) and isinstance(batch, int) else 0


def look_at_all(specs: Sequence[str]) -> dict[str, Answer]:
    """Look at specs in this process; a plug-in that fails to load is left for its cells."""
    answers = {}
    for spec in specs:
        try:
            answers[spec] = look(spec)
        except Exception as error:  # a plug-in may fail in any way; its cells will say so
            print(f"{spec}: {error}", file=sys.stderr)
    return answers


def look_apart(specs: Sequence[str], hidden: int) -> dict[str, Answer]:
    """Look at specs in forked processes, one for those of a method.

    Whatever happens in it, an answer that is none says nothing of the method, and the specs behind it are looked at in
    another process.

    Args:
        specs: method specs.
        hidden: file descriptor that is not the plug-ins' to write to.
    """
    of_method: dict[str, list[str]] = {}
    for spec in specs:
        of_method.setdefault(spec.partition("@")[0].partition("[")[0], []).append(spec)
    answers: dict[str, Answer] = {}
    for left in of_method.values():
        while left:
            said = _said_apart(left, hidden)
            answers |= dict(zip(left, said, strict=False))
            left = left[len(said) :]
    return answers


def _said_apart(specs: Sequence[str], hidden: int) -> list[Answer]:
    """Return the answers of a forked process up to the first that is none."""
    read, write = os.pipe2(os.O_CLOEXEC)
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        os.close(hidden)
        _be_asked(specs, write, parent)
    os.close(write)
    said: list[Answer] = []
    lines = _Lines(read)
    try:
        while len(said) < len(specs):
            said.append(Answer.model_validate_json(lines.next(time.monotonic() + SECONDS_OF_A_SPEC)))
    except ValidationError:
        said.append(Answer())
    finally:
        os.close(read)
        os.kill(pid, signal.SIGKILL)  # it is ours until it is waited for
        os.waitpid(pid, 0)
        end_descendants()
    return said


def _be_asked(specs: Sequence[str], write: int, parent: int) -> NoReturn:
    try:
        end_with_parent(parent)
        for spec in specs:
            os.write(write, look(spec).model_dump_json().encode() + b"\n")
    finally:
        os._exit(0)


class _Lines:
    """What comes out of a pipe, line by line."""

    def __init__(self, read: int) -> None:
        self._read = read
        self._unread = b""

    def next(self, deadline: float) -> bytes:
        """Return what comes up to a line's end, the end of the pipe, the deadline or the limit."""
        while b"\n" not in self._unread and len(self._unread) < _MOST_BYTES:
            if not select.select([self._read], [], [], max(0.0, deadline - time.monotonic()))[0]:
                break
            received = os.read(self._read, _MOST_BYTES)
            if not received:
                break
            self._unread += received
        line, _, self._unread = self._unread.partition(b"\n")
        return line


def check(
    methods: Sequence[str], device: str, look_at: Callable[[Sequence[str]], dict[str, Answer]] = look_at_all
) -> Findings:
    """Return what is found of the specs and the device.

    Raises:
        UsageError: a spec has an option that its method does not know, or the device is not here.
    """
    found = look_at(methods)
    answers = {spec: found[spec] for spec in methods if spec in found}
    mistakes = [one.mistake for one in answers.values() if one.mistake is not None]
    if mistakes:
        raise UsageError(mistakes[0])
    if device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise UsageError("--device cuda: no CUDA device is available here; expected cpu")
    return Findings(
        unavailable={spec: one.unavailable for spec, one in answers.items() if one.unavailable is not None},
        fixed=tuple(spec for spec, one in answers.items() if one.fixed),
        requests={spec: one.request for spec, one in answers.items() if one.request is not None},
        efforts={spec: one.effort for spec, one in answers.items() if one.effort},
    )


def main(arguments: Sequence[str]) -> int:
    """Read `{"methods": [...], "device": ...}` from a file and write `Findings` to another, which is not there yet."""
    asked, answer = arguments
    adopt_orphans()
    with open(asked, encoding="utf-8") as file:
        question = json.load(file)
    import admbench.methods.base  # noqa: F401 (once, for all children)

    with open(answer, "xb") as file:
        hidden = file.fileno()
        try:
            found = check(question["methods"], question["device"], partial(look_apart, hidden=hidden))
        except UsageError as error:
            found = Findings(mistake=visible(str(error), MOST_CHARACTERS))
        file.write(found.model_dump_json().encode())
    return 0


if __name__ == "__main__":
    end_with_parent(int(sys.argv[-1]))
    sys.exit(main(sys.argv[1:-1]))
