"""A cell: the packed checkpoint of one method on one model, timed, generated from, scored, and recorded."""

from __future__ import annotations

import subprocess
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np

from admbench import arithmetic, children
from admbench.bench.measurement.cost import cost_totals
from admbench.bench.measurement.latency import NO_INTEGERS, Settings, cost_of_step, time_steps, without_kernels
from admbench.bench.measurement.size import size_section
from admbench.bench.measurement.trajectory import Against, latents_apart, watched_first_batch
from admbench.bench.models.components import TEXT
from admbench.bench.models.quantization import BACKBONE, read_headers
from admbench.bench.models.texts import Texts
from admbench.bench.run import records
from admbench.bench.run.caption_results import caption_results
from admbench.bench.run.checkpoint import STAGE
from admbench.bench.run.generating import texts_in
from admbench.bench.run.jobs import TRAJECTORY, CellJob
from admbench.bench.run.layout import ALONG_FILE, CHECKPOINT, JobFolder
from admbench.bench.run.parts import Whole
from admbench.bench.run.products import read_sealed, require_intact
from admbench.bench.run.stages import Facts
from admbench.bench.run.step_timer import StepTimer
from admbench.bench.run.work import features_in
from admbench.bench.scoring.judges import reading
from admbench.errors import BenchError, DataError
from admbench.files import directory_bytes, link, read_json, remove
from admbench.methods.spec import FULL_PRECISION
from admbench.metrics.features import Features
from admbench.metrics.latents import LATENTS, latent_features
from admbench.metrics.scoring import score_captions

STEP_TIMING = Settings(batch=2, warm_up=1, repeats=5, limit_seconds=10.0)
"""How a cell times its denoising step: briefly; `bench latency` takes its time."""
SIMULATED = "simulated"
NO_ROOFLINE = "not measured beside a cell: it takes seconds and 0.5 GB more; bench latency --roofline measures it"


