"""A model, quantized with a method, and its audio for the suite: what baselines and cells have in common."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from admbench.bench.measurement.latency import kernels_in
from admbench.bench.measurement.memory import peak_resident_bytes
from admbench.bench.measurement.size import component_bytes
from admbench.bench.models.components import Component
from admbench.bench.models.quantization import (
    BACKBONE,
    load_component,
    quantize_components,
    read_headers,
    run_seed,
    save_components,
)
from admbench.bench.run.jobs import BaselineJob, CellJob
from admbench.bench.run.layout import CHECKPOINT, CLIPS, JobFolder, RunLayout
from admbench.bench.run.stages import Facts
from admbench.bench.run.work import Work
from admbench.hashing import sha256_file
from admbench.methods.core.backbone import QuantizedBackbone
from admbench.methods.core.kernels import WithKernels
from admbench.methods.core.processor import has_vnni
from admbench.metrics.audio import Health, faults_of, levels

DTYPE = "float32"
"""Floating-point type of everything that is not quantized; lower precision of the backbone is a method, `bf16`."""


class Generating(Work):
    """A model, quantized with a method, and its audio for the suite."""

    job: BaselineJob | CellJob

    def __init__(self, job: BaselineJob | CellJob, method: str, reuse: Sequence[JobFolder]) -> None:
        super().__init__(job, reuse)
        self.method = method
        self.components: tuple[str, ...] = (BACKBONE,)
        self.draw = 0
        self.checkpoint_folder = job.work.checkpoint

    @cached_property
    def model(self) -> Any:
        """The model in full precision, on the job's device."""
        from admbench.bench.models import load_model

        self.stages.report("load")
        return load_model(self.job.model, device=self.job.device)

    def quantize(self) -> Facts:
        """Write the packed checkpoint and return what the record needs to know of it."""
        return self.stages.run("checkpoint", self.quantize_inputs, [CHECKPOINT], self._build_checkpoint)

    def generate(self) -> Facts:
        """Generate from the packed checkpoint as it is on disk, with the integer kernels that this processor has.

        Returns what the record needs to know of the audio.
        """
        written = sorted(path for path in self.checkpoint_folder.rglob("*") if path.is_file())
        files = {path.relative_to(self.checkpoint_folder).as_posix(): sha256_file(path) for path in written}
        captions = [[item.id, item.caption, run_seed(item.seed, self.job.seed)] for item in self.items]
        inputs = [self.quantize_inputs, files, captions, self.job.generation.model_dump(), has_vnni()]
        return self.stages.run("generate", inputs, CLIPS, self._build_audio)

    @property
    def quantize_inputs(self) -> list[Any]:
        """What determines the packed checkpoint."""
        code = [self.job.code[name] for name in ("harness", "models", "methods")]
        what = [self.job.model, self.job.model_sha256, self.method, self.components]
        inputs = [*what, self.job.seed, self.job.device, code]
        return [*inputs, ["draw", self.draw]] if self.draw else inputs

    def _build_checkpoint(self) -> Facts:
        model = self.model
        self.stages.report("quantize")
        quantized = quantize_components(
            model,
            self.method,
            self.components,
            seed=self.job.seed,
            draw=self.draw,
            calibration_sets=RunLayout(self.job.run).calibration,
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
            "parameters": sum(network.report.parameters for network in networks.values()),
            "nominal_bits_per_weight": _mean_over_weights(networks, "nominal_bits_per_weight"),
            "quantized_fraction": _mean_over_weights(networks, "quantized_fraction"),
            "components": component_bytes(model),
            "calibration": calibration.summary() if calibration is not None else None,
        }

    @cached_property
    def kernelled(self) -> WithKernels:
        """The backbone from the checkpoint, with kernels: ours, or those of a bridge's package."""
        return kernels_in(self.model, load_component(self.checkpoint_folder, BACKBONE).to(self.job.device))

    def model_of_wanted_length(self) -> Any:
        """The model, set to the length of clip that the job asks for."""
        model, seconds = self.model, self.job.generation.seconds
        if seconds is not None:
            model.set_seconds(seconds)
        return model

    def quantized_model(self) -> Any:
        """The model with the components of the packed checkpoint in their place, the backbone's with kernels."""
        model = self.model_of_wanted_length()
        for name in read_headers(self.checkpoint_folder):
            network = self.kernelled.module if name == BACKBONE else load_component(self.checkpoint_folder, name)
            model.set_component(name, network.to(self.job.device))
        return model

    def _build_audio(self) -> Facts:
        wanted, model = self.job.generation, self.quantized_model()
        steps = wanted.steps if wanted.steps is not None else model.default_steps
        guidance = wanted.guidance if wanted.guidance is not None else model.default_guidance
        self.stages.report("generate")
        seeds = [run_seed(item.seed, self.job.seed) for item in self.items]
        started = time.perf_counter()
        waveforms = model.generate(
            [item.caption for item in self.items], seeds, steps=steps, guidance=guidance, batch_size=wanted.batch_size
        )
        computing = time.perf_counter() - started
        model.require_finite(waveforms)
        faults = faults_of([levels(clip, model.sample_rate) for clip in waveforms], seconds=model.seconds)
        return {
            **self.write_audio(self.items, seeds, waveforms, model.sample_rate),
            "health": Health.of(faults).to_json(),
            "faults": {fault: flags.tolist() for fault, flags in faults.items()},
            "generation": {
                "scheduler": model.scheduler_name,
                "steps": steps,
                "guidance": guidance,
                "seed": self.job.seed,
                "dtype": DTYPE,
                "batch_size": wanted.batch_size,
                "sample_rate": model.sample_rate,
                "seconds": model.seconds,
            },
            "real_time_factor": computing / (len(waveforms) * model.seconds),
            "peak_bytes": peak_resident_bytes(),
        }


def _layers(component: str, network: QuantizedBackbone) -> list[dict[str, Any]]:
    """Return the report on each layer; of another component than the backbone, named with it."""
    prefix = "" if component == BACKBONE else f"{component}/"
    return [layer | {"name": prefix + layer["name"]} for layer in network.report.layers_as_json()]


def _mean_over_weights(networks: Mapping[Component, QuantizedBackbone], name: str) -> float:
    """Return the mean of a number of the reports, in which every weight counts the same."""
    reports = [network.report for network in networks.values()]
    return float(sum(getattr(one, name) * one.parameters for one in reports) / sum(one.parameters for one in reports))
