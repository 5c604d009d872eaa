"""Which judges have which role in a run: what a user names, and the one mapping that all else reads."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from admbench.judged import JUDGE_NAME, by_judge
from admbench.metrics.extractors.base import ROLES, Role


class JudgeChoice(BaseModel):
    """A judge by name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    """Registry name."""
    weights: str | None = None
    """Path of its weights, or a hub id; None is where the judge looks for them."""


class JudgeSpec(BaseModel):
    """The judges of a run, as flags and grid files name them.

    A role may have several. Scores of the first are called as always (`fd`), those of the others by their names
    (`fd[laion-clap]`).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    tagger: tuple[str, ...] = Field(default=("tiny-tagger",), min_length=1)
    """Registry names of the judges for distances between sets of clips, and for classes; a text with commas will do."""
    clap: tuple[str, ...] = Field(default=("tiny-clap",), min_length=1)
    """Registry names of the judges that embed audio and captions in one space; a text with commas will do."""
    aesthetics: tuple[str, ...] = Field(default=("audiobox-aesthetics",), min_length=1)
    """Registry names of the judges that predict how listeners would rate a clip."""
    tagger_weights: dict[str, str] = {}
    """Tagger -> path of its weights; one that is not named looks for them itself. Of one tagger the path will do, and
    `NAME=PATH,NAME=PATH` of several."""
    clap_weights: dict[str, str] = {}
    """The same of the CLAP networks, or hub ids."""
    aesthetics_weights: dict[str, str] = {}
    """The same of the predictors of ratings."""

    @field_validator(*ROLES, mode="before")
    @classmethod
    def _split(cls, names: Any) -> Any:
        return [name.strip() for name in names.split(",") if name.strip()] if isinstance(names, str) else names

    @field_validator(*ROLES)
    @classmethod
    def _can_be_told_apart(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for index, name in enumerate(names):
            if name in names[:index]:
                raise ValueError(f'the judge "{name}" is listed twice')
            if index and not re.fullmatch(JUDGE_NAME, name, re.ASCII):
                raise ValueError(f'"{name}" cannot stand in the name of a score; expected small letters, digits, . _ -')
        return names

    @field_validator(*(f"{role}_weights" for role in ROLES), mode="before")
    @classmethod
    def _by_name(cls, weights: Any, info: ValidationInfo) -> Any:
        names = info.data.get(str(info.field_name).removesuffix("_weights"))
        if weights is None or not names:  # none, or the names themselves are being refused
            return {}
        if isinstance(weights, str):
            weights = _parse_weights(weights, names)
        if isinstance(weights, Mapping) and (others := [name for name in weights if name not in names]):
            raise ValueError(f'weights of "{others[0]}", which is not among the judges {", ".join(names)}')
        return weights

    def of_role(self, role: Role) -> dict[str, JudgeChoice]:
        """Return seat -> judge, of a role; the seats are those of `admbench.metrics.extractors.base.Judges`."""
        names: tuple[str, ...] = getattr(self, role)
        weights: dict[str, str] = getattr(self, f"{role}_weights")
        choices = [JudgeChoice(name=name, weights=weights.get(name)) for name in names]
        return {by_judge(role, one.name if place else None): one for place, one in enumerate(choices)}

    def further(self) -> dict[Role, tuple[str, ...]]:
        """Return role -> registry names of its judges beside the first."""
        return {role: getattr(self, role)[1:] for role in ROLES}


def _parse_weights(text: str, names: tuple[str, ...]) -> dict[str, str]:
    """Read a path, or `NAME=PATH,NAME=PATH`: paths may hold commas and signs of equality."""
    named = "|".join(re.escape(f"{name}=") for name in names)
    parts = re.split(f",(?={named})", text)
    if not re.match(named, text):
        if len(names) > 1:
            raise ValueError(f'"{text}" is of which judge? Expected {names[0]}=PATH,{names[1]}=PATH')
        return {names[0]: text}
    return {name: path for name, _, path in (part.partition("=") for part in parts)}