class Cell(Whole):
    """One method on one model, scored. The method itself never runs here: nothing of it but its checkpoint does."""

    job: CellJob

    def __init__(self, job: CellJob, timer: StepTimer | None = None) -> None:
        super().__init__(job, [job.quantized, *([] if job.fresh else [job.target]), job.baseline])
        self._clock = records.Clock()
        self._against: Against | None = None
        self._timer = timer

    def run(self) -> None:
        """Time, generate and score, and leave the record and what it knows of each caption."""
        checkpoint = self.stages.run(STAGE, self.job.checkpoint, [CHECKPOINT], self._no_checkpoint)
        mine, before = self.job.work, self.job.quantized
        for left, own in ((before.log, mine.quantization_log), (before.times, mine.quantization_times)):
            if left.is_file():
                remove(own)
                link(left, own)
        full = self._full_precision()
        latency = self.measure(checkpoint)
        audio = self.generate()
        if latency["kernel"] is not None:
            latency = latency | {"real_time_factor": audio["real_time_factor"]}
        generated = self.embed(audio)
        self.stages.report("score")
        scored = score_captions(
            generated,
            _features_if_any(self.job.reference),
            features_in(self.job.baseline),
            self.job.metrics,
            self.judges,
            {LATENTS: lambda: self.compare_latents(audio)},
        )
        scores = records.sound_scores(scored.scores)
        record = records.done_record(
            self.job,
            model=full["model"] | {"name": self.job.model},  # as typed: of a folder the model knows the whole path
            method={
                **records.method_identity(self.job),
                **checkpoint["method"],
                "simulated": checkpoint["method"]["simulated"] and latency["kernel"] is None,
            },
            suite=self.suite.describe(self.items),
            generation=audio["generation"],
            scores=scores,
            audio=audio["health"] | {"captions_cut": audio.get("captions_cut"), "reading": reading(self.judges)},
            size=size_section(
                self.checkpoint_folder,
                {**full["components"], BACKBONE: directory_bytes(self.job.baseline.checkpoint)},
                parameters=checkpoint["parameters"],
                nominal_bits=checkpoint["nominal_bits_per_weight"],
                fraction=checkpoint["quantized_fraction"],
            ),
            latency=latency,
            memory=_memory(checkpoint, audio),
            calibration=checkpoint["calibration"],
            clock=self._clock,
            seconds_before=checkpoint["seconds"],
        )
        files = [self.job.work.audio / f"{item.id}.wav" for item in self.items]
        known = {key: own for key, own in scored.captions.items() if scores[key]["value"] is not None}
        content = caption_results([item.id for item in self.items], files, audio["faults"], known)
        records.write_results(self.job.work, record, content)

    def _no_checkpoint(self) -> Facts:
        raise DataError(f"{self.job.quantized.path}: the packed checkpoint is not there, or not the one of this cell")

    def _full_precision(self) -> Facts:
        """Return what the baseline's process, in which no method ran, found out about the model."""
        return read_sealed(self.job.baseline.stage(STAGE)).facts

    def measure(self, checkpoint: Facts) -> Facts:
        """Count what a denoising step computes, and time it with kernels beside full precision: before audio is made.

        It takes a few seconds.
        """
        inputs = [self.networks, self.job.generation.seconds, self.made("latency", self.loading)]
        return self.stages.run("latency", inputs, [], lambda: self._build_latency(checkpoint["method"]))

    def compare_latents(self, audio: Facts) -> Features:
        """Compare the latents of the first captions along their way, by denoising them with both models once more.

        Raises:
            ValueError: there is nothing to compare; says why.
        """
        if self.job.method == FULL_PRECISION:
            raise ValueError("this is full precision")
        apart = self.stages.run(TRAJECTORY, self.trajectory_inputs(audio), [], lambda: self._build_trajectory(audio))
        if "reason" in apart:
            raise ValueError(apart["reason"])
        decibels = np.array(apart["decibels"])
        return latent_features([item.id for item in self.items[: len(decibels)]], decibels, apart["timesteps"])

    @property
    def texts(self) -> Texts | None:
        """See the base class; a text encoder of the checkpoint's encodes for itself."""
        if not read_headers(self.checkpoint_folder).keys().isdisjoint(TEXT):
            return None
        return texts_in(self.job.baseline)

    def watching(self, model: Any) -> AbstractContextManager[None]:
        """Compare latents with full precision's while they are made, where those of the first batch are asked for."""
        if LATENTS not in self.job.extractors or self.job.method == FULL_PRECISION or not self.first_batch_is_compared:
            return nullcontext()
        self._against = self._against_full()
        return nullcontext() if self._against is None else watched_first_batch(model, self._against)

    def _against_full(self) -> Against | None:
        """Return what compares with full precision's latents; None where its baseline kept none."""
        if not self.job.baseline.along.is_file():
            return None
        require_intact(self.job.baseline, [ALONG_FILE])
        return Against(self.job.baseline.along)

    def _build_trajectory(self, audio: Facts) -> Facts:
        if self._against is not None and (seen := self._against.apart) is not None:
            return seen
        quantized, against = self.quantized_model(), self._against_full()
        if against is None:
            del self.model  # what `quantized` is, with its components in their place: the next one is whole
            trajectories = (self.denoised(model, audio) for model in (self.model_of_wanted_length(), quantized))
            return latents_apart(*trajectories)
        for timestep, latents in self.denoised(quantized, audio):
            against(timestep, latents)
        return against.apart or {"reason": "fewer steps than full precision"}

    def _build_latency(self, method: Facts) -> Facts:
        quantizes_backbone = BACKBONE in method["components"]
        counted = {"cost": self._cost_of_step(in_checkpoint=quantizes_backbone)}
        is_full_precision = self.job.method == FULL_PRECISION and quantizes_backbone
        if not method["layers"] and not is_full_precision:
            return {"kernel": None, "reason": NO_INTEGERS} | counted
        if not quantizes_backbone:
            # what is timed is a step of the backbone; the other components run simulated
            return {"kernel": None, "reason": SIMULATED} | counted
        if not self.kernelled.kernels and not is_full_precision:
            return without_kernels(self.kernelled) | counted
        timed = self._time_apart() if arithmetic.slowed() else self.time_step()
        return timed | counted | {"roofline": None, "roofline_reason": NO_ROOFLINE}

    def _cost_of_step(self, *, in_checkpoint: bool) -> Facts:
        """Count operations and bytes of a step of the backbone, which may not be in the checkpoint, on one call."""
        model, batch = self.model_of_wanted_length(), STEP_TIMING.batch
        if not in_checkpoint:
            return {**cost_totals(cost_of_step(model, {}, {}, batch)), "batch": batch}
        widths, kernelled = self.backbone
        costs = cost_of_step(model, widths.schemes, dict(kernelled.chosen), batch, widths.float_bits)
        return {**cost_totals(costs), "batch": batch}

    def time_step(self) -> Facts:
        """Time a denoising step of the packed backbone with kernels beside full precision, in this process."""
        timing = replace(STEP_TIMING, threads=self.job.threads)
        facts: Facts = time_steps(self.model_of_wanted_length(), self.kernelled, timing)
        return facts | {"mkl_cbwr": arithmetic.mode()}

    def _time_apart(self) -> Facts:
        """Time it in a process whose MKL is as fast as users have it: in this one's mode fp32 looks slower."""
        file = self.job.work.step_timing
        if self._timer is not None:
            code = self._timer.carry_out()
        else:
            command = children.command("admbench.bench.run.program", str(self.job.work.job), "--time-step", str(file))
            code = subprocess.run(command, stdin=subprocess.DEVNULL, env=children.timing_environment()).returncode
        if code:
            raise BenchError(f"timing a step in a process of its own: exit code {code}; the log says why")
        facts: Facts = read_json(file)
        file.unlink()
        return facts


def _memory(checkpoint: Facts, audio: Facts) -> Facts:
    quantizing, generating = checkpoint["peak_bytes"], audio["peak_bytes"]
    return {
        "peak_bytes": max(quantizing, generating),
        "quantization_bytes": quantizing,
        "generation_bytes": generating,
        "process": "the larger of two: quantization; generation from the packed checkpoint",
    }


def _features_if_any(folder: JobFolder) -> Features | None:
    return features_in(folder) if folder.features.is_file() else None
