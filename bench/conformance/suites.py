"""What every caption suite keeps to: items, seeds, a hash, subsets, and reference audio where it has any."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property

import numpy as np
from pydantic import ValidationError

from admbench.bench.conformance.findings import (
    Check,
    Finding,
    NotChecked,
    Violation,
    check_description,
    require,
    run_checks,
)
from admbench.bench.suites import registry
from admbench.bench.suites.base import Suite
from admbench.leaderboard.record import Suite as Section

READ = 3
"""Reference clips that are looked at."""


def check_suite(name: str) -> Iterator[Finding]:
    """Check a suite and yield what is found.

    Raises:
        UsageError: there is no suite of that name.
        PluginError: it cannot be loaded.
    """
    yield from run_checks(_Subject(name), CHECKS, gates=(_IS_SUITE, _HAS_ITEMS))


class _Subject:
    """A suite, made once, and once more where two have to agree."""

    def __init__(self, name: str) -> None:
        self.name, self.plugin = name, registry.get(name)

    @cached_property
    def suite(self) -> Suite:
        suite: Suite = self.plugin()
        return suite


def _is_a_suite(subject: _Subject) -> str:
    plugin, suite = subject.plugin, subject.suite
    require(isinstance(suite, Suite), "expected a subclass of admbench.bench.suites.base.Suite")
    require(suite.name == subject.name, f"its name is {suite.name!r}, it is registered as {subject.name!r}")
    require(bool(getattr(suite, "split", None)), "split: expected which part of its source it is, such as test")
    require(suite.sample_rate > 0, f"sample_rate is {suite.sample_rate}")
    return check_description(registry, subject.name, plugin)


def _has_items(subject: _Subject) -> str:
    items = subject.suite.items
    require(isinstance(items, tuple) and bool(items), "items: expected a tuple of at least one")
    ids = [item.id for item in items]
    require(len(set(ids)) == len(ids), "ids are not unique")
    kinds = {tuple(item.strata) for item in items}
    require(len(kinds) == 1, "strata have other keys in some items than in others")
    for item in items:
        require(
            re.fullmatch(r"[A-Za-z0-9._-]{1,100}", item.id) is not None, f"id {item.id!r} is not safe as a file name"
        )
        require(bool(item.caption.strip()), f"{item.id}: the caption is blank")
        require(0 <= item.seed < 2**63, f"{item.id}: seed {item.seed} is not in 0 .. 2**63 - 1")
    return f"{len(items)} captions"


def _is_the_same_again(subject: _Subject) -> str:
    suite, again = subject.suite, subject.plugin()
    require(
        re.fullmatch("[0-9a-f]{64}", suite.sha256) is not None, f"sha256 is {suite.sha256!r}, expected 64 hex digits"
    )
    require((suite.items, suite.sha256) == (again.items, again.sha256), "made again it has other items or another hash")
    return suite.sha256[:12]


def _takes_subsets(subject: _Subject) -> None:
    suite = subject.suite
    few, more, whole = suite.take(1), suite.take(max(1, len(suite.items) // 2)), suite.take()
    require(few == more[: len(few)] and more == whole[: len(more)], "a smaller subset does not begin a larger one")
    require(sorted(item.id for item in whole) == sorted(item.id for item in suite.items), "all of it is not all items")


def _has_audio(subject: _Subject) -> str:
    suite = subject.suite
    present = [item for item in suite.items if item.reference is not None]
    silent = [item for item in suite.items if item.reference is None]
    for item in silent[:READ]:
        require(suite.reference_audio(item) is None, f"{item.id}: has audio and no reference")
    if not present:
        raise NotChecked("it has no reference clips")
    for item in present[:READ]:
        audio = suite.reference_audio(item)
        if audio is None:
            raise Violation(f"{item.id}: has a reference and no audio")
        require(
            audio.dtype == np.float32 and audio.ndim == 1, f"{item.id}: audio is {audio.dtype}, shape {audio.shape}"
        )
        require(
            bool(np.isfinite(audio).all()) and float(np.abs(audio).max()) <= 1, f"{item.id}: audio beyond full scale"
        )
        again = suite.reference_audio(item)
        require(again is not None and np.array_equal(audio, again), f"{item.id}: the audio is another when read again")
    return f"{len(present)} reference clips"


def _fits_the_record(subject: _Subject) -> None:
    try:
        Section.model_validate(subject.suite.describe(subject.suite.take(2)))
    except ValidationError as error:
        first = error.errors()[0]
        raise Violation(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None


_IS_SUITE = "is a suite that lists can show"
_HAS_ITEMS = "has captions with ids and seeds"
CHECKS: Mapping[str, Check[_Subject]] = {
    _IS_SUITE: _is_a_suite,
    _HAS_ITEMS: _has_items,
    "is the same whenever it is made": _is_the_same_again,
    "takes nested subsets": _takes_subsets,
    "has the audio that it says it has": _has_audio,
    "describes itself as a record can hold": _fits_the_record,
}
"""What has to hold -> its check, in the order in which they are done."""
