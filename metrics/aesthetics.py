"""Audiobox-Aesthetics: how a listener would rate a clip, predicted without a reference.

Conventions: the mean over clips of one axis, on the scale of its listeners, about 1 to 10; higher is better. Three of
the four axes of Tjandra et al. 2025 (arXiv 2502.05139): content enjoyment, content usefulness, production quality. The
fourth, production complexity, says how much there is to hear, of which neither more nor less is better.

The predictions are those of a network: the network and its hash belong to the score. They were trained on speech, music
and sounds as they are published, not on the damage that quantization does.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from admbench.metrics.base import Metric
from admbench.metrics.features import Features
from admbench.metrics.intervals import Mean, Statistic


class _Axis(Metric):
    """Mean of one axis over clips."""

    higher_is_better = True
    needs = frozenset({"aesthetics"})
    column: ClassVar[int]
    """Of the extractor's array; see `admbench.metrics.embedders.audiobox.AXES`."""

    def compute(self, generated: Features, against: Features | None) -> float:
        """Return the mean over clips."""
        return self.statistic(generated, against).value

    def statistic(self, generated: Features, against: Features | None) -> Statistic:
        """Return the mean over clips."""
        return Mean(generated["aesthetics"][:, self.column].astype(np.float64))


class ContentEnjoyment(_Axis):
    """Predicted content enjoyment."""

    name = "audiobox_ce"
    summary = "Audiobox-Aesthetics: predicted content enjoyment, about 1 to 10, mean over clips; higher is better"
    column = 0


class ContentUsefulness(_Axis):
    """Predicted content usefulness."""

    name = "audiobox_cu"
    summary = "Audiobox-Aesthetics: predicted content usefulness, about 1 to 10, mean over clips; higher is better"
    column = 1


class ProductionQuality(_Axis):
    """Predicted production quality."""

    name = "audiobox_pq"
    summary = "Audiobox-Aesthetics: predicted production quality, about 1 to 10, mean over clips; higher is better"
    column = 3
