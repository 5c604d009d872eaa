"""`bench ladder`: can this suite, with these metrics, tell good from bad?

Levels whose order is known beforehand are scored like any cell: real audio against other real audio, the full-precision
model, ever coarser rounding, random weights. A step marked "<" must be seen, one marked "~" must not be, both judged by
the interval of the paired difference of FD over the same captions. KL and CLAP must rank the levels much as FD does.
From full precision down every level is damaged more than the one before, and each must be farther from full precision's
own clips by Zimtohrli, too: that is a distance to the model itself, so there is no step that it must not see.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from admbench.bench.models import fingerprint, load_model
from admbench.bench.run.grid import ExecutionSpec, GridSpec
from admbench.bench.run.layout import CLIPS, FEATURES_FILE, RunLayout
from admbench.bench.run.made_by import made_by_here
from admbench.bench.run.plugins import Plugins
from admbench.bench.run.runner import run_grid
from admbench.bench.run.stages import Facts, Stages
from admbench.bench.run.work import features_in
from admbench.bench.scoring.clips import read_clips, write_clips
from admbench.bench.scoring.features import embed_clips, identity
from admbench.bench.scoring.judges import load_judges
from admbench.bench.suites.base import SuiteItem
from admbench.bench.suites.corpus.corpus import SAMPLE_RATE, render
from admbench.bench.suites.foley import Foley
from admbench.errors import BenchError
from admbench.files import write_json_atomic
from admbench.methods.spec import FULL_PRECISION
from admbench.metrics import registry as metric_registry
from admbench.metrics.features import Features
from admbench.metrics.intervals import Replicates
from admbench.metrics.keys import BASELINE_SUFFIX
from admbench.metrics.needs import needed_extractors
from admbench.registry import missing_distributions
from admbench.versions import git_state

MODELS = ("tiny-audioldm", "tiny-tango", "tiny-make-an-audio")
"""Those that the steps below are known of; tiny-flow and tiny-dit have a ladder where they are named."""
METRICS = ("fd", "kl", "clap")
NEARNESS = "zimtohrli"
"""Metric that says how far a level is from full precision's own clips."""
AGREEMENT = 0.7
Maker = Callable[[Sequence[SuiteItem]], Sequence[NDArray[np.float32]]]
REAL, RANDOM = "real vs real", "random weights"


@dataclass(frozen=True)
class Expected:
    """A level and how it must compare with the one before it."""

    name: str
    relation: str | None


FULL_LADDER = (
    Expected(REAL, None),
    Expected(FULL_PRECISION, "<"),
    Expected("bf16", "~"),
    Expected("naive@w8a8", "~"),
    Expected("naive@w4a8", "<"),
    Expected("naive@w3a8", "<"),
    Expected(RANDOM, "<"),
)


def run_ladder(
    models: Sequence[str] | None,
    out: Path,
    limit: int | None = None,
    levels: Sequence[Expected] = FULL_LADDER,
    command: str = "bench ladder",
) -> dict[str, Any]:
    """Scores the ladder of each model and writes OUT/ladder.json; what is done already is not done again.

    Args:
        models: registry names; None is MODELS.
        out: run folder; the quantized levels are ordinary cells of it.
        limit: size of the stratified subset of the suite; None is all of it.
        levels: from best to worst.
        command: for the provenance.

    Returns:
        The content of ladder.json, as `admbench.leaderboard.ladder` describes it.

    Raises:
        BenchError: a cell failed, or a name is unknown.
    """
    started, clock = datetime.now(UTC), time.monotonic()
    names = tuple(models or MODELS)
    methods = tuple(level.name for level in levels if level.name not in (REAL, RANDOM))
    grid = GridSpec(
        models=names,
        methods=methods,
        suite=Foley.name,
        limit=limit,
        out=out,
        execution=ExecutionSpec(workers=os.cpu_count() or 1),
    )
    for result in run_grid(grid, command=command):
        if result.reason is not None:
            raise BenchError(f"{result.job.name} failed: {result.reason}")
    shared = _Ladder(out, limit, grid)
    ladder = {
        "schema_version": 1,
        "models": [shared.model(name, levels) for name in names],
        "provenance": {
            "started": started.isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - clock, 1),
            "git": git_state(),
            "command": command,
        },
    }
    write_json_atomic(RunLayout(out).ladder, ladder)
    return ladder


