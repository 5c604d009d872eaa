"""Is one method closer to full precision than another? A statement per model, judged by a paired interval.

The score of either method is over the same captions, so the difference of the two has an interval of its own, in which
what makes a caption easy or hard for both cancels. It needs the features that a run keeps beside its records, or, of
the latents, the ratio of each caption.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from admbench.bench.run.jobs import TRAJECTORY
from admbench.bench.run.layout import JobFolder, RunLayout
from admbench.bench.scoring.clips import read_clips
from admbench.bench.scoring.features import with_files
from admbench.errors import DataError, UsageError, nearest
from admbench.judged import judge_of, without_judge
from admbench.leaderboard.boards import make_boards
from admbench.leaderboard.reading import LoadedRecord
from admbench.leaderboard.record import FULL_PRECISION
from admbench.leaderboard.untrusted import check_inside, read_json
from admbench.metrics import registry
from admbench.metrics.base import Metric
from admbench.metrics.features import Features
from admbench.metrics.intervals import MINIMUM_CLIPS, Replicates
from admbench.metrics.keys import BASELINE_SUFFIX
from admbench.metrics.latents import LATENTS, latent_features
from admbench.metrics.roles import as_heard

Verdict = Literal["holds", "does not hold", "cannot be told"]


@dataclass(frozen=True)
class Ordering:
    """`better` is closer to full precision than `worse`, on one model: is that so?"""

    model: str
    better: str
    """Method spec that is said to be closer."""
    worse: str
    score: str
    """Key of the score that is compared, such as `fd_vs_baseline`."""
    difference: float | None
    """Score of `better` minus that of `worse`; None with a reason."""
    ci95: tuple[float, float] | None
    """95 % interval of the difference, captions taken away from both at once."""
    n: int | None
    """Captions."""
    verdict: Verdict
    """`cannot be told`: the interval holds zero, or there is none."""
    reason: str | None


def orderings(records: Iterable[LoadedRecord], versus: str, score: str = "fd" + BASELINE_SUFFIX) -> list[Ordering]:
    """State for every model that every other method is closer to full precision than `versus`.

    Args:
        records: of some runs, with the runs' own files beside them.
        versus: name of a method, such as `naive`: of its specs the plainest of each number of bits is held against the
            others of these bits; or one spec, such as `naive@w6a8`: it is held against all, whatever their bits.
        score: key of a score against the full-precision model's own output.

    Raises:
        UsageError: the key is of another kind of score, or no record is of that method.
        DataError: features of a run are damaged.
    """
    if not score.endswith(BASELINE_SUFFIX):
        raise UsageError(f'"{score}" is no score against full precision; expected one that ends in {BASELINE_SUFFIX}')
    found = []
    one_spec = "@" in versus
    names: set[str] = set()
    for board in make_boards(records):
        cells: dict[tuple[str, object], list[LoadedRecord]] = {}
        for row in board.rows:
            if row.record.status == "done" and row.record.method.bits and row.record.method.name != FULL_PRECISION:
                cells.setdefault((row.group, one_spec or row.record.method.bits), []).append(row.loaded)
            names.add(_called(row.loaded, one_spec))
        for (model, _), group in cells.items():
            plain = [one for one in group if _called(one, one_spec) == versus]
            if not plain:
                continue
            worse = min(plain, key=lambda one: (len(one.record.method.spec), one.record.method.spec))
            others = sorted((one for one in group if one is not worse), key=lambda one: one.record.method.spec)
            found += [compare_cells(model, better, worse, score) for better in others]
    if versus not in names:
        raise UsageError(f'no record is of the method "{versus}".{nearest(versus, names)}')
    return found


def _called(cell: LoadedRecord, one_spec: bool) -> str:
    return cell.record.method.spec if one_spec else cell.record.method.name


def compare_cells(model: str, better: LoadedRecord, worse: LoadedRecord, score: str) -> Ordering:
    """Judge whether one cell is closer to full precision than another of the same model, by a paired interval."""
    specs = (better.record.method.spec, worse.record.method.spec)
    metric = _metric_of(score)
    try:
        one, other = (_replicates(cell, score) for cell in (better, worse))
        if one[0] != other[0]:
            raise ValueError("the two were scored on different captions")
        difference = one[1] - other[1]
    except ValueError as error:
        return Ordering(model, *specs, score, None, None, None, "cannot be told", str(error))
    low, high = metric.difference_interval(difference)
    if metric.higher_is_better:
        closer, further = low > 0, high < 0
    else:
        closer, further = high < 0, low > 0
    verdict: Verdict = "holds" if closer else "does not hold" if further else "cannot be told"
    reason = None if closer or further else "the interval holds zero"
    return Ordering(model, *specs, score, difference.value, (low, high), difference.n, verdict, reason)


def _replicates(cell: LoadedRecord, score: str) -> tuple[Sequence[str], Replicates]:
    """Return the captions of a cell's score and its values without some of them; ValueError where it has none."""
    recorded = cell.record.scores.get(score)
    if recorded is None or recorded.value is None:
        raise ValueError((recorded and recorded.reason) or f"{cell.record.method.spec} has no score {score}")
    metric, judge = _metric_of(score), judge_of(score)
    if metric.needs == {LATENTS}:
        latents = _kept_latents(cell)
        return latents.ids, Replicates.of(metric.statistic(latents, None))
    generated = _features(cell.run, JobFolder(cell.cell))
    baseline = _features(cell.run, RunLayout(cell.run).baseline(cell.record.model.name))
    if generated is None or baseline is None:
        raise ValueError(f"the run of {cell.record.method.spec} has no features beside its records")
    ids = sorted(set(generated.ids) & set(baseline.ids))
    if len(ids) < max(MINIMUM_CLIPS, recorded.n or 0):
        raise ValueError(f"features of {len(ids)} captions, the score is of {recorded.n}")
    own, full = (as_heard(features.match(ids), metric, judge) for features in (generated, baseline))
    return ids, Replicates.of(metric.statistic(own, full))


def _metric_of(score: str) -> Metric:
    metric: Metric = registry.get(without_judge(score).removesuffix(BASELINE_SUFFIX))()
    return metric


def _kept_latents(cell: LoadedRecord) -> Features:
    """Return how far latents of the first captions are from full precision's, which a run keeps; ValueError if not."""
    kept = JobFolder(cell.cell).stage(TRAJECTORY)
    if not kept.is_file():
        raise ValueError(f"the run of {cell.record.method.spec} has no latents' ratios beside its records")
    try:
        facts = read_json(cell.run, kept)["facts"]
        decibels = np.asarray(facts["decibels"], dtype=np.float64)
        return latent_features(
            [clip.id for clip in read_clips(cell.cell)][: len(decibels)], decibels, facts["timesteps"]
        )
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise DataError(f"{kept}: not what a run leaves ({error})") from error


def _features(run: Path, folder: JobFolder) -> Features | None:
    """Read the features that a job left in a folder of its run; None if there are none."""
    path = folder.features
    try:
        check_inside(run, path)
    except DataError:
        return None
    if not path.is_file():
        return None
    features = Features.load(path)
    return with_files(features, read_clips(folder.path)) if folder.captions.is_file() else features
