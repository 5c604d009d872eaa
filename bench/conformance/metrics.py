"""What every metric keeps to, on made-up features of some clips, and on short sounds if it reads files."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray
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
from admbench.leaderboard.record import Score
from admbench.metrics import registry
from admbench.metrics.base import Metric
from admbench.metrics.features import Features
from admbench.metrics.keys import requested_scores
from admbench.metrics.scoring import score
from admbench.metrics.window_moments import moments

CLIPS, WINDOWS, DIMENSIONS, CLASSES = 24, 3, 6, 5
RATE, SECONDS = 16_000, 1.0
REMOVED = np.array([[0, 5], [3, 11]])
"""Pairs of clips that a score is computed without."""
CLOSE = 0.5
"""How far that may be from computing anew, of the score: a metric may keep what all clips have determined, such as a
bandwidth, or which part of a set a clip was dealt to."""
_FIELDS = ("embedding", "logits", "clap_audio", "clap_text", "levels", "files", "window_moments")


def check_metric(name: str) -> Iterator[Finding]:
    """Check a metric and yield what is found.

    Raises:
        UsageError: there is no metric of that name.
        PluginError: it cannot be loaded.
    """
    with tempfile.TemporaryDirectory() as folder:
        yield from run_checks(_Subject(name, Path(folder)), CHECKS, gates=(_IS_METRIC, _COMPUTES))


class _Subject:
    """A metric, and features of clips that are not there."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.plugin, self.folder = name, registry.get(name), folder

    @cached_property
    def metric(self) -> Metric:
        metric: Metric = self.plugin()
        return metric

    @cached_property
    def generated(self) -> Features:
        return _features(self.folder / "generated", seed=1)

    @cached_property
    def against(self) -> Features | None:
        """Other clips of the same ids, if the metric compares."""
        return _features(self.folder / "against", seed=2) if self.plugin.against else None


def _is_a_metric(subject: _Subject) -> str:
    plugin = subject.plugin
    require(
        isinstance(plugin, type) and issubclass(plugin, Metric), "expected a subclass of admbench.metrics.base.Metric"
    )
    require(plugin.name == subject.name, f"its name is {plugin.name!r}, it is registered as {subject.name!r}")
    require(isinstance(plugin.higher_is_better, bool), "higher_is_better: expected True or False")
    unknown = [field for field in plugin.needs if field not in _FIELDS]
    require(not unknown, f"needs: features have no {unknown}; expected some of {', '.join(_FIELDS)}")
    require(
        plugin.network in (None, "tagger", "clap"), f"network: expected tagger, clap or None, found {plugin.network}"
    )
    unknown = [one for one in plugin.against if one not in ("reference", "baseline")]
    require(not unknown, f"against: expected reference, baseline or both, found {unknown}")
    return check_description(registry, subject.name, plugin)


def _computes(subject: _Subject) -> str:
    try:
        value = subject.metric.compute(subject.generated, subject.against)
    except ValueError as error:
        raise Violation(f"made-up features of {CLIPS} clips have no value: {error}") from None
    require(isinstance(value, float) and math.isfinite(value), f"the value is {value!r}, expected a finite float")
    again = subject.metric.compute(subject.generated, subject.against)
    require(value == again, f"computing again gives {again!r}, not {value!r}")
    require(not subject.metric.ratio_scale or value > 0, f"a distance of different clips is {value!r}")
    return f"{value:.4g}"


def _is_best_where_nothing_differs(subject: _Subject) -> str:
    if subject.against is None:
        raise NotChecked("it compares with nothing")
    if not subject.metric.ratio_scale:
        raise NotChecked("it is no distance or divergence")
    same = subject.metric.compute(subject.generated, subject.generated)
    other = subject.metric.compute(subject.generated, subject.against)
    require(abs(same) <= 1e-6 * other, f"clips are {same:.2g} from themselves, {other:.2g} from others")
    return f"{same:.2g}"


