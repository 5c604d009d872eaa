"""Which judge has which role in a run: what a user names, and the one mapping that all else reads."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from admbench.metrics.extractors.base import ROLES, Role


class JudgeChoice(BaseModel):
    """A judge by name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    """Registry name."""
    weights: str | None = None
    """Path of its weights, or a hub id; None is where the judge looks for them."""


class JudgeSpec(BaseModel):
    """The judges of a run, as flags and grid files name them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tagger: str = "tiny-tagger"
    """Registry name of the judge for distances between sets of clips, and for classes."""
    clap: str = "tiny-clap"
    """Registry name of the judge that embeds audio and captions in one space."""
    tagger_weights: str | None = None
    """Path of the tagger's weights; None is where the judge looks for them."""
    clap_weights: str | None = None
    """The same of the CLAP network, or a hub id."""

    def of_role(self, role: Role) -> JudgeChoice:
        """Return the judge that has a role."""
        return JudgeChoice(name=getattr(self, role), weights=getattr(self, f"{role}_weights"))

    def by_role(self) -> dict[Role, JudgeChoice]:
        """Return role -> judge."""
        return {role: self.of_role(role) for role in ROLES}
