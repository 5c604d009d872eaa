"""A short calibration of this machine: how long a model takes here, where no earlier run says it.

Captions are generated in full precision by the very jobs of a run, in a folder that is thrown away: a few; more of
them; and so many with more steps. From the three follow what a process takes once (its first batch is slow), a
denoising step, and a caption beside its steps. What a method costs is reckoned in passes through the backbone, each as
long as one in full precision (`Ratios` has the numbers):

- a calibration set: a step for each prompt and step of its trajectory; more where the sampler measures what each
  layer reads there (`activation-aware`);
- quantization: the search for ranges; where the method reconstructs blocks, the samples of every iteration forward
  and backward, through rounding and blocks that are asked twice;
- a cell: a caption's steps for each caption, its features, and the timing of a step; full precision's latents that
  cells are compared with once a model. `zimtohrli` hears pairs of clips for `HEARING_SECONDS` each.

What a step of full precision takes differs from processor to processor more than the rest does: where kernels and
bfloat16 gain, they take fewer of such steps. Simulated numbers make a step longer; that is not foreseen.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from admbench import arithmetic
from admbench.bench.measurement.trajectory import CAPTIONS as COMPARED
from admbench.bench.models.samplers import default_steps
from admbench.bench.run.executors.base import Task
from admbench.bench.run.executors.local import LocalExecutor, Servers
from admbench.bench.run.expecting import Expected
from admbench.bench.run.jobs import BaselineJob, CalibrationJob, CellJob, Job, PartJob, QuantizeJob, ReferenceJob
from admbench.bench.run.plugins import made_by
from admbench.bench.run.splitting import parts_of
from admbench.bench.run.times import read_times
from admbench.files import directory_bytes
from admbench.methods.spec import FLOAT_BITS, FULL_PRECISION, MethodSpec
from admbench.metrics.latents import LATENTS

FEW, MORE = 4, 16
"""Captions that are generated, at most."""
FEW_STEPS, MORE_STEPS = 3, 9
MEASURING = frozenset({"activation-aware"})
"""Samplers that measure what every layer reads, which takes longer than the steps themselves."""
HEARING_SECONDS = 0.05
"""Of `zimtohrli` for a pair of clips of 2.6 s."""
SCORING_SECONDS = 0.5
"""Of a cell's other scores, and of its record."""
TIMED_STEPS = 12
"""Steps of a cell's own timing, of full precision and with kernels."""
KERNEL_BITS = 8
"""Most bits of weights and of inputs whose products kernels for integers compute."""
MODEL_STEPS = 25
"""Taken of a model whose number of steps nobody says."""
_TIMEOUT = 900.0


@dataclass(frozen=True)
class Ratios:
    """What other work takes, in steps of full precision: as measured on the embedded models beside such steps."""

    search: float
    """The search for the ranges of a method's integers."""
    sample: float
    """A sample of a reconstruction's iteration."""
    measuring: float
    """A step of a trajectory while a sampler measures what every layer reads."""
    kernels: float
    """A step with integer kernels."""
    bf16: float
    """A step in bfloat16."""


USUAL = Ratios(search=120, sample=5.5, measuring=2, kernels=1, bf16=1)
"""Of q-diffusion, ptq4adm and naive at W4A8 on an Intel Xeon with AMX: 116 to 158, 4.5 to 6.4, and 1.8 to 2.5. What
kernels gain there depends on much, and is not foreseen."""
AMD = Ratios(search=90, sample=3.0, measuring=1.5, kernels=0.33, bf16=0.7)
"""Of the same on an AMD EPYC (Zen 4): 78 to 105, 2.3 to 4.2, 1.2 to 1.6, 0.28 to 0.39, and 0.5 to 0.8. Kernels and
bfloat16 gain so much where the processor multiplies such numbers."""


def ratios_here() -> Ratios:
    """Return those that hold for jobs of this machine."""
    if arithmetic.vendor() != arithmetic.AMD:
        return USUAL
    kernels = AMD.kernels if arithmetic.has("avx512_vnni") else USUAL.kernels
    bf16 = AMD.bf16 if arithmetic.has("avx512_bf16") else USUAL.bf16
    return replace(AMD, kernels=kernels, bf16=bf16)