def _removes_clips(subject: _Subject) -> None:
    metric, generated, against = subject.metric, subject.generated, subject.against
    statistic = metric.statistic(generated, against)
    require(statistic.n == CLIPS, f"its statistic is of {statistic.n} clips, not {CLIPS}")
    whole = metric.compute(generated, against)
    require(math.isclose(statistic.value, whole, rel_tol=1e-6, abs_tol=1e-9), "its statistic has another value")
    kept = [np.delete(np.arange(CLIPS), removed) for removed in REMOVED]
    anew = [metric.compute(generated.take(rows), against and against.take(rows)) for rows in kept]
    found = statistic.without(REMOVED)
    require(np.shape(found) == (len(REMOVED),), f"without {len(REMOVED)} subsets it gives {np.shape(found)} numbers")
    for value, expected in zip(found, anew, strict=True):
        close = abs(float(value) - expected) <= CLOSE * abs(whole)
        require(close, f"without two clips its statistic is {value:.6g}, computed anew {expected:.6g}")


def _fits_the_record(subject: _Subject) -> str:
    network = SimpleNamespace(name="made-up", sha256="0" * 64)
    embedders: Any = SimpleNamespace(tagger=network, clap=network)
    baseline = _features(subject.folder / "baseline", seed=3)
    scores = score(subject.generated, subject.against, baseline, [subject.name], embedders)
    expected = [requested.key for requested in requested_scores([subject.name])]
    require(list(scores) == expected, f"its scores are {', '.join(scores)}; expected {', '.join(expected)}")
    for key, entry in scores.items():
        try:
            made = Score.model_validate(entry)
        except ValidationError as error:
            first = error.errors()[0]
            raise Violation(f"{key}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
        require(made.value is not None, f"{key}: no value: {made.reason}")
        require(made.ci95 is not None, f"{key}: no interval: {made.reason}")
        low, high = made.ci95 or (math.nan, math.nan)
        require(low <= (made.value or 0) <= high, f"{key}: the interval [{low:.4g}, {high:.4g}] leaves the value out")
    return ", ".join(scores)


def _features(folder: Path, seed: int) -> Features:
    """Make up features of clips, and the sounds themselves: tones in noise."""
    rng = np.random.default_rng(seed)
    ids = tuple(f"clip-{index:02d}" for index in range(CLIPS))
    folder.mkdir()
    time = np.arange(round(RATE * SECONDS)) / RATE
    for index, name in enumerate(ids):
        sound = 0.3 * np.sin(2 * np.pi * 220 * (1 + index % CLASSES) * time) + rng.normal(0, 0.02, len(time))
        soundfile.write(folder / f"{name}.wav", sound.astype(np.float32), RATE, subtype="PCM_16")
    shape = np.eye(CLASSES)[np.arange(CLIPS) % CLASSES]
    return Features(
        ids=ids,
        embedding=rng.normal(0, 1, (CLIPS, DIMENSIONS)).astype(np.float32),
        logits=(2 * shape + rng.normal(0, 1, (CLIPS, CLASSES))).astype(np.float32),
        clap_audio=_unit(rng.normal(0.5, 1, (CLIPS, DIMENSIONS))),
        clap_text=_unit(rng.normal(0.5, 1, (CLIPS, DIMENSIONS))),
        levels=np.tile(np.array([0.2, 0.0, SECONDS], np.float32), (CLIPS, 1)),
        files=tuple(folder / f"{name}.wav" for name in ids),
        window_moments=moments(rng.normal(0, 1, (CLIPS, WINDOWS, DIMENSIONS)).astype(np.float32)),
    )


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float32]:
    unit: NDArray[np.float32] = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


_IS_METRIC = "is a metric that lists can show"
_COMPUTES = "computes the same finite number twice"
CHECKS: Mapping[str, Check[_Subject]] = {
    _IS_METRIC: _is_a_metric,
    _COMPUTES: _computes,
    "is zero where nothing differs, if it is a distance": _is_best_where_nothing_differs,
    "leaves clips out as if they had not been there": _removes_clips,
    "gives scores that a record can hold": _fits_the_record,
}
"""What has to hold -> its check, in the order in which they are done."""
