"""Does one job, from serializable inputs to files; knows nothing of who started it.

`python -m admbench.bench.run.cell JOB.json` is the same as a program: exit code 0 when the job's folder has been
published, 1 when it failed, with the reason in `failure.json` beside the job file.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from admbench import arithmetic, children
from admbench.bench.measurement.latency import (
    NO_INTEGERS,
    Settings,
    kernels_in,
    time_steps,
    without_kernels,
)
from admbench.bench.measurement.memory import peak_resident_bytes
from admbench.bench.measurement.size import component_bytes, size_section
from admbench.bench.measurement.trajectory import CAPTIONS, latents_apart
from admbench.bench.models.components import Component
from admbench.bench.models.quantization import (
    BACKBONE,
    load_component,
    quantize_components,
    read_headers,
    run_seed,
    save_components,
)
from admbench.bench.run import records
from admbench.bench.run.jobs import (
    FAILURE_FILE,
    NO_SPACE,
    TRAJECTORY,
    BaselineJob,
    CellJob,
    Job,
    ReferenceJob,
    job_from_json,
)
from admbench.bench.run.stages import Facts, StageReport, Stages, publish
from admbench.bench.scoring.clips import read_clips, write_clips
from admbench.bench.scoring.features import embed_clips, with_files
from admbench.bench.scoring.judges import Judges, load_judges, reading
from admbench.bench.suites import load_suite
from admbench.bench.suites.base import Suite, SuiteItem
from admbench.errors import BenchError
from admbench.files import read_json, write_json_atomic
from admbench.hashing import sha256_file, sha256_json
from admbench.methods.core.backbone import QuantizedBackbone
from admbench.methods.core.checkpoint.packed import directory_bytes
from admbench.methods.core.kernels import WithKernels
from admbench.methods.core.kernels.processor import has_vnni
from admbench.metrics.audio import health, is_finite
from admbench.metrics.features import Features
from admbench.metrics.latents import LATENT_SCORE, latent_score
from admbench.metrics.scoring import score
from admbench.progress import set_quiet

AUDIO = ("audio", "captions.json")
FEATURES = "features.safetensors"
BASELINE_METHOD = "fp32"
STEP_TIMING = Settings(batch=2, warm_up=1, repeats=5, limit_seconds=10.0)
"""How a cell times its denoising step: briefly; `bench latency` takes its time."""
SIMULATED = "simulated"
ORPHAN_POLL_SECONDS = 1.0


def run_job(job: Job) -> None:
    """Do a job and publish its folder at `job.target`.

    Raises:
        BenchError: a user's mistake or a broken input; anything else that a model or a method raises passes through.
    """
    torch.set_num_threads(job.threads)
    job.work.mkdir(parents=True, exist_ok=True)
    if isinstance(job, ReferenceJob):
        _Reference(job).run()
    elif isinstance(job, BaselineJob):
        _Baseline(job).run()
    else:
        _Cell(job).run()
    (job.work / "stage.txt").unlink(missing_ok=True)
    publish(job.work, job.target)


class _Work:
    """What all jobs need: the suite's captions, the metric networks, and the stages in the work folder."""

    def __init__(self, job: Job, donors: Sequence[Path]) -> None:
        self.job = job
        self.stages = Stages(job.work, donors, StageReport(job.work))
        write_json_atomic(job.work / "job.json", job.model_dump(mode="json"))

    @cached_property
    def suite(self) -> Suite:
        return load_suite(self.job.suite)

    @cached_property
    def items(self) -> tuple[SuiteItem, ...]:
        return self.suite.take(self.job.limit)

    @cached_property
    def judges(self) -> Judges:
        return load_judges(self.job.judges)

    def embed(self, audio: Facts) -> Features:
        """Return the features of the clips in the work folder, computed from the WAV files as they were written."""
        inputs = [audio["sha256"], audio["not_finite"], self.judges.identity, self.job.code["metrics"]]

        def build() -> Facts:
            features = embed_clips(read_clips(self.job.work), self.judges)
            features.invalidate(audio["not_finite"]).save(self.job.work / FEATURES)
            return {}

        self.stages.run("features", inputs, [FEATURES], build)
        return _features_in(self.job.work)

    def write_audio(self, items: Sequence[SuiteItem], seeds: Sequence[int], waveforms: Any, rate: int) -> Facts:
        """Write clips into the work folder; return their number, their hash, and which of them are not finite."""
        ids, captions = [item.id for item in items], [item.caption for item in items]
        write_clips(self.job.work, ids, captions, seeds, waveforms, rate)
        files = {path.name: sha256_file(path) for path in sorted((self.job.work / "audio").iterdir())}
        return {
            "clips": len(ids),
            "sha256": sha256_json([files, sha256_file(self.job.work / "captions.json")]),
            "not_finite": [name for name, waveform in zip(ids, waveforms, strict=True) if not is_finite(waveform)],
        }


