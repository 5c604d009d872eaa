"""The two jobs before a cell's audio: calibration sets that methods share, and the checkpoint that a method makes."""

from __future__ import annotations

from typing import Any

from admbench.bench.models.quantization import DrawnSet, draw_calibration
from admbench.bench.run.checkpoint import STAGE, write_checkpoint
from admbench.bench.run.jobs import CalibrationJob, QuantizeJob
from admbench.bench.run.layout import CALIBRATION_SETS, CHECKPOINT, RunLayout
from admbench.bench.run.products import read_sealed, require_intact
from admbench.bench.run.stages import Facts
from admbench.bench.run.work import Work

_STAGE = "calibration"


class Calibration(Work):
    """Calibration sets of a model, drawn where no method is."""

    def __init__(self, job: CalibrationJob) -> None:
        super().__init__(job, [])
        self.job = job

    def run(self) -> None:
        """Write a set for each component, and its content address."""
        self.stages.run(_STAGE, self.job.key, [CALIBRATION_SETS], self._build)

    def _build(self) -> Facts:
        model = load(self, self.job)
        self.stages.report("calibrate")
        job = self.job
        drawn = draw_calibration(
            model, job.request, job.components, job.work.calibration_sets, seed=job.seed, draw=job.draw
        )
        return {component: one.key for component, one in drawn.items()}


class Quantization(Work):
    """A model quantized by a method: the packed checkpoint, from which its cell generates in another process."""

    def __init__(self, job: QuantizeJob) -> None:
        super().__init__(job, [] if job.fresh else [job.target, job.cell])
        self.job = job

    def run(self) -> None:
        """Write the packed checkpoint and what its record needs to know of it."""
        self.stages.run(STAGE, self.job.key, [CHECKPOINT], self._build)

    def _build(self) -> Facts:
        job, drawn = self.job, self._drawn()
        model = load(self, job)
        self.stages.report("quantize")
        return write_checkpoint(
            model,
            job.method,
            job.work.checkpoint,
            components=job.components,
            seed=job.seed,
            draw=job.repeat,
            drawn=drawn,
        )

    def _drawn(self) -> dict[Any, DrawnSet]:
        """Return what was drawn for methods that ask as this one does.

        Raises:
            DataError: what the job that drew it left is not there, or not what it wrote.
        """
        if self.job.calibration is None:
            return {}
        folder = RunLayout(self.job.run).calibration_set(self.job.calibration)
        require_intact(folder, [CALIBRATION_SETS])
        keys = read_sealed(folder.stage(_STAGE)).facts
        return {name: DrawnSet(str(key), folder.calibration_sets / name) for name, key in keys.items()}


def load(work: Work, job: CalibrationJob | QuantizeJob) -> Any:
    """Return the job's model in full precision, on its device."""
    from admbench.bench.models import load_model

    work.stages.report("load")
    return load_model(job.model, device=job.device, sampler=job.sampler)
