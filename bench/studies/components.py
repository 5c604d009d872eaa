"""Quantizes each component of a model alone, by the same methods on the same captions: a run for each component."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from admbench.bench.models import quantizable
from admbench.bench.models.components import COMPONENTS, Component
from admbench.bench.run.grid import load_grid
from admbench.bench.run.runner import CellResult, Events, run_grid
from admbench.errors import UsageError
from admbench.files import link
from admbench.leaderboard.run_folder import BASELINES, REFERENCE

METRICS = ("fd", "kl", "clap")
SHARED = (REFERENCE, BASELINES)
"""Folders of a run that do not depend on what is quantized; the runs after the first reuse them."""


def components_by_model(models: Sequence[str]) -> dict[Component, tuple[str, ...]]:
    """Return, for each component, the models that have it.

    Raises:
        UsageError: it is not known of a model what it is made of: its plug-in cannot be imported.
    """
    present = {model: quantizable(model) for model in models}
    for model, parts in present.items():
        if parts is None:
            raise UsageError(f"{model}: its components are not known, because it cannot be imported")
    found = {part: tuple(model for model, parts in present.items() if part in (parts or ())) for part in COMPONENTS}
    return {part: names for part, names in found.items() if names}


def run_components(
    models: Sequence[str],
    methods: Sequence[str],
    out: Path,
    *,
    limit: int | None,
    steps: int | None = None,
    metrics: Sequence[str] = METRICS,
    command: str,
    events: Events | None = None,
) -> list[CellResult]:
    """Run a grid for each component alone, in `out/COMPONENT`; what is finished is not done again.

    Args:
        models: registry names, or `dir:PATH`.
        methods: specs; each component gets their bits.
        out: folder of the runs.
        limit: captions of the suite; None is all of them.
        steps: denoising steps; None is each model's default.
        metrics: registry names.
        command: command line, for the records.
        events: callbacks for progress.

    Raises:
        BenchError: a bad name or spec, or a folder that cannot be written; before anything runs.
    """
    results: list[CellResult] = []
    before: Path | None = None
    for component, having in components_by_model(models).items():
        grid = load_grid(
            None,
            {
                "models": having,
                "methods": tuple(methods),
                "components": (component,),
                "limit": limit,
                "generation.steps": steps,
                "metrics.names": tuple(metrics),
                "out": out / component,
            },
        )
        if before is not None:
            _reuse(before, grid.out)
        results += run_grid(grid, command=command, events=events)
        before = grid.out
    return results


def _reuse(source: Path, target: Path) -> None:
    """Hard-link what a run has in common with another into its folder, where nothing is yet."""
    for finished in (entry for name in SHARED for entry in (source / name).glob("*")):
        place = target / finished.relative_to(source)
        if not place.exists():
            link(finished, place)
