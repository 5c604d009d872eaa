"""A part of a large cell or baseline, and how the clips of the parts become those of the whole."""

from __future__ import annotations

from typing import Any

import numpy as np

from admbench.bench.run.checkpoint import STAGE, write_checkpoint
from admbench.bench.run.generating import GENERATE, Generating
from admbench.bench.run.jobs import BaselineJob, CellJob, PartJob
from admbench.bench.run.layout import CHECKPOINT, CLIPS, JobFolder
from admbench.bench.run.products import read_sealed, require_intact
from admbench.bench.run.splitting import parts_of
from admbench.bench.run.stages import Facts
from admbench.bench.suites.base import LISTED
from admbench.errors import DataError
from admbench.files import link, read_json, remove, write_json_atomic
from admbench.methods.spec import FULL_PRECISION
from admbench.metrics.audio import Health


class Part(Generating):
    """The clips of some captions, made from the checkpoint that the whole is made from."""

    job: PartJob

    def __init__(self, job: PartJob) -> None:
        super().__init__(job, [job.quantized, *([] if job.fresh else [job.target, job.of])])

    def run(self) -> None:
        """Write the clips, unless the whole has them of an earlier result."""
        self.stages.run(STAGE, self.job.checkpoint, [CHECKPOINT], self._build_checkpoint)
        if not self.stages.has(GENERATE, self.generating(self.suite.take(self.job.limit)), CLIPS):
            self.generate()
        for what in (self.checkpoint_folder, self.job.work.stage(STAGE)):  # the whole has its own
            remove(what)

    def _build_checkpoint(self) -> Facts:
        if self.job.method is not None:
            raise DataError(
                f"{self.job.quantized.path}: the packed checkpoint is not there, or not the one of this cell"
            )
        model = self.model
        self.stages.report("quantize")
        return write_checkpoint(model, FULL_PRECISION, self.checkpoint_folder, seed=self.job.seed)


class Whole(Generating):
    """A cell or a baseline, whose clips it makes itself or, where they are many, takes from its parts."""

    job: BaselineJob | CellJob

    def build_audio(self) -> Facts:
        """See the base class."""
        cut = parts_of(len(self.items), self.job.split)
        return self._joined([self.job.part(first) for first, _ in cut]) if cut else super().build_audio()

    def _joined(self, folders: list[JobFolder]) -> Facts:
        """Link the clips of the parts, and join what is known of them."""
        self.stages.report("join")
        known, entries = [], list[Any]()
        self.job.work.audio.mkdir(parents=True)
        for folder in folders:
            require_intact(folder, CLIPS)
            known.append(read_sealed(folder.stage(GENERATE)).facts)
            entries += read_json(folder.captions)
            for clip in sorted(folder.audio.iterdir()):
                link(clip, self.job.work.audio / clip.name)
        found = [entry["id"] for entry in entries]
        if found != [item.id for item in self.items]:
            raise DataError(
                f"{self.job.parts}: the clips of {len(found)} captions; expected {len(self.items)}, in order"
            )
        write_json_atomic(self.job.work.captions, entries)
        faults = {name: [flag for one in known for flag in one["faults"][name]] for name in known[0]["faults"]}
        clips = [one["clips"] for one in known]
        return {
            **self.written_audio(sum(clips)),
            "health": Health.of({name: np.array(flags) for name, flags in faults.items()}).to_json(),
            "captions_cut": _cut([one["captions_cut"] for one in known]),
            "faults": faults,
            "generation": known[0]["generation"],
            "real_time_factor": float(np.average([one["real_time_factor"] for one in known], weights=clips)),
            "peak_bytes": max(one["peak_bytes"] for one in known),
        }


def _cut(told: list[Facts | None]) -> Facts | None:
    known = [one for one in told if one is not None]
    if len(known) < len(told):
        return None
    return {"n": sum(one["n"] for one in known), "first": [name for one in known for name in one["first"]][:LISTED]}
