"""What tells one state of a plug-in from another: the one definition that every key and every reuse goes by.

A plug-in is another one when its class says another `version`, when it comes with another distribution or version of
it, when the source of that distribution changes, or when a package that it names in `requires` has another version.
Registries make identities (`admbench.registry.Registry.identity`), without importing the plug-in where its source says
enough; whoever makes a key asks them and puts nothing together himself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib import metadata

from admbench import sources
from admbench.hashing import sha256_json
from admbench.versions import distribution_versions, package_version, source_sha256, used_sha256

HARNESS = "admbench.bench"
METHODS = "admbench.methods"


@dataclass(frozen=True)
class PluginIdentity:
    """One state of a plug-in."""

    group: str
    """The entry-point group, such as `admbench.methods`."""
    name: str
    """Registry name."""
    target: str
    """`module:attribute`."""
    version: str | None
    """That its class says; None where it says none, or where it cannot be loaded."""
    distribution: str
    """That it came with; of one registered by the decorator, its module."""
    distribution_version: str | None
    """None where that is no installed distribution."""
    source_sha256: str | None
    """Of one of ours, over its room, such as all of `admbench.metrics`; of a method of ours, over its file, what that
    imports of other methods, and what all methods share; of others, over all modules that the distribution brings,
    and of a method with all of our methods. None where there is no source to be found."""
    packages: Mapping[str, str | None]
    """Distribution that it requires -> version; None if it is not installed."""

    @cached_property
    def sha256(self) -> str:
        """Hash over all parts."""
        return sha256_json(asdict(self))

    @property
    def key(self) -> str:
        """What it is called among others: `GROUP NAME`."""
        return f"{self.group} {self.name}"


def of_builtin(group: str, name: str, target: str, version: str | None, requires: Iterable[str]) -> PluginIdentity:
    """Return the identity of a plug-in of this distribution."""
    room, module = room_of(target), target.partition(":")[0]
    # quantizing takes minutes: an edit of one method's file costs the checkpoints of that method alone
    source = used_sha256(room, module) if room == METHODS else source_sha256(room)
    return PluginIdentity(
        group, name, target, version, "admbench", package_version(), source, distribution_versions(requires)
    )


def of_distribution(
    group: str, name: str, target: str, distribution: str, version: str | None, requires: Iterable[str]
) -> PluginIdentity:
    """Return the identity of a plug-in of another distribution, or of a module that registered it here."""
    try:
        own = metadata.version(distribution)
    except (metadata.PackageNotFoundError, ValueError):
        own = None
    source = sources.sha256_of_distribution(distribution, target.partition(":")[0])
    if group == METHODS and source is not None:  # it may build upon any of ours
        source = sha256_json([source, source_sha256(METHODS)])
    return PluginIdentity(group, name, target, version, distribution, own, source, distribution_versions(requires))


def untold(group: str, name: str, reason: str) -> PluginIdentity:
    """Return what stands for a plug-in that cannot be loaded because it is not clear which it is."""
    return PluginIdentity(group, name, f"not told: {reason}", None, "unknown", None, None, {})


def room_of(target: str) -> str:
    """Return the package of ours whose source a built-in plug-in consists of.

    >>> room_of("admbench.methods.naive:Naive"), room_of("admbench.bench.models.families.embedded:TANGO")
    ('admbench.methods', 'admbench.bench.models')
    """
    parts = target.partition(":")[0].split(".")
    depth = 3 if target.startswith(f"{HARNESS}.") else 2
    return ".".join(parts[:depth])