@dataclass(frozen=True)
class Pace:
    """How fast a model goes on this machine, with the threads of one job."""

    start: float
    """Seconds until a process has loaded the model, and those at its end."""
    step: float
    """Seconds of a denoising step of one caption, both halves of its guidance."""
    caption: float
    """Seconds of a caption beside its steps."""
    features: float
    """Seconds of a caption's features."""
    peak_bytes: int
    checkpoint_bytes: int
    """Of the backbone in full precision."""
    clip_bytes: int
    """Of a clip and its features."""
    ratios: Ratios = USUAL

    def expect(self, job: Job, captions: int, effort: int) -> Expected:
        """Return what a job of the model is expected to take.

        Args:
            job: a job of this model, or the reference.
            captions: that clips are made for.
            effort: samples that the method's reconstruction takes through every block, all iterations together.
        """
        clips = captions * self.clip_bytes
        match job:
            case ReferenceJob():
                return Expected(captions * self.features, self.peak_bytes, clips)
            case CalibrationJob():
                own = default_steps(job.sampler, MODEL_STEPS)
                steps = job.request.steps or min(own, job.request.most_steps or own)
                samples = 2 * job.request.prompts * job.request.timesteps * self.clip_bytes // 4
                passes = self.ratios.measuring if job.request.sampler in MEASURING else 1
                seconds = self.start + passes * job.request.prompts * steps * self.step
                return Expected(seconds, self.peak_bytes, samples)
            case QuantizeJob():
                asked = MethodSpec.parse(job.method)
                integers = asked.weight_format is not None or (asked.weight_bits or FLOAT_BITS) < FLOAT_BITS
                search = self.ratios.search if integers else 0
                return Expected(self.start + (search + effort * self.ratios.sample) * self.step, self.peak_bytes, 0)
            case PartJob():
                relative = 1.0 if job.method is None else self._relative(MethodSpec.parse(job.method), job.device)
                making = self.start + job.count * (self._steps(job) * self.step * relative + self.caption)
                return Expected(making, self.peak_bytes, job.count * self.clip_bytes)
            case BaselineJob():
                compared = min(COMPARED, captions) if LATENTS in job.extractors else 0
                seconds = self._clips(job, captions) + compared * self._steps(job) * self.step
                return Expected(seconds, self.peak_bytes, self.checkpoint_bytes + clips)
            case CellJob():
                scoring = SCORING_SECONDS + captions * HEARING_SECONDS * ("zimtohrli" in job.metrics)
                if job.method == FULL_PRECISION:  # its audio is the baseline's, which nothing has to hear
                    return Expected(self.start + SCORING_SECONDS + 2 * TIMED_STEPS * self.step, self.peak_bytes, 0)
                asked = MethodSpec.parse(job.method)
                disk = self.checkpoint_bytes * (asked.weight_bits or FLOAT_BITS) // 32 + clips  # bf16 names none
                timing = 2 * TIMED_STEPS * self.step
                making = self._clips(job, captions, self._relative(asked, job.device))
                return Expected(making + timing + scoring, self.peak_bytes, disk)

    def _relative(self, asked: MethodSpec, device: str) -> float:
        """Return how long a step of a cell is, beside one of full precision."""
        if device != "cpu":
            return 1.0
        if asked.name == "bf16":
            return self.ratios.bf16
        integers = (asked.weight_bits or FLOAT_BITS) <= KERNEL_BITS and (
            asked.activation_bits or FLOAT_BITS
        ) <= KERNEL_BITS
        return self.ratios.kernels if integers else 1.0

    def _clips(self, job: BaselineJob | CellJob, captions: int, relative: float = 1.0) -> float:
        if parts_of(captions, job.split):
            return self.start + captions * self.features
        steps = self._steps(job) * self.step * relative
        return self.start + captions * (steps + self.caption + self.features)

    def _steps(self, job: BaselineJob | CellJob | PartJob) -> int:
        return job.generation.steps or default_steps(job.generation.sampler, MODEL_STEPS)


def gauge(cell: CellJob, captions: int, servers: Servers | None = None) -> Pace | None:
    """Generate some captions with the model of a cell; None where that does not work, as its cells will say.

    Args:
        cell: of the model.
        captions: of the run.
        servers: of child processes, where several models are gauged; None starts and ends one.
    """
    few, more = min(FEW, captions), min(MORE, captions)
    asked = {(few, FEW_STEPS), (more, FEW_STEPS), (more, MORE_STEPS)}
    with tempfile.TemporaryDirectory(prefix="admbench-plan-") as folder:
        jobs = {one: _job(cell, Path(folder), *one) for one in sorted(asked)}
        executor = LocalExecutor(1, _TIMEOUT, servers=servers)
        ended = list(executor.run([Task(job) for job in jobs.values()], lambda job, stage: None))
        times = {one: read_times(job.target.times) for one, job in jobs.items()}
        known = {one: told for one, told in times.items() if told is not None}
        if any(outcome.failed for outcome in ended) or known.keys() != asked:
            return None
        made = jobs[more, MORE_STEPS].target
        clips = directory_bytes(made.audio) + made.features.stat().st_size
        once, step, caption = fit({one: told.seconds["generate"] for one, told in known.items()})
        first = known[more, FEW_STEPS].seconds
        return Pace(
            start=once + sum(first.get(stage, 0.0) for stage in ("start", "checkpoint", "load", "quantize")),
            step=step,
            caption=caption,
            features=first.get("features", 0.0) / more,
            peak_bytes=max(told.peak_bytes for told in known.values()),
            checkpoint_bytes=directory_bytes(made.checkpoint),
            clip_bytes=clips // more,
            ratios=ratios_here(),
        )


def fit(seconds: Mapping[tuple[int, int], float]) -> tuple[float, float, float]:
    """Return what generating takes once, for a step of a caption, and for a caption beside its steps, none below 0.

    Args:
        seconds: that generating took, by captions and steps: of few captions, of more, and of so many in more steps. If
            all are of as many captions, what it takes once cannot be told from what they take, and is 0.
    """
    few, more = min(captions for captions, _ in seconds), max(captions for captions, _ in seconds)
    least, most = seconds[more, FEW_STEPS], seconds[more, MORE_STEPS]
    step = max(0.0, most - least) / (more * (MORE_STEPS - FEW_STEPS))
    each = (least - seconds[few, FEW_STEPS]) / (more - few) if more > few else least / more
    return max(0.0, least - more * each), step, max(0.0, each - FEW_STEPS * step)


def _job(cell: CellJob, folder: Path, captions: int, steps: int) -> BaselineJob:
    fields = {name: getattr(cell, name) for name in BaselineJob.model_fields if name != "kind"}
    generation = cell.generation.model_copy(update={"steps": steps})
    key = f"{captions}-captions-{steps}-steps"
    own = {
        "run": folder / key,
        "key": key,
        "limit": captions,
        "generation": generation,
        "fresh": True,
        "split": None,
    }
    job = BaselineJob(**(fields | own))
    return job.model_copy(update={"made_by": made_by(job)})  # less than what makes the cell
