"""Checks of a model's name, components and sampler before it is loaded, which takes time."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from admbench.bench.models import quantizable, registry, solved_by
from admbench.bench.models.components import components_of
from admbench.bench.models.directory import describe, path_of
from admbench.bench.models.samplers import check_has_sampler, check_sampler
from admbench.bench.models.twins import parse


def check_model(name: str) -> None:
    """Raise UsageError unless there is a model of that name; say what a folder given as `dir:PATH` was taken for.

    Raises:
        CheckpointError: the folder holds nothing known.
    """
    folder = path_of(name)
    if folder is None:
        twin = parse(name)
        registry.check(name if twin is None else twin.model)
    else:
        print(f"note: {folder}: {describe(folder)}", file=sys.stderr)


def check_components_of(model: str, names: Sequence[str]) -> None:
    """Raise UsageError unless a model has the components, as far as that is known without loading it."""
    present = quantizable(model)
    if present is not None:
        components_of(model, present, names)


def check_sampler_of(model: str, name: str | None) -> None:
    """Raise UsageError unless a model can be run by a sampler, as far as that is known without loading it."""
    check_sampler(name)
    has = None if name is None else solved_by(model)
    if has is not None:
        check_has_sampler(model, has, name)
