"""The sanity ladder, `RUN/ladder.json`: can this suite, with these metrics, tell good from bad?

Per model, levels that are known to be in order (real audio, full precision, ever coarser rounding, random weights) are
scored by FD; each step either must be seen (`<`) or must not be (`~`), by the interval of its paired difference.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from admbench.errors import DataError
from admbench.leaderboard.fields import Fraction, Interval, MetricName, Name, Positive, Section, Text
from admbench.leaderboard.inference.scores import caution
from admbench.leaderboard.record import Provenance, Suite
from admbench.leaderboard.run_folder import LADDER_FILE
from admbench.leaderboard.untrusted import read_json

Correlation = Annotated[float, Field(ge=-1 - 1e-9, le=1 + 1e-9)]  # rounding may end just beside 1


class Estimate(Section):
    """A number with its interval."""

    value: float | None
    """The number; null with a reason if it does not exist for this level."""
    ci95: Interval | None = None
    """95 % interval."""
    reason: Text | None = None
    """Why the value or its interval is missing."""


class Step(Section):
    """How a level must compare with the level before it."""

    relation: Literal["<", "~"]
    """`<`: the level before has the smaller number. `~`: the two cannot be told apart."""
    difference: Estimate
    """Paired difference of FD, or of the distance to full precision, this level minus the level before."""
    holds: bool
    """`<` holds if the interval lies above zero, `~` if it holds zero."""


class Level(Section):
    """One system on the ladder."""

    name: Name
    """Name to show, such as `real vs real` or `random weights`."""
    method: Text | None
    """Method spec; null for a level that is no quantization."""
    n: Positive
    """Number of clips."""
    scores: dict[MetricName, Estimate]
    """FD, KL and CLAP against the reference; of a damaged level also `zimtohrli_vs_baseline`."""
    step: Step | None
    """Relation to the level before; null for the first."""
    nearness: Step | None = None
    """The same of Zimtohrli's distance to full precision's clips, between damaged levels; null elsewhere."""

    @property
    def holds(self) -> bool:
        """True if every step to this level holds."""
        return all(step.holds for step in (self.step, self.nearness) if step)


class Agreement(Section):
    """Do the other metrics rank the levels as FD does? Spearman's rho, ties averaged, 1 for the same order."""

    kl: Correlation | None
    """Agreement of KL; null if it cannot be computed."""
    clap: Correlation | None
    """Agreement of CLAP (higher is better); null if it cannot be computed."""
    threshold: Fraction = 0.7
    """Least rho that counts as agreement."""
    holds: bool
    """True if both reach the threshold."""


class LadderModel(Section):
    """The ladder of one model, from the best level to the worst."""

    model: Name
    """Model name."""
    suite: Suite
    """The captions."""
    levels: Annotated[list[Level], Field(alias="rungs", min_length=2)]
    """In their expected order."""
    agreement: Agreement
    """Rank agreement of the other metrics."""

    @property
    def holds(self) -> bool:
        """True if every step and the rank agreement hold."""
        return self.agreement.holds and all(level.holds for level in self.levels)

    @property
    def caution(self) -> str | None:
        """Why not to trust this too far: too few captions; None if nothing."""
        return caution(min(level.n for level in self.levels))


class Ladder(Section):
    """The file."""

    schema_version: Literal[1]
    """Version of this schema."""
    models: Annotated[list[LadderModel], Field(min_length=1)]
    """One ladder per model."""
    provenance: Provenance
    """Time, source tree and command."""


def read_ladder(run: Path) -> Ladder | None:
    """Read `run`/ladder.json as untrusted input; None if there is none. Raises DataError naming file and key."""
    path = run / LADDER_FILE
    if not path.exists() and not path.is_symlink():
        return None
    try:
        ladder = Ladder.model_validate(read_json(run, path))
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        raise DataError(f"{path}: {'.'.join(map(str, detail['loc']))}: {detail['msg']}") from error
    for model in ladder.models:
        _check(model, f"{path}: {model.model}")
    return ladder


def _check(model: LadderModel, where: str) -> None:
    """Raise DataError where a verdict contradicts its own numbers."""
    for place, level in enumerate(model.levels):
        if (level.step is None) != (place == 0):
            raise DataError(f"{where}: {level.name}: every level but the first needs a step")
        if level.step is None:
            continue
        for name, step in (("step", level.step), ("nearness", level.nearness)):
            if step is None:
                continue
            interval = step.difference.ci95
            if interval is None:
                raise DataError(f"{where}: {level.name}: {name}.difference.ci95 is needed to judge the step")
            seen = interval[0] > 0 if step.relation == "<" else interval[0] <= 0 <= interval[1]
            if step.holds is not seen:
                raise DataError(f"{where}: {level.name}: {name}.holds contradicts the interval of its difference")
    agreement = model.agreement
    reached = all(rho is not None and rho >= agreement.threshold for rho in (agreement.kl, agreement.clap))
    if agreement.holds is not reached:
        raise DataError(f"{where}: agreement.holds contradicts its correlations")
