"""What jobs of a run need: stages in the work folder; of those that make clips, captions, judges and features too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

from admbench.bench.run.jobs import ClipsJob, Job, PartJob
from admbench.bench.run.layout import CLIPS, FEATURES_FILE, JobFolder
from admbench.bench.run.plugins import Plugins
from admbench.bench.run.products import require_intact
from admbench.bench.run.stages import Facts, StageReport, Stages
from admbench.bench.run.times import StageTimes
from admbench.bench.scoring.clips import read_clips, write_clips
from admbench.bench.scoring.features import embed_clips, identity, with_files
from admbench.bench.scoring.judges import load_judges
from admbench.bench.suites import load_suite
from admbench.bench.suites.base import Suite, SuiteItem
from admbench.files import write_json_atomic
from admbench.hashing import sha256_file, sha256_json
from admbench.identities import PluginIdentity
from admbench.metrics.extractors.base import Extractor, Judges, load_extractor
from admbench.metrics.features import Features


class Work:
    """One job at work in its folder.

    Args:
        job: what to do.
        reuse: folders of earlier results, whose products are taken where they are the same.
    """

    def __init__(self, job: Job, reuse: Sequence[JobFolder]) -> None:
        self.times = StageTimes(StageReport(job.work))
        self.stages = Stages(job.work, reuse, self.times)
        self._job, self.plugins = job, Plugins()
        write_json_atomic(job.work.job, job.model_dump(mode="json"))

    def made(self, stage: str, plugins: Iterable[PluginIdentity] = ()) -> list[Any]:
        """Return what the key of a stage has of what makes its products, and of where they are computed.

        Args:
            stage: its name, in `made_by.STAGES`.
            plugins: that run in it.
        """
        return [self._job.made_by.of_stage(stage, plugins), self._job.threads, self._job.device]


class ClipWork(Work):
    """A job at work that makes clips and their features."""

    def __init__(self, job: ClipsJob, reuse: Sequence[JobFolder]) -> None:
        super().__init__(job, reuse)
        self.job = job

    @cached_property
    def suite(self) -> Suite:
        """The suite of the run."""
        return load_suite(self.job.suite)

    @cached_property
    def items(self) -> tuple[SuiteItem, ...]:
        """The captions of the run; of a part of it, its own."""
        whole = self.suite.take(self.job.limit)
        return whole[self.job.first : self.job.first + self.job.count] if isinstance(self.job, PartJob) else whole

    @cached_property
    def extractors(self) -> list[Extractor]:
        """What is computed of the clips."""
        return [load_extractor(name) for name in self.job.extractors]

    @cached_property
    def judges(self) -> Judges:
        """The networks that the extractors read, by role."""
        return load_judges(self.job.judges, self.extractors)

    def embed(self, audio: Facts) -> Features:
        """Return the features of the clips in the work folder, computed from the WAV files as they were written."""
        inputs = [audio["sha256"], identity(self.extractors, self.judges), self.made("features")]

        def build() -> Facts:
            embed_clips(read_clips(self.job.work.path), self.extractors, self.judges).save(self.job.work.features)
            return {}

        self.stages.run("features", inputs, [FEATURES_FILE], build)
        return features_in(self.job.work)

    def write_audio(self, items: Sequence[SuiteItem], seeds: Sequence[int], waveforms: Any, rate: int) -> Facts:
        """Write clips into the work folder; return their number and their hash."""
        ids, captions = [item.id for item in items], [item.caption for item in items]
        write_clips(self.job.work.path, ids, captions, seeds, waveforms, rate)
        return self.written_audio(len(ids))

    def written_audio(self, clips: int) -> Facts:
        """Return the number of the clips in the work folder, and their hash."""
        files = {path.name: sha256_file(path) for path in sorted(self.job.work.audio.iterdir())}
        return {
            "clips": clips,
            "sha256": sha256_json([files, sha256_file(self.job.work.captions)]),
        }


def features_in(folder: JobFolder) -> Features:
    """Read the features that a job left, with the files of their clips.

    Raises:
        DataError: features or clips are not what the job wrote.
    """
    require_intact(folder, (FEATURES_FILE, *CLIPS))
    return with_files(Features.load(folder.features), read_clips(folder.path))