class _Reference(_Work):
    """The suite's real audio and its features."""

    def __init__(self, job: ReferenceJob) -> None:
        super().__init__(job, [job.target])

    def run(self) -> None:
        inputs = [self.suite.sha256, [item.id for item in self.items], self.job.code["harness"]]
        audio = self.stages.run("audio", inputs, AUDIO, self._build)
        if audio["clips"]:  # a plain list of captions has no real audio
            self.embed(audio)

    def _build(self) -> Facts:
        pairs = [(item, self.suite.reference_audio(item)) for item in self.items]
        items = [item for item, audio in pairs if audio is not None]
        waveforms = [audio for _, audio in pairs if audio is not None]
        return self.write_audio(items, [item.seed for item in items], waveforms, self.suite.sample_rate)


class _Generating(_Work):
    """A model, quantized with a method, and its audio for the suite."""

    job: BaselineJob | CellJob

    def __init__(self, job: BaselineJob | CellJob, method: str, donors: Sequence[Path]) -> None:
        super().__init__(job, donors)
        self.method = method
        self.components: tuple[str, ...] = (BACKBONE,)
        self.checkpoint_folder = job.work / "checkpoint"

    @cached_property
    def model(self) -> Any:
        from admbench.bench.models import load_model

        self.stages.report("load")
        return load_model(self.job.model, device=self.job.device)

    def quantize(self) -> Facts:
        """Write the packed checkpoint and return what the record needs to know of it."""
        return self.stages.run("checkpoint", self._quantize_inputs, ["checkpoint"], self._build_checkpoint)

    def generate(self) -> Facts:
        """Generate from the packed checkpoint as it is on disk, with the integer kernels that this processor has.

        Returns what the record needs to know of the audio.
        """
        written = sorted(path for path in self.checkpoint_folder.rglob("*") if path.is_file())
        files = {path.relative_to(self.checkpoint_folder).as_posix(): sha256_file(path) for path in written}
        heard = [[item.id, item.caption, run_seed(item.seed, self.job.seed)] for item in self.items]
        inputs = [self._quantize_inputs, files, heard, self.job.generation.model_dump(), has_vnni()]
        return self.stages.run("generate", inputs, AUDIO, self._build_audio)

    @property
    def _quantize_inputs(self) -> list[Any]:
        code = [self.job.code[name] for name in ("harness", "models", "methods")]
        what = [self.job.model, self.job.model_sha256, self.method, self.components]
        return [*what, self.job.seed, self.job.device, code]

    def _build_checkpoint(self) -> Facts:
        model = self.model
        self.stages.report("quantize")
        quantized = quantize_components(
            model, self.method, self.components, seed=self.job.seed, calibration_sets=self.job.run / "calibration"
        )
        networks = {name: one.network for name, one in quantized.items()}
        save_components(networks, self.checkpoint_folder)
        first, calibration = next(iter(quantized.values()))
        return {
            "model": {
                "name": model.name,
                "source": model.source,
                "revision": model.revision,
                "weights_sha256": model.weights_sha256,
                "license": model.license,
                "parameters": model.parameters,
                "random_weights": model.random_weights,
            },
            "method": {
                "version": first.method.version,
                "config": first.method.config,
                "preset": first.method.config.get("preset"),
                "components": list(networks),
                "simulated": any(network.report.simulated for network in networks.values()),
                "layers": [layer for name, network in networks.items() for layer in _layers(name, network)],
                "seconds": round(sum(network.report.seconds for network in networks.values()), 3),
            },
            "blocks": {name: network.report.blocks_as_json() for name, network in networks.items()},
            "nominal_bits_per_weight": _mean_over_weights(networks, "nominal_bits_per_weight"),
            "quantized_fraction": _mean_over_weights(networks, "quantized_fraction"),
            "components": component_bytes(model),
            "calibration": calibration.summary() if calibration is not None else None,
        }

    @cached_property
    def _kernelled(self) -> WithKernels:
        """The backbone from the checkpoint, with kernels: ours, or those of a bridge's package."""
        return kernels_in(self.model, load_component(self.checkpoint_folder, BACKBONE).to(self.job.device))

    def _model_of_wanted_length(self) -> Any:
        model, seconds = self.model, self.job.generation.seconds
        if seconds is not None:
            model.set_seconds(seconds)
        return model

    def _quantized_model(self) -> Any:
        """The model with the components of the packed checkpoint in their place, the backbone's with kernels."""
        model = self._model_of_wanted_length()
        for name in read_headers(self.checkpoint_folder):
            network = self._kernelled.module if name == BACKBONE else load_component(self.checkpoint_folder, name)
            model.set_component(name, network.to(self.job.device))
        return model

    def _build_audio(self) -> Facts:
        wanted, model = self.job.generation, self._quantized_model()
        steps = wanted.steps if wanted.steps is not None else model.default_steps
        guidance = wanted.guidance if wanted.guidance is not None else model.default_guidance
        self.stages.report("generate")
        seeds = [run_seed(item.seed, self.job.seed) for item in self.items]
        started = time.perf_counter()
        waveforms = model.generate(
            [item.caption for item in self.items], seeds, steps=steps, guidance=guidance, batch_size=wanted.batch_size
        )
        computing = time.perf_counter() - started
        return {
            **self.write_audio(self.items, seeds, waveforms, model.sample_rate),
            "health": health(waveforms, model.sample_rate, seconds=model.seconds).to_json(),
            "generation": {
                "scheduler": model.scheduler_name,
                "steps": steps,
                "guidance": guidance,
                "seed": self.job.seed,
                "dtype": wanted.dtype,
                "batch_size": wanted.batch_size,
                "sample_rate": model.sample_rate,
                "seconds": model.seconds,
            },
            "real_time_factor": computing / (len(waveforms) * model.seconds),
            "peak_bytes": peak_resident_bytes(),
        }


