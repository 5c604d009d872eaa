"""A plug-in by its name, to the checks of its kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Literal

from admbench.bench.conformance.findings import Finding
from admbench.errors import UsageError, nearest
from admbench.registry import Registry

Kind = Literal["method", "model", "metric", "suite"]

_CHECKS: dict[Kind, str] = {
    "method": "admbench.bench.conformance.methods:check_method",
    "model": "admbench.bench.conformance.models:check_model",
    "metric": "admbench.bench.conformance.metrics:check_metric",
    "suite": "admbench.bench.conformance.suites:check_suite",
}


def check_plugin(name: str, kind: Kind | None = None) -> list[Finding]:
    """Check whether a plug-in keeps the contract of its kind.

    Args:
        name: registry name; of a method also a spec, such as `my-method@w4a16`.
        kind: what it is; None if its name says so.

    Returns:
        What each check found, in the order in which they were done.

    Raises:
        UsageError: there is no such plug-in, or several kinds have one of that name.
        PluginError: it cannot be loaded.
    """
    return list(findings(name, kind or kind_of(name)))


def findings(name: str, kind: Kind) -> Iterator[Finding]:
    """Do the checks of `check_plugin`, yielding what each found as soon as it is known."""
    module, _, function = _CHECKS[kind].partition(":")
    check: Callable[[str], Iterator[Finding]] = getattr(import_module(module), function)
    return check(name)


def kind_of(name: str) -> Kind:
    """Return which kind of plug-in a name is of.

    Raises:
        UsageError: none, or more than one.
    """
    bare = name.partition("@")[0].partition("[")[0]
    registries = _registries()
    kinds = [kind for kind, registry in registries.items() if bare in registry]
    if len(kinds) == 1:
        return kinds[0]
    if kinds:
        raise UsageError(f'"{bare}" is the name of a {" and of a ".join(kinds)}: say which with --kind')
    known = [one for registry in registries.values() for one in registry.names()]
    raise UsageError(
        f'unknown plug-in "{bare}".{nearest(bare, known)} `bench list` shows what there is; a package of your own has'
        " to be installed first: pip install -e FOLDER"
    )


def _registries() -> dict[Kind, Registry]:
    from admbench import methods, metrics
    from admbench.bench import models, suites

    found: dict[Kind, Registry] = {
        "method": methods.registry,
        "model": models.registry,
        "metric": metrics.registry,
        "suite": suites.registry,
    }
    return found