class _Ladder:
    """What all models of a ladder share: captions, reference features, judges."""

    def __init__(self, out: Path, limit: int | None, grid: GridSpec) -> None:
        self.layout = RunLayout(out)
        self.plugins, self.made = Plugins(), made_by_here((), grid.execution.device)
        self.extractors = needed_extractors(grid.metrics.names)["generated"]
        self.judges = load_judges(grid.metrics.judges, self.extractors)
        self.suite = Foley()
        self.items = self.suite.take(limit)
        self.ids = tuple(item.id for item in self.items)
        self.reference = Features.load(self.layout.reference(Foley.name).features).match(self.ids)

    def model(self, model: str, levels: Sequence[Expected]) -> dict[str, Any]:
        """The ladder of one model."""
        replicates = [self._scores(self._features(model, level.name)) for level in levels]
        damage = self._damage(model, [level.name for level in levels])
        entries = []
        for number, (level, scores) in enumerate(zip(levels, replicates, strict=True)):
            step = nearness = None
            if level.relation is not None:
                before = levels[number - 1].name
                step = _step(level.relation, scores["fd"] - replicates[number - 1]["fd"])
                if level.name in damage and before in damage:
                    nearness = _step("<", damage[level.name] - damage[before])
            if level.name in damage:
                scores = scores | {NEARNESS + BASELINE_SUFFIX: damage[level.name]}
            entries.append(
                {
                    "name": level.name,
                    "method": None if level.name in (REAL, RANDOM) else level.name,
                    "n": len(self.ids),
                    "scores": {name: _estimate(name, own) for name, own in scores.items()},
                    "step": step,
                    "nearness": nearness,
                }
            )
        suite = self.suite.describe(self.items)
        return {"model": model, "suite": suite, "rungs": entries, "agreement": _agreement(replicates)}

    def _scores(self, features: Features) -> dict[str, Replicates]:
        scores = {}
        for name in METRICS:
            metric = metric_registry.get(name)()
            scores[name] = Replicates.of(metric.statistic(features, self.reference if metric.against else None))
        return scores

    def _damage(self, model: str, levels: Sequence[str]) -> dict[str, Replicates]:
        """Distances of the levels below full precision to its own clips, by name; none without the package."""
        metric = metric_registry.get(NEARNESS)()
        if missing_distributions(metric.requires) or FULL_PRECISION not in levels:
            return {}
        full = self._features(model, FULL_PRECISION)
        damaged = levels[levels.index(FULL_PRECISION) + 1 :]
        return {level: Replicates.of(metric.statistic(self._features(model, level), full)) for level in damaged}

    def _features(self, model: str, level: str) -> Features:
        if level == REAL:
            made = self.made.of_stage("audio", [self.plugins.suite(Foley.name)])
            return self._made("real", [self.suite.sha256, made], self._render_again)
        if level == RANDOM:
            inputs = [model, fingerprint(model), self.made.of_stage("generate", [self.plugins.model(model)])]
            return self._made(f"random-{model}", inputs, lambda items: _generate_untrained(model, items))
        return features_in(self.layout.cell(model, level)).match(self.ids)

    def _render_again(self, items: Sequence[SuiteItem]) -> list[NDArray[np.float32]]:
        """Real audio for the same captions: the same events and attributes, every random detail drawn anew."""
        clips = map(self.suite.clip, items)
        return [render(dataclasses.replace(clip, seed=clip.seed ^ 0x5EED)) for clip in clips]

    def _made(self, name: str, inputs: list[Any], make: Maker) -> Features:
        """Audio that is no cell of the grid, kept with its features in OUT/ladder/NAME."""
        folder = self.layout.ladder_clips(name)
        stages = Stages(folder, [], lambda stage: None)

        def build() -> Facts:
            captions, seeds = [item.caption for item in self.items], [item.seed for item in self.items]
            write_clips(folder.path, self.ids, captions, seeds, make(self.items), SAMPLE_RATE)
            embed_clips(read_clips(folder.path), self.extractors, self.judges).save(folder.features)
            return {}

        key = [*inputs, list(self.ids), identity(self.extractors, self.judges), self.made.of_stage("features")]
        stages.run("audio", key, [*CLIPS, FEATURES_FILE], build)
        return features_in(folder)


def _generate_untrained(model: str, items: Sequence[SuiteItem]) -> list[NDArray[np.float32]]:
    untrained = load_model(model, random_weights=True)
    return list(untrained.generate([item.caption for item in items], [item.seed for item in items]))


def _step(relation: str, difference: Replicates) -> dict[str, Any]:
    low, high = difference.interval()
    return {
        "relation": relation,
        "difference": {"value": difference.value, "ci95": [low, high]},
        "holds": low > 0 if relation == "<" else low <= 0 <= high,
    }


def _estimate(key: str, own: Replicates) -> dict[str, Any]:
    metric = metric_registry.get(key.removesuffix(BASELINE_SUFFIX))()
    return {"value": own.value, "ci95": list(metric.interval(own))}


def _agreement(levels: Sequence[dict[str, Replicates]]) -> dict[str, Any]:
    """Spearman's rho, ties averaged, of each other metric's ranking with FD's; 1 is the same order of quality."""
    by_fd = [scores["fd"].value for scores in levels]
    rhos: dict[str, float | None] = {}
    for name in ("kl", "clap"):
        sign = -1 if metric_registry.get(name).higher_is_better else 1
        rho = float(spearmanr(by_fd, [sign * scores[name].value for scores in levels]).statistic)
        rhos[name] = rho if np.isfinite(rho) else None
    holds = all(rho is not None and rho >= AGREEMENT for rho in rhos.values())
    return {**rhos, "threshold": AGREEMENT, "holds": holds}