class _Baseline(_Generating):
    """A model's own audio in full precision, and the bytes of its backbone in fp32."""

    def __init__(self, job: BaselineJob) -> None:
        super().__init__(job, BASELINE_METHOD, [job.target])

    def run(self) -> None:
        self.quantize()
        self.embed(self.generate())


class _Cell(_Generating):
    """One method on one model, scored."""

    job: CellJob

    def __init__(self, job: CellJob) -> None:
        super().__init__(job, job.method, [job.target, job.baseline_folder])
        if job.method != BASELINE_METHOD:
            self.components = job.components
        self._clock = records.Clock()

    def run(self) -> None:
        checkpoint = self.quantize()
        latency = self.measure(checkpoint)
        audio = self.generate()
        if latency["kernel"] is not None:
            latency = latency | {"real_time_factor": audio["real_time_factor"]}
        generated = self.embed(audio)
        self.stages.report("score")
        scores = score(
            generated,
            _features_if_any(self.job.reference_folder),
            _features_in(self.job.baseline_folder),
            self.job.metrics,
            self.judges,
        )
        if LATENT_SCORE in scores:
            scores[LATENT_SCORE] = self.compare_latents(audio)
        record = records.done_record(
            self.job,
            model=checkpoint["model"],
            method={
                **records.method_identity(self.job.method),
                **checkpoint["method"],
                "simulated": checkpoint["method"]["simulated"] and latency["kernel"] is None,
            },
            suite=self.suite.describe(self.items),
            generation=audio["generation"],
            scores=scores,
            audio=audio["health"] | {"reading": reading(self.judges)},
            size=size_section(
                self.checkpoint_folder,
                {**checkpoint["components"], BACKBONE: directory_bytes(self.job.baseline_folder / "checkpoint")},
                checkpoint["nominal_bits_per_weight"],
                checkpoint["quantized_fraction"],
            ),
            latency=latency,
            memory={"peak_bytes": audio["peak_bytes"], "process": "calibration, quantization and generation"},
            calibration=checkpoint["calibration"],
            clock=self._clock,
        )
        records.write_record(self.job.work / "result.json", record)

    def measure(self, checkpoint: Facts) -> Facts:
        """Time a denoising step with kernels beside full precision: a few seconds, before audio is generated."""
        if not checkpoint["method"]["layers"]:
            return {"kernel": None, "reason": NO_INTEGERS}
        if BACKBONE not in checkpoint["method"]["components"]:
            # what is timed is a step of the backbone; the other components run simulated
            return {"kernel": None, "reason": SIMULATED}
        inputs = [self._quantize_inputs, self.job.generation.seconds, self.job.threads, has_vnni()]
        return self.stages.run("latency", inputs, [], self._build_latency)

    def compare_latents(self, audio: Facts) -> Facts:
        """Score the latents of the first captions along their way, by denoising them with both models once more."""
        if self.job.method == BASELINE_METHOD:
            return {"value": None, "reason": "this is full precision"}
        inputs = [audio["sha256"], CAPTIONS, self.job.code["metrics"]]
        apart = self.stages.run(TRAJECTORY, inputs, [], lambda: self._build_trajectory(audio))
        if "reason" in apart:
            return {"value": None, "reason": apart["reason"]}
        return latent_score(np.array(apart["decibels"]), apart["timesteps"])

    def _build_trajectory(self, audio: Facts) -> Facts:
        quantized = self._quantized_model()
        del self.model  # what `quantized` is, with its components in their place: the next one is whole
        full, watched, sampling = self._model_of_wanted_length(), self.items[:CAPTIONS], audio["generation"]
        seeds = [run_seed(item.seed, self.job.seed) for item in watched]
        try:
            return latents_apart(
                full,
                quantized,
                [item.caption for item in watched],
                seeds,
                steps=sampling["steps"],
                guidance=sampling["guidance"],
            )
        except ValueError as error:
            return {"reason": str(error)}

    def _build_latency(self) -> Facts:
        if not self._kernelled.kernels:
            return without_kernels(self._kernelled)
        return self._time_apart() if arithmetic.slowed() else self.time_step()

    def time_step(self) -> Facts:
        """Time a denoising step of the packed backbone with kernels beside full precision, in this process."""
        timing = replace(STEP_TIMING, threads=self.job.threads)
        facts: Facts = time_steps(self._model_of_wanted_length(), self._kernelled, timing)
        return facts | {"mkl_cbwr": arithmetic.mode()}

    def _time_apart(self) -> Facts:
        """Time it in a process whose MKL is as fast as users have it; in this one's mode full precision looks slower."""
        file = self.job.work / "step.json"
        command = children.command("admbench.bench.run.cell", str(self.job.work / "job.json"), "--time-step", str(file))
        child = subprocess.run(command, stdin=subprocess.DEVNULL, env=children.timing_environment())
        if child.returncode:
            raise BenchError(f"timing a step in a process of its own: exit code {child.returncode}; the log says why")
        facts: Facts = read_json(file)
        file.unlink()
        return facts


