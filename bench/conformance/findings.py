"""What a conformance check says: passed, failed or skipped, and why. An exception in a plug-in is a finding too."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, TypeVar

from admbench import arithmetic
from admbench.errors import PluginError
from admbench.registry import PluginInfo, Registry

Subject = TypeVar("Subject")


@dataclass(frozen=True)
class Finding:
    """What one check found."""

    check: str
    """What has to hold, in a few words."""
    state: Literal["passed", "failed", "skipped"]
    detail: str
    """Why it failed or was skipped; what was looked at if it passed, or an empty string."""

    def __str__(self) -> str:
        return f"{self.check}: {self.state}" + (f": {self.detail}" if self.detail else "")


class Violation(Exception):
    """The plug-in breaks its contract; the text says how."""


class NotChecked(Exception):
    """The check does not apply to this plug-in; the text says why."""


Check = Callable[[Subject], str | None]
"""Looks at a plug-in; returns a detail worth telling, raises `Violation` or `NotChecked`."""


def require(condition: bool, problem: str) -> None:
    """Raise Violation unless a condition holds."""
    if not condition:
        raise Violation(problem)


def require_same(same: bool, problem: str) -> None:
    """Raise Violation unless what was computed twice is the same, bit for bit.

    Where matrix products themselves do not repeat, no plug-in can be blamed for a difference: then raise NotChecked.
    """
    if same or arithmetic.repeats():
        require(same, problem)
    else:
        raise NotChecked(
            f"{problem}; but in MKL's default mode products do not repeat on this processor:"
            f" start Python with {arithmetic.VARIABLE}={arithmetic.reproducible_mode()} to know"
        )


def run_checks(subject: Subject, checks: Mapping[str, Check[Subject]], gates: Iterable[str] = ()) -> Iterator[Finding]:
    """Run checks in order and yield what each found.

    Args:
        subject: what the checks look at.
        checks: by what has to hold.
        gates: names of checks without which the later ones cannot be done; these are then skipped.
    """
    closed: str | None = None
    for name, check in checks.items():
        if closed is not None:
            yield Finding(name, "skipped", f'"{closed}" has to hold first')
            continue
        finding = _run(name, check, subject)
        yield finding
        if name in gates and finding.state == "failed":
            closed = name


def _run(name: str, check: Check[Any], subject: Any) -> Finding:
    try:
        return Finding(name, "passed", check(subject) or "")
    except NotChecked as reason:
        return Finding(name, "skipped", str(reason))
    except Violation as problem:
        return Finding(name, "failed", str(problem))
    except Exception as error:  # a plug-in may fail in any way: that is what is being found out
        return Finding(name, "failed", " ".join(f"{type(error).__name__}: {error}".split()))


def check_description(registry: Registry, name: str, plugin: Any) -> str:
    """Check what lists show of a plug-in, read as they read it: its source, or a child process that loads it."""
    summary, requires = getattr(plugin, "summary", None), getattr(plugin, "requires", ())
    require(isinstance(summary, str) and bool(summary.strip()), "it has no summary: one line of text for lists")
    require("\n" not in str(summary), "its summary has more than one line")
    require(
        isinstance(requires, tuple) and all(isinstance(one, str) for one in requires),
        "requires: expected a tuple of names of distributions",
    )
    info = listed(registry, name)
    if info.unavailable is not None:
        raise PluginError(info.unavailable)
    require(
        (info.summary, info.requires) == (summary, requires),
        f"lists show the summary {info.summary!r} and the requirements {info.requires!r}: both have to be literals",
    )
    return f"{info.target} of {info.distribution}"


@cache
def listed(registry: Registry, name: str) -> PluginInfo:
    """Describe a plug-in as lists do, once: loading one in a child process takes as long as importing torch."""
    return registry.info(name)
