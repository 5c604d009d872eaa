"""What every metric keeps to, on made-up features of some clips, and on short sounds if it reads files."""

from __future__ import annotations

import dataclasses
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

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
from admbench.metrics.audio import read_audio
from admbench.metrics.base import Metric
from admbench.metrics.embedders.base import AudioFeatures
from admbench.metrics.extract import extract_features
from admbench.metrics.extractors import registry as extractors
from admbench.metrics.extractors.base import ROLES, Judges, load_extractor
from admbench.metrics.features import Features
from admbench.metrics.keys import requested_scores
from admbench.metrics.latents import LATENTS
from admbench.metrics.roles import role_of
from admbench.metrics.scoring import score

CLIPS, WINDOWS, DIMENSIONS, CLASSES = 24, 3, 6, 5
RATE, SECONDS = 16_000, 1.0
REMOVED = np.array([[0, 5], [3, 11]])
"""Pairs of clips that a score is computed without."""
CLOSE = 0.5
"""How far that may be from computing anew, of the score: a metric may keep what all clips have determined, such as a
bandwidth, or which part of a set a clip was dealt to."""
STEPS = 4
"""Of the denoising trajectories of the clips."""


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
        return self.made_up("generated", seed=1)

    @cached_property
    def against(self) -> Features | None:
        """Other clips of the same ids, if the metric compares."""
        return self.made_up("against", seed=2) if self.plugin.against else None

    def made_up(self, whose: str, seed: int) -> Features:
        """Return what the metric needs of clips that are tones in noise, of networks that draw what they give."""
        clips = _write_clips(self.folder / whose, seed)
        rng = np.random.default_rng(seed)
        features = extract_features(
            list(clips),
            [read_audio(path) for path in clips.values()],
            [f"a tone called {name}" for name in clips],
            [load_extractor(need) for need in sorted(self.metric.needs)],
            _judges(rng),
            CLIPS,
        )
        arrays = {
            **features.arrays,
            LATENTS: rng.normal(20, 3, (CLIPS, STEPS)),
            "timesteps": np.tile(np.arange(STEPS, 0, -1), (CLIPS, 1)),
        }
        return dataclasses.replace(features, arrays=arrays, files=tuple(clips.values()))


def _is_a_metric(subject: _Subject) -> str:
    plugin = subject.plugin
    require(
        isinstance(plugin, type) and issubclass(plugin, Metric), "expected a subclass of admbench.metrics.base.Metric"
    )
    require(plugin.name == subject.name, f"its name is {plugin.name!r}, it is registered as {subject.name!r}")
    require(isinstance(plugin.higher_is_better, bool), "higher_is_better: expected True or False")
    require(isinstance(plugin.needs, (set, frozenset)), "needs: expected a set of names of extractors")
    for need in sorted(plugin.needs):
        extractors.check(need)
    role_of(subject.metric)  # raises if they are of two judges
    require(plugin.range[0] < plugin.range[1], f"range: expected (least, greatest), found {plugin.range}")
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
    judges = _judges(np.random.default_rng(0))
    baseline = subject.made_up("baseline", seed=3)
    scores = score(subject.generated, subject.against, baseline, [subject.name], judges)
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
        least, greatest = subject.plugin.range
        require(least <= low and high <= greatest, f"{key}: the interval [{low:.4g}, {high:.4g}] leaves its range")
    return ", ".join(scores)


class _MadeUpJudge:
    """A network that draws what it gives, so that nothing is equal by chance."""

    name, sha256, sample_rate, embedding_dim = "made-up", "0" * 64, RATE, DIMENSIONS

    def __init__(self, rng: np.random.Generator, joint: bool) -> None:
        self.rng, self.joint = rng, joint
        self.place = rng.normal(0, 1, DIMENSIONS)  # of a set of clips: sets are further apart than single clips tell

    def embed_audio(self, waveforms: NDArray[np.float32]) -> AudioFeatures:
        """Normal or unit vectors, logits with a clear class, and windows that have nothing to do with either."""
        n = len(waveforms)
        logits = 2 * np.eye(CLASSES)[np.arange(n) % CLASSES] + self.rng.normal(0, 1, (n, CLASSES))
        windows = self.rng.normal(0, 1, (n, WINDOWS, DIMENSIONS)).astype(np.float32)
        return AudioFeatures(self._vectors(n), logits.astype(np.float32), windows)

    def embed_text(self, captions: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors."""
        return self._vectors(len(captions))

    def _vectors(self, n: int) -> NDArray[np.float32]:
        """Unit vectors of a network for audio and captions, others of a tagger."""
        vectors = self.rng.normal(0.5 if self.joint else self.place, 1, (n, DIMENSIONS))
        if self.joint:
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors.astype(np.float32)


def _judges(rng: np.random.Generator) -> Judges:
    return {role: _MadeUpJudge(rng, joint=role == "clap") for role in ROLES}


def _write_clips(folder: Path, seed: int) -> dict[str, Path]:
    """Write stereo clips of tones in noise, each tone in a place of its own; return the file of each clip."""
    rng = np.random.default_rng(seed)
    folder.mkdir()
    time = np.arange(round(RATE * SECONDS)) / RATE
    files = {f"clip-{index:02d}": folder / f"clip-{index:02d}.wav" for index in range(CLIPS)}
    for index, file in enumerate(files.values()):
        tone = 0.3 * np.sin(2 * np.pi * 220 * (1 + index % CLASSES) * time)
        channels = np.outer(tone, rng.uniform(0.2, 1, 2)) + rng.normal(0, 0.02, (len(time), 2))
        soundfile.write(file, channels.astype(np.float32), RATE, subtype="PCM_16")
    return files


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
