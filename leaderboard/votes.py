"""Votes of blind listening tests: the export of the listening page, read as untrusted input.

An export is JSON of format `admbench-votes`, schema version 1: a listener, a random number of that browser, and its
sessions. What every trial was follows from a session's seed, and the result from the trials; both are computed again,
and an export that says otherwise is refused. Who listened cannot be checked: votes are self-reported.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, ValidationError, model_validator

from admbench.errors import DataError
from admbench.leaderboard.fields import Name, Section, Sha256, Time
from admbench.leaderboard.inference.listeners import as_far, at_least
from admbench.leaderboard.trials import Trial, order
from admbench.leaderboard.untrusted import clip_id, decode_json, read_bytes

FORMAT = "admbench-votes"
MOST_BYTES = 8 * 2**20
FEWEST_TRIALS, MOST_TRIALS = 16, 200

_Id = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
_Caption = Annotated[str, AfterValidator(clip_id)]


class Answer(Section):
    """One trial."""

    caption: _Caption
    """Id of the caption."""
    full_sha256: Sha256
    """Of full precision's clip."""
    method_sha256: Sha256
    """Of the method's clip."""
    answer: Literal["full", "method"]
    """ABX: what X was said to be. Preference: what was chosen."""
    seconds: Annotated[float, Field(ge=0, le=1e7)]
    """From the beginning of the trial to the answer."""


class Result(Section):
    """What the page said at the end of a session."""

    hits: Annotated[int, Field(ge=0, le=MOST_TRIALS)]
    """ABX: right answers. Preference: choices of the method."""
    count: Annotated[int, Field(ge=FEWEST_TRIALS, le=MOST_TRIALS)]
    p: Annotated[float, Field(ge=0, le=1)]
    """ABX: chance of as many right answers by guessing. Preference: of a split as uneven by fair coins."""


class Session(Section):
    """One test of one method on one model, whose number of trials was fixed before the first."""

    id: _Id
    seed: _Id
    """From which captions and coins were drawn."""
    kind: Literal["abx", "preference"]
    model: Name
    suite: Name
    suite_sha256: Sha256 | None
    method: Name
    level_matched: bool
    """Whether clips had one loudness."""
    planned: Annotated[int, Field(ge=FEWEST_TRIALS, le=MOST_TRIALS)]
    """Trials."""
    captions: Annotated[list[_Caption], Field(min_length=1, max_length=2000)]
    """Ids from which trials were drawn."""
    started: Time
    ended: Time | None
    """Null of a session that was not finished: it has no result, and is counted as given up."""
    trials: Annotated[list[Answer], Field(max_length=MOST_TRIALS)]
    result: Result | None

    @model_validator(mode="after")
    def _whole(self) -> Session:
        if len(set(self.captions)) != len(self.captions):
            raise ValueError("a caption appears twice among those to draw from")
        finished = len(self.trials) == self.planned
        if (
            len(self.trials) > self.planned
            or finished is not (self.ended is not None)
            or finished is not bool(self.result)
        ):
            raise ValueError(
                f"{len(self.trials)} of {self.planned} trials: a session ends, and has a result, with the last"
            )
        if self.ended is not None and datetime.fromisoformat(self.ended) < datetime.fromisoformat(self.started):
            raise ValueError("it ended before it started")
        for number, (trial, drawn) in enumerate(zip(self.trials, self._order, strict=False), start=1):
            if trial.caption != drawn.caption:
                raise ValueError(f"trial {number}: {trial.caption}, but the seed gives {drawn.caption}")
        if self.result is not None:
            self._check_result(self.result)
        return self

    @property
    def _order(self) -> list[Trial]:
        return order(self.seed, self.captions, self.planned)

    def _check_result(self, said: Result) -> None:
        hits, p = self.hits, self.p
        if (said.hits, said.count) != (hits, self.planned) or not math.isclose(said.p, p, rel_tol=1e-6, abs_tol=1e-12):
            own = f"{hits} of {self.planned}, p {p:g}"
            raise ValueError(f"result: {said.hits} of {said.count}, p {said.p:g}, but the trials give {own}")

    @property
    def hits(self) -> int:
        """ABX: right answers. Preference: choices of the method."""
        if self.kind == "preference":
            return sum(trial.answer == "method" for trial in self.trials)
        both = zip(self.trials, self._order, strict=False)
        return sum((trial.answer == "method") == drawn.heads for trial, drawn in both)

    @property
    def p(self) -> float:
        """ABX: chance of as many right answers by guessing. Preference: of a split as uneven by fair coins."""
        return (at_least if self.kind == "abx" else as_far)(self.hits, len(self.trials))


class Votes(Section):
    """The sessions of one listener."""

    format: Literal["admbench-votes"]
    schema_version: Literal[1]
    listener: _Id
    """A random number, which the page keeps in the browser."""
    exported: Time
    sessions: Annotated[list[Session], Field(max_length=1000)]


def read_votes(path: str | Path) -> Votes:
    """Read one export.

    Raises:
        DataError: missing, too large, not JSON, or not votes whose results follow from their trials; one line that
            names the file, the key and what is wrong.
    """
    path = Path(path)
    value = decode_json(read_bytes(path.parent, path, MOST_BYTES), path)
    try:
        return Votes.model_validate(value)
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        key = ".".join(str(part)[:80] for part in detail["loc"]) or "votes"
        raise DataError(f"{path}: {key}: {detail['msg'].removeprefix('Value error, ')}") from error


def merge(files: Iterable[tuple[str | Path, Votes]]) -> list[tuple[str, Session]]:
    """Return (listener, session) of some exports, each session once, in the order of their first file.

    An export holds what earlier ones of the same browser held, so a session may come again, and go on where it was.

    Raises:
        DataError: a session that another export has with other content, or under another listener, or whose trials
            were drawn from the seed of another one.
    """
    found: dict[str, tuple[str, Session]] = {}
    seeds: dict[str, str] = {}
    for path, votes in files:
        for session in votes.sessions:
            if seeds.setdefault(session.seed, session.id) != session.id:
                raise DataError(f"{path}: session {session.id} has the seed of session {seeds[session.seed]}")
            known = found.get(session.id)
            if known is None:
                found[session.id] = votes.listener, session
                continue
            shorter, longer = sorted((known[1], session), key=lambda one: len(one.trials))
            if known[0] != votes.listener or not _goes_on(shorter, longer):
                raise DataError(f"{path}: session {session.id} is in another export with other content")
            found[session.id] = votes.listener, longer
    return list(found.values())


def _goes_on(shorter: Session, longer: Session) -> bool:
    """Whether two states are of one session."""
    open_end = {"trials", "ended", "result"}
    same = shorter.model_dump(exclude=open_end) == longer.model_dump(exclude=open_end)
    return (
        same and longer.trials[: len(shorter.trials)] == shorter.trials and (shorter.ended is None or shorter == longer)
    )
