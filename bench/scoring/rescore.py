"""A cell's scores from its clips once more: what `bench validate --rescore` compares with its record.

Clips are read as untrusted input: ids are file names, in the cell's own folder. Real audio comes from the suite that
the record names, if it is here and has the hash that the record says; full precision's clips from its cell in the run,
or from RUN/baselines.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from admbench.bench.scoring.clips import Clip, write_clips
from admbench.bench.scoring.features import embed_clips
from admbench.bench.scoring.judges import load_judges
from admbench.bench.scoring.spec import JudgeSpec
from admbench.bench.suites import load_suite
from admbench.bench.suites import registry as suites
from admbench.errors import BenchError, DataError
from admbench.files import slug
from admbench.judged import judge_of, without_judge
from admbench.leaderboard.clips import read_clips
from admbench.leaderboard.identity import suite_name
from admbench.leaderboard.reading import LoadedRecord, read_one
from admbench.leaderboard.record import FULL_PRECISION, Record, Score
from admbench.leaderboard.run_folder import AUDIO, BASELINES, RECORD_FILE, REFERENCE
from admbench.leaderboard.untrusted import check_inside
from admbench.metrics import registry
from admbench.metrics.extractors.base import ROLES, Judges
from admbench.metrics.features import Features
from admbench.metrics.keys import BASELINE_SUFFIX
from admbench.metrics.latents import LATENTS
from admbench.metrics.needs import Whose, needed_extractors
from admbench.metrics.roles import role_of
from admbench.metrics.scoring import score_captions

FIRST_VERSION = "1"
"""Of every metric. A record of schema version 1 may be of this one."""
TOLERANCE = 1e-3
"""Largest difference that counts as the same, as a share of the score: other processors add in another order."""
TOLERANCE_OF_INTERVAL = 1e-2
"""The same as a share of the length of its interval, for distances that are near zero."""


@dataclass(frozen=True)
class Outcome:
    """What a cell's clips gave."""

    scores: Mapping[str, float]
    """Key -> value."""
    not_scored: Mapping[str, str]
    """Key -> why clips alone do not give it."""
    problems: tuple[str, ...]
    """Where it is not what the record says, one line each; empty if the cell is re-scored."""


@dataclass
class Rescorer:
    """Scores cells again; what cells share, such as real audio, is embedded once."""

    _features: dict[Any, Features | None] = field(default_factory=dict)
    _judges: dict[Any, Judges] = field(default_factory=dict)
    _scratch: tempfile.TemporaryDirectory[str] = field(
        default_factory=lambda: tempfile.TemporaryDirectory(prefix="admbench-rescore-")
    )
    """Real audio as the suite gives it; gone with this."""

    def rescore(self, loaded: LoadedRecord) -> Outcome:
        """Score a finished cell again from the clips beside its record.

        Raises:
            BenchError: clips, the suite, a metric or a judge are not there, or are others than the record's.
        """
        task = _Task(loaded, Path(self._scratch.name))
        judges = self._judges_of(task)
        task.check_weights(judges)
        reference = self._of(task, ("reference", task.record.suite.sha256, task.captions), task.reference)
        baseline = self._of(task, ("baseline", str(task.baseline_folder)), task.baseline)
        generated = self._of(task, ("cell", str(loaded.cell)), lambda: task.clips)
        assert generated is not None  # a finished cell has clips: `_Task`
        again = score_captions(generated, reference, baseline, task.metrics, judges)
        values, problems = {}, []
        for key, score in task.scores.items():
            found = again.scores.get(key, {})
            if found.get("value") is None:
                reason = found.get("reason", "no such score")
                problems.append(f"scores.{key}.value: {score.value:g}; from the clips: {reason}")
                continue
            values[key] = float(found["value"])
            if not _same(score, values[key]):
                problems.append(f"scores.{key}.value: {score.value:g}; from the clips: {values[key]:g}")
        return Outcome(values, task.not_scored, tuple(problems))

    def _of(self, task: _Task, key: tuple[Any, ...], clips: Callable[[], list[Clip]]) -> Features | None:
        known = (*key, task.judge_names, task.metrics)
        if known not in self._features:
            whose: Whose = "reference" if key[0] == "reference" else "generated"
            own = clips()
            extractors = needed_extractors(task.metrics)[whose]
            self._features[known] = embed_clips(own, extractors, self._judges_of(task)) if own else None
        return self._features[known]

    def _judges_of(self, task: _Task) -> Judges:
        known = task.judge_names, task.metrics
        if known not in self._judges:
            self._judges[known] = task.load_judges()
        return self._judges[known]


