"""What a metric is: the plug-in contract, and the score that comes of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np

from admbench.metrics.features import Features
from admbench.metrics.intervals import UNBOUNDED, Range, Replicates, Statistic, Subsets, Values

Against = Literal["reference", "baseline"]


class Metric(ABC):
    """A number computed from the features of generated clips and, for some metrics, of other clips.

    A plug-in gives the class attributes and `compute`. One that can remove captions faster than by computing again
    overrides `statistic` too. Scores of the same name and version mean the same.
    """

    name: ClassVar[str]
    """Key of the score; `NAME_vs_baseline` is the one against the full-precision model's own output."""
    summary: ClassVar[str]
    """One line for lists; a literal."""
    requires: ClassVar[tuple[str, ...]] = ()
    """Distributions that must be installed; a literal."""
    version: ClassVar[str] = "1"
    """Changes when a value would."""
    higher_is_better: ClassVar[bool]
    ratio_scale: ClassVar[bool] = False
    """Whether it is a distance or divergence: not negative, with an error that grows with it."""
    share: ClassVar[bool] = False
    """Whether it is a share of clips: each counts as 0 or 1."""
    range: ClassVar[Range] = UNBOUNDED
    """Least and greatest value that it can have; intervals end there."""
    direction: ClassVar[str | None] = None
    """Order of the arguments if it matters, such as `{against} || generated`."""
    needs: ClassVar[frozenset[str]]
    """Names of the extractors whose arrays it reads, of one judge at most, which the score names; see
    `admbench.metrics.extractors`."""
    against: ClassVar[tuple[Against, ...]] = ()
    """What generated clips are compared with; empty if with nothing."""
    paired: ClassVar[bool] = True
    """Whether each generated clip is compared with the clip of the same id."""

    @abstractmethod
    def compute(self, generated: Features, against: Features | None) -> float:
        """Return the value.

        Args:
            generated: finite features of n clips.
            against: finite features to compare with, row by row of the same clips if `paired`; None where
                `self.against` is empty.

        Raises:
            ValueError: it cannot be computed; the text says why and becomes the score's reason.
        """

    def statistic(self, generated: Features, against: Features | None) -> Statistic:
        """Return the value with what its interval needs; `against`, if any, has the same clips in the same order."""
        return _Recomputed(self, generated, against)

    def interval(self, replicates: Replicates) -> tuple[float, float]:
        """Return the 95 % interval of the score that some replicates are of, within its range."""
        return replicates.interval(ratio_scale=self.ratio_scale, within=self.range)

    def difference_interval(self, replicates: Replicates) -> tuple[float, float]:
        """Return the 95 % interval of a difference of two scores, within what two of this range can differ by."""
        low, high = self.range
        return replicates.interval(within=(low - high, high - low))

    def details(self, generated: Features, against: Features | None) -> dict[str, Any]:
        """Return what else the score should say of itself; arguments as of `compute`, keys other than the record's."""
        return {}


def given(against: Features | None) -> Features:
    """Return the features to compare with; ValueError if there are none."""
    if against is None:
        raise ValueError("nothing to compare with")
    return against


@dataclass(frozen=True)
class _Recomputed:
    """A metric computed again without each subset of clips."""

    metric: Metric
    generated: Features
    against: Features | None

    @property
    def n(self) -> int:
        return len(self.generated.ids)

    @cached_property
    def value(self) -> float:
        return self.metric.compute(self.generated, self.against)

    def without(self, subsets: Subsets) -> Values:
        return np.array([self._without(np.delete(np.arange(self.n), subset)) for subset in subsets])

    def _without(self, kept: Subsets) -> float:
        return self.metric.compute(self.generated.take(kept), self.against and self.against.take(kept))
