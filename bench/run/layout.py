"""Where everything of a run lies: `RunLayout` of the run folder, `JobFolder` of one job's folder in it.

    RUN/cells/MODEL/METHOD/    a cell: result.json, per-caption.safetensors, audio/, captions.json, checkpoint/, ...
    RUN/cells/MODEL/METHOD+repeat-1/    the same method with another calibration draw
    RUN/baselines/MODEL/       a model's own audio in full precision, its features and checkpoint
    RUN/reference/SUITE/       the suite's real audio and its features
    RUN/calibration/KEY/       a calibration set of each component, which methods share
    RUN/quantized/MODEL/METHOD/    a packed checkpoint until its cell has it
    RUN/work/KEY/              a job at work; it becomes one of those above
    RUN/ladder.json            the sanity ladder, with the clips that are no cell's in RUN/ladder/NAME
    RUN/batches/ID/            what a node of a cluster is at work on; gone when the run is done
    RUN/site/                  the leaderboard
    RUN/grid.json              what the last run was asked to do
    RUN/forecast.json          what it was expected to take, if its plan was asked for
    RUN/journal.jsonl          what happened in it, line by line

What the board reads is named in `admbench.leaderboard.run_folder`; the rest is the harness's own and named here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from admbench.files import slug
from admbench.leaderboard.run_folder import (
    AUDIO,
    BASELINES,
    CAPTIONS_FILE,
    CELLS,
    LADDER_FILE,
    PER_CAPTION,
    RECORD_FILE,
    RECORDS,
    REFERENCE,
)

CLIPS = (AUDIO, CAPTIONS_FILE)
"""What a stage that makes audio leaves in a job's folder."""
CALIBRATION_SETS = "sets"
"""The calibration sets, in the folder of the job that drew them."""
CHECKPOINT = "checkpoint"
"""The packed checkpoint, in a job's folder."""
FEATURES_FILE = "features.safetensors"
"""The features of the clips, in a job's folder."""
ALONG_FILE = "trajectory.safetensors"
"""Full precision's latents along the way, of the captions whose trajectories are compared; in a baseline's folder."""
TEXTS_FILE = "texts.safetensors"
"""The conditioning of the captions, which a model's cells read; in a baseline's folder."""
_KEY_DIGITS = 16


@dataclass(frozen=True)
class JobFolder:
    """What a job leaves in its folder, where it works and where that is published."""

    path: Path

    @property
    def job(self) -> Path:
        """The job itself, as JSON."""
        return self.path / "job.json"

    @property
    def record(self) -> Path:
        """The record; a cell's only."""
        return self.path / RECORD_FILE

    @property
    def per_caption(self) -> Path:
        """What the record knows of each caption; a cell's only."""
        return self.path / PER_CAPTION

    @property
    def checkpoint(self) -> Path:
        """Folder of the packed checkpoint."""
        return self.path / CHECKPOINT

    @property
    def audio(self) -> Path:
        """Folder of the clips."""
        return self.path / AUDIO

    @property
    def captions(self) -> Path:
        """List of the clips."""
        return self.path / CAPTIONS_FILE

    @property
    def features(self) -> Path:
        """Features of the clips."""
        return self.path / FEATURES_FILE

    @property
    def along(self) -> Path:
        """Full precision's latents along the way; a baseline's only."""
        return self.path / ALONG_FILE

    @property
    def texts(self) -> Path:
        """The conditioning of the captions; a baseline's only."""
        return self.path / TEXTS_FILE

    @property
    def stages(self) -> Path:
        """Folder that says which stages are done, and for which inputs."""
        return self.path / "stages"

    def stage(self, name: str) -> Path:
        """Key and facts of a finished stage."""
        return self.stages / f"{name}.json"

    @property
    def sealed(self) -> Path:
        """What the finished job left: its key, and the hash of every file."""
        return self.path / "sealed.json"

    @property
    def calibration_sets(self) -> Path:
        """Folder of the calibration sets of a calibration job, one for each component."""
        return self.path / CALIBRATION_SETS

    @property
    def current_stage(self) -> Path:
        """One line: the stage that runs now. Gone when the job is done."""
        return self.path / "stage.txt"

    @property
    def step_timing(self) -> Path:
        """Times of a denoising step that a process of its own measured; gone when they are read."""
        return self.path / "step.json"

    @property
    def log(self) -> Path:
        """What the job says while it runs."""
        return self.path / "log.txt"

    @property
    def quantization_log(self) -> Path:
        """What the job said that made the cell's checkpoint."""
        return self.path / "quantization-log.txt"

    @property
    def times(self) -> Path:
        """What each stage of the job took."""
        return self.path / "times.json"

    @property
    def quantization_times(self) -> Path:
        """What each stage of the job took that made the cell's checkpoint."""
        return self.path / "quantization-times.json"

    @property
    def attempt(self) -> Path:
        """Record of an attempt that failed or was skipped, beside the result that it would have replaced."""
        return self.path / "attempt.json"

    @property
    def attempt_log(self) -> Path:
        """What that attempt said while it ran."""
        return self.path / "attempt-log.txt"

    @property
    def failure(self) -> Path:
        """`{"reason": ...}` of a job that failed."""
        return self.path / "failure.json"


