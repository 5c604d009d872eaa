"""The file of `bench stress`, read as untrusted input: what methods lose on hard twins of a model, and whether their
claims hold.

A verdict follows from two numbers that stand beside it; a file that says otherwise is refused.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from admbench.errors import DataError
from admbench.leaderboard.fields import Name, Section, Sha256, Spec
from admbench.leaderboard.record import Provenance
from admbench.leaderboard.untrusted import read_json
from admbench.taxonomy import DIFFICULTIES, Difficulty

FORMAT = "admbench-stress"
UNDONE = 3.0
"""Most decibels that a method loses to what it handles: twice the noise."""
MOST_ROWS = 500
Verdict = Literal["undone", "eased", "lost"]
"""`undone`: no more than `UNDONE` is lost. `eased`: no more than half, in dB, of what rounding to nearest loses."""
_Decibels = Annotated[float, Field(ge=-1000, le=1000)]


def judged(lost: float, hard: float | None) -> Verdict | None:
    """Return the verdict on decibels lost; None where rounding to nearest loses nothing, so that nothing is hard.

    Args:
        lost: by the method.
        hard: by rounding to nearest at the same bits; None of a difficulty that it claims to handle itself.

    >>> judged(0.2, 20.0), judged(9.0, 20.0), judged(11.0, 20.0), judged(0.2, 0.3), judged(6.0, None)
    ('undone', 'eased', 'lost', None, 'lost')
    """
    if hard is not None and hard <= UNDONE:
        return None
    if lost <= UNDONE:
        return "undone"
    return "eased" if hard is not None and lost <= hard / 2 else "lost"


class StressOutcome(Section):
    """A method on one twin."""

    lost: _Decibels
    """Signal-to-noise ratio on the model as it is less that on the twin, in dB."""
    hard: _Decibels | None
    """What rounding to nearest loses at the same bits, in dB; null of a difficulty that it claims to handle itself."""
    verdict: Verdict | None
    """Null where the twin is not hard at these bits."""
    claimed: bool
    """Whether the method claims to handle it."""

    @property
    def holds(self) -> bool | None:
        """Whether the claim holds; None without one, or where it cannot be tried."""
        return None if self.verdict is None or not self.claimed else self.verdict != "lost"


class StressRow(Section):
    """A method on a model and its twins."""

    method: Spec
    untouched: _Decibels
    """Signal-to-noise ratio on the model as it is, in dB."""
    outcomes: dict[Difficulty, StressOutcome | None]
    """By twin; null where the method rounds nothing that the twin makes hard."""


class Stress(Section):
    """The file."""

    format: Literal["admbench-stress"]
    schema_version: Literal[1]
    model: Name
    weights_sha256: Sha256
    """Of the model."""
    rows: Annotated[list[StressRow], Field(min_length=1, max_length=MOST_ROWS)]
    provenance: Provenance
    """Time, source tree and command."""

    @property
    def claims(self) -> list[bool]:
        """Of every claim that could be tried, whether it holds."""
        outcomes = [outcome for row in self.rows for outcome in row.outcomes.values()]
        return [outcome.holds for outcome in outcomes if outcome is not None and outcome.holds is not None]


def read_stress(path: Path) -> Stress:
    """Read a file that `bench stress --json` wrote. Raises DataError naming file and key."""
    try:
        stress = Stress.model_validate(read_json(path.parent, path))
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        place = ".".join(map(str, detail["loc"])) or "its content"
        raise DataError(f"{path}: {place}: {detail['msg']}; expected a file of bench stress --json") from error
    for row in stress.rows:
        if row.outcomes.keys() != set(DIFFICULTIES):
            raise DataError(f"{path}: {row.method}: outcomes: expected {', '.join(DIFFICULTIES)}")
        for difficulty, outcome in row.outcomes.items():
            if outcome is not None and outcome.verdict != judged(outcome.lost, outcome.hard):
                raise DataError(f"{path}: {row.method}: {difficulty}: the verdict contradicts its decibels")
    return stress