class _Task:
    """What a record asks for."""

    def __init__(self, loaded: LoadedRecord, scratch: Path) -> None:
        self.loaded, self.record, self._scratch = loaded, loaded.record, scratch
        if self.record.audio is not None and self.record.audio.nan:
            raise DataError(f"{loaded.path}: audio.nan: {self.record.audio.nan} clips were not finite; expected none")
        done = {key: score for key, score in self.record.scores.items() if score.value is not None}
        self.not_scored = {key: "it compares latents, not clips" for key in done if LATENTS in _metric(key).needs}
        for key, score in done.items():
            if score.version is None and _metric(key).version != FIRST_VERSION:
                version = f"its metric has version {_metric(key).version} here"
                self.not_scored[key] = f"the record, of schema version 1, does not say its metric's version; {version}"
        self.scores = {key: score for key, score in done.items() if key not in self.not_scored}
        for key, score in self.scores.items():
            if score.version not in (None, _metric(key).version):
                here = f"its metric has version {score.version}, here {_metric(key).version}"
                raise DataError(f"{loaded.path}: scores.{key}: {here}")
        self.metrics = tuple(dict.fromkeys(_name(key) for key in self.scores))

    @cached_property
    def clips(self) -> list[Clip]:
        """The cell's own, each checked to lie in its folder."""
        found = _clips_in(self.loaded.run, self.loaded.cell)
        if not found:
            raise DataError(f"{self.loaded.cell}: no clips to score")
        return found

    @property
    def captions(self) -> tuple[str, ...]:
        """Ids of its captions."""
        return tuple(clip.id for clip in self.clips)

    @cached_property
    def judge_names(self) -> tuple[tuple[str, ...], ...]:
        """Of each role, the first judge's and the further ones'."""
        names: dict[str, list[str]] = {role: [] for role in ROLES}
        for key, score in self.scores.items():
            role = role_of(_metric(key))
            if role is not None and score.backbone is not None and score.backbone not in names[role]:
                names[role].insert(0 if judge_of(key) is None else len(names[role]), score.backbone)
        return tuple(tuple(names[role]) for role in ROLES)

    def load_judges(self) -> Judges:
        """Load the networks behind the scores, by seat."""
        named = {role: names for role, names in zip(ROLES, self.judge_names, strict=True) if names}
        needed = needed_extractors(self.metrics)
        extractors = list(dict.fromkeys(one for own in needed.values() for one in own))
        return load_judges(JudgeSpec.model_validate(named), extractors)

    def check_weights(self, judges: Judges) -> None:
        """Raise DataError if a judge has other weights than the record says."""
        hashes = {judge.name: judge.sha256 for judge in judges.values()}
        for key, score in self.scores.items():
            if score.backbone is not None and hashes.get(score.backbone) != score.backbone_sha256:
                where = f"{self.loaded.path}: scores.{key}.backbone_sha256"
                raise DataError(f"{where}: the {score.backbone} that is here has other weights")

    def reference(self) -> list[Clip]:
        """Real audio of the captions, from the suite itself; of one that is not installed, what the run has kept."""
        if not any(score.against == "reference" for score in self.scores.values()):
            return []
        if self.record.suite.name not in suites:
            kept = _clips_in(self.loaded.run, self.loaded.run / REFERENCE / slug(suite_name(self.record)))
            return [clip for clip in kept if clip.id in self.captions]
        suite = load_suite(self.record.suite.name)
        if suite.sha256 != self.record.suite.sha256:
            raise DataError(f"{self.loaded.path}: suite.sha256: the {suite.name} that is here is another")
        items = suite.take(self.record.suite.n)
        if [(item.id, item.caption) for item in items] != [(clip.id, clip.caption) for clip in self.clips]:
            raise DataError(f"{self.loaded.path}: captions: not the first {len(items)} that {suite.name} gives")
        pairs = [(item, suite.reference_audio(item)) for item in items]
        real = [(item, audio) for item, audio in pairs if audio is not None]
        folder = Path(tempfile.mkdtemp(dir=self._scratch))
        write_clips(
            folder,
            [item.id for item, _ in real],
            [item.caption for item, _ in real],
            [item.seed for item, _ in real],
            [audio for _, audio in real],
            suite.sample_rate,
        )
        return _clips_in(folder, folder)

    @cached_property
    def baseline_folder(self) -> Path:
        """Where full precision's own clips of the model are."""
        cell = self.loaded.cell.with_name(slug(FULL_PRECISION))
        if (cell / RECORD_FILE).is_file() and _comparable(read_one(self.loaded.run, cell / RECORD_FILE), self.record):
            return cell
        return self.loaded.run / BASELINES / self.loaded.cell.parent.name

    def baseline(self) -> list[Clip]:
        """Full precision's own clips."""
        own = any(key.endswith(BASELINE_SUFFIX) for key in self.scores)
        clips = _clips_in(self.loaded.run, self.baseline_folder)
        if own and not clips:
            raise DataError(f"{self.baseline_folder}: no clips of full precision, which scores are against")
        return clips


def _clips_in(run: Path, folder: Path) -> list[Clip]:
    clips = []
    for clip in read_clips(run, folder):
        path = folder / AUDIO / f"{clip.id}.wav"
        check_inside(run, path)
        if not path.is_file():
            raise DataError(f"{path}: no such clip, but it is listed")
        clips.append(Clip(clip.id, path, clip.caption))
    return clips


def _comparable(full: Record, record: Record) -> bool:
    return (full.model, full.suite) == (record.model, record.suite) and full.status == "done"


def _name(key: str) -> str:
    """Return the metric's name in a score's key."""
    return without_judge(key).removesuffix(BASELINE_SUFFIX)


def _metric(key: str) -> Any:
    return registry.get(_name(key))()


def _same(score: Score, again: float) -> bool:
    assert score.value is not None
    interval = 0.0 if score.ci95 is None else score.ci95[1] - score.ci95[0]
    return abs(score.value - again) <= max(TOLERANCE * abs(score.value), TOLERANCE_OF_INTERVAL * interval, 1e-9)


def rescore_all(records: Sequence[LoadedRecord]) -> dict[Path, Outcome]:
    """Score every finished cell of some records again, with a progress bar; what cannot be is a problem of its cell."""
    from admbench.progress import track

    rescorer = Rescorer()
    found = {}
    for loaded in track([one for one in records if one.record.status == "done"], "Re-scoring"):
        try:
            found[loaded.path] = rescorer.rescore(loaded)
        except BenchError as error:
            line = " ".join(str(error).removeprefix(f"{loaded.path}: ").split())
            found[loaded.path] = Outcome({}, {}, (f"not re-scored: {line}",))
    return found
