"""`bench list`: the plug-ins, what each needs, and why one is not available here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from admbench.bench.cli.options import Debug, Quiet
from admbench.bench.cli.tables import print_table

if TYPE_CHECKING:
    from admbench.registry import PluginInfo

Kind = Literal["models", "methods", "metrics", "suites", "judges", "extractors"]


def list_plugins(
    kind: Annotated[Kind | None, typer.Argument(help="Only plug-ins of this kind.")] = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """List models, methods, metrics, suites, judges, extractors.

    With what each needs, and why one is not available here; methods with their track and family.
    """
    from admbench import methods, metrics
    from admbench.bench import models, suites
    from admbench.metrics import embedders, extractors
    from admbench.progress import track

    registries = {
        "models": models.registry,
        "methods": methods.registry,
        "metrics": metrics.registry,
        "suites": suites.registry,
        "judges": embedders.registry,
        "extractors": extractors.registry,
    }
    shown = {name: registry for name, registry in registries.items() if kind in (None, name)}
    facts = [fact for registry in shown.values() for fact in registry.facts]
    rows = []
    for name, registry in track(list(shown.items()), "looking at plug-ins"):
        for info in registry.infos():
            needs = "needs " + ", ".join(info.requires) if info.requires else "needs nothing more"
            reason = info.unavailable or _missing_weights(name, info)
            state = f"unavailable: {reason}" if reason else "available"
            said = [info.facts.get(fact, "-") for fact in facts]
            rows.append((registry.kind, info.name, state, needs, info.distribution, *said, info.summary))
    print_table(("kind", "name", "state", "needs", "from", *facts, "what it is"), rows)


def _missing_weights(kind: str, info: PluginInfo) -> str | None:
    """Say why a built-in model or judge cannot be loaded; other people's are not imported here, so not asked."""
    from admbench.bench.models import missing_weights
    from admbench.errors import BenchError
    from admbench.metrics.embedders import registry as judges
    from admbench.registry import BUILTIN_DISTRIBUTION

    if info.distribution != BUILTIN_DISTRIBUTION:
        return None
    if kind == "models":
        return missing_weights(info.name)
    if kind == "judges":
        try:
            judges.get(info.name).find()
        except BenchError as error:
            return str(error)
    return None