@dataclass(frozen=True)
class RunLayout:
    """The folders of a run; any model name, method spec and suite name becomes a safe, readable path."""

    run: Path

    def cell(self, model: str, method: str, repeat: int = 0) -> JobFolder:
        """Folder of a model quantized by a method with one of its calibration draws; no slug has a plus sign."""
        name = f"{slug(method)}+repeat-{repeat}" if repeat else slug(method)
        return JobFolder(self.run / CELLS / slug(model) / name)

    def baseline(self, model: str) -> JobFolder:
        """Folder of a model in full precision."""
        return JobFolder(self.run / BASELINES / slug(model))

    def reference(self, suite: str) -> JobFolder:
        """Folder of a suite's real audio."""
        return JobFolder(self.run / REFERENCE / slug(suite))

    def work(self, key: str) -> JobFolder:
        """Folder where the job with this key builds its products."""
        return JobFolder(self.all_work / key[:_KEY_DIGITS])

    @property
    def all_work(self) -> Path:
        """Folder of the jobs at work; gone when none is."""
        return self.run / "work"

    @property
    def batches(self) -> Path:
        """Folder of the batches that are given to a cluster's scheduler, and of what its nodes say of them."""
        return self.run / "batches"

    @property
    def grid(self) -> Path:
        """The grid of the last run, as JSON."""
        return self.run / "grid.json"

    @property
    def journal(self) -> Path:
        """What happens in the run, line by line; of the last one when none is at work."""
        return self.run / "journal.jsonl"

    @property
    def forecast(self) -> Path:
        """What the jobs of the run were expected to take when its plan was asked for."""
        return self.run / "forecast.json"

    @property
    def calibration(self) -> Path:
        """Folder of the calibration sets."""
        return self.run / "calibration"

    def calibration_set(self, key: str) -> JobFolder:
        """Folder of the sets that the job with this key drew."""
        return JobFolder(self.calibration / key[:_KEY_DIGITS])

    @property
    def all_quantized(self) -> Path:
        """Folder of the packed checkpoints whose cells are not done; gone when all are."""
        return self.run / "quantized"

    def quantized(self, model: str, method: str, repeat: int = 0) -> JobFolder:
        """Folder of the packed checkpoint of a cell that is not done."""
        return JobFolder(self.all_quantized / self.cell(model, method, repeat).path.relative_to(self.run / CELLS))

    @property
    def all_parts(self) -> Path:
        """Folder of the parts of cells and baselines that are not done; gone when all are."""
        return self.run / "parts"

    def parts(self, model: str, method: str | None, repeat: int = 0) -> Path:
        """Folder of the parts of a cell or, without a method, of a baseline."""
        whole = self.baseline(model) if method is None else self.cell(model, method, repeat)
        return self.all_parts / whole.path.relative_to(self.run)

    def part(self, model: str, method: str | None, repeat: int, first: int) -> JobFolder:
        """Folder of the part that begins with a caption."""
        return JobFolder(self.parts(model, method, repeat) / f"from-{first:06d}")

    def records(self) -> list[Path]:
        """The records that there are, in the order of their paths."""
        return sorted(self.run.glob(RECORDS))

    def published_in(self) -> list[Path]:
        """Folders that hold those which jobs publish."""
        single = (self.run / BASELINES, self.run / REFERENCE, self.calibration)
        parts = (*self.all_parts.glob(f"{CELLS}/*/*"), *self.all_parts.glob(f"{BASELINES}/*"))
        return [*(self.run / CELLS).glob("*"), *self.all_quantized.glob("*"), *single, *parts]

    @property
    def ladder(self) -> Path:
        """The sanity ladder."""
        return self.run / LADDER_FILE

    def ladder_clips(self, name: str) -> JobFolder:
        """Folder of clips on the ladder that are no cell's."""
        return JobFolder(self.run / "ladder" / name)

    @property
    def site(self) -> Path:
        """Folder of the leaderboard."""
        return self.run / "site"

    @property
    def site_key(self) -> Path:
        """What the leaderboard was built from."""
        return self.run / "site.key"

    @property
    def lock(self) -> Path:
        """Held by the process that carries the run out."""
        return self.run / ".lock"

    @property
    def lease(self) -> Path:
        """Kept by that process where the file system has no locks."""
        return self.run / ".lease"