def _layers(component: str, network: QuantizedBackbone) -> list[dict[str, Any]]:
    """Return the report on each layer; of another component than the backbone, named with it."""
    prefix = "" if component == BACKBONE else f"{component}/"
    return [layer | {"name": prefix + layer["name"]} for layer in network.report.layers_as_json()]


def _mean_over_weights(networks: Mapping[Component, QuantizedBackbone], name: str) -> float:
    """Return the mean of a number of the reports, in which every weight counts the same."""
    reports = [network.report for network in networks.values()]
    return float(sum(getattr(one, name) * one.parameters for one in reports) / sum(one.parameters for one in reports))


def _features_in(folder: Path) -> Features:
    return with_files(Features.load(folder / FEATURES), read_clips(folder))


def _features_if_any(folder: Path) -> Features | None:
    return _features_in(folder) if (folder / FEATURES).is_file() else None


def main(arguments: Sequence[str] | None = None) -> int:
    """Do the job in a JSON file; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m admbench.bench.run.cell")
    parser.add_argument("job", type=Path, help="JSON file of the job")
    parser.add_argument("--parent", type=int, help="end when this process is no longer the parent")
    parser.add_argument("--time-step", type=Path, help="only time a step of the cell's checkpoint, into this JSON file")
    options = parser.parse_args(arguments)
    if options.parent is not None:
        threading.Thread(target=_end_with, args=(options.parent,), daemon=True).start()
    set_quiet(True)
    job = job_from_json(options.job.read_text(encoding="utf-8"))
    if options.time_step is not None and isinstance(job, CellJob):
        torch.set_num_threads(job.threads)
        write_json_atomic(options.time_step, _Cell(job).time_step())
        return 0
    try:
        run_job(job)
    except BaseException as error:  # whatever ends a job is its result: the reason goes to whoever reads it
        traceback.print_exc()
        reason = explain(error)
        print(reason, file=sys.stderr, flush=True)
        if "No space left on device" in reason:
            return NO_SPACE
        write_json_atomic(options.job.parent / FAILURE_FILE, {"reason": reason})
        return 1
    return 0


def explain(error: BaseException) -> str:
    """Return one line on why a job failed."""
    text = " ".join(str(error).split())
    if isinstance(error, BenchError):
        return text
    if isinstance(error, MemoryError) or "can't allocate memory" in text or "out of memory" in text.lower():
        return f"out of memory: {text or type(error).__name__}"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _end_with(parent: int) -> None:
    """End this process when its parent has gone, however that ended."""
    while os.getppid() == parent:
        time.sleep(ORPHAN_POLL_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
