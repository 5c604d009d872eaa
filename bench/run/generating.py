"""A model's audio for the suite, from a packed checkpoint: what baselines and cells have in common."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from admbench.bench.measurement.latency import float_bits_in, kernels_in, schemes_in
from admbench.bench.measurement.memory import peak_resident_bytes
from admbench.bench.measurement.trajectory import CAPTIONS, is_first_batch
from admbench.bench.models.quantization import BACKBONE, load_component, read_headers, run_seed
from admbench.bench.models.texts import Texts, known_texts
from admbench.bench.run.checkpoint import STAGE
from admbench.bench.run.jobs import TEXTS, TRAJECTORY, BaselineJob, CellJob, PartJob
from admbench.bench.run.layout import CLIPS, TEXTS_FILE, JobFolder
from admbench.bench.run.products import read_sealed, require_intact
from admbench.bench.run.stages import Facts
from admbench.bench.run.work import ClipWork
from admbench.bench.suites.base import LISTED, SuiteItem
from admbench.identities import PluginIdentity
from admbench.methods.core.checkpoint.third_party import ThirdPartyHeader
from admbench.methods.core.kernels import WithKernels
from admbench.methods.core.numbers.scheme import LayerScheme
from admbench.metrics.audio import Health, faults_of, levels

GENERATE = "generate"
"""Stage that makes the clips."""
DTYPE = "float32"
"""Floating-point type of everything that is not quantized; lower precision of the backbone is a method, `bf16`."""


@dataclass(frozen=True)
class Widths:
    """How wide the numbers are that layers of a backbone compute with."""

    schemes: dict[str, LayerScheme]
    """Of those that are quantized, by name."""
    float_bits: int
    """Of the others."""


class Generating(ClipWork):
    """A model's audio for the suite, from the packed checkpoint in the work folder."""

    job: BaselineJob | CellJob | PartJob

    def __init__(self, job: BaselineJob | CellJob | PartJob, reuse: Sequence[JobFolder]) -> None:
        super().__init__(job, reuse)
        self.checkpoint_folder = job.work.checkpoint

    @cached_property
    def model(self) -> Any:
        """The model in full precision, on the job's device."""
        from admbench.bench.models import load_model

        with self.times.within("load"):
            return load_model(self.job.model, device=self.job.device, sampler=self.job.generation.sampler)

    def generate(self) -> Facts:
        """Generate from the packed checkpoint as it is on disk, with the integer kernels that this processor has.

        Returns what the record needs to know of the audio.
        """
        return self.stages.run(GENERATE, self.generating(self.items), CLIPS, self.build_audio)

    def generating(self, items: Sequence[SuiteItem]) -> list[Any]:
        """Return what determines the clips of captions."""
        captions = [[item.id, item.caption, run_seed(item.seed, self.job.seed)] for item in items]
        return [self.networks, captions, self.job.generation.model_dump(), self.made("generate", self.loading)]

    @property
    def networks(self) -> list[Any]:
        """What determines the model with the networks of the checkpoint: weights, and the bytes of the checkpoint."""
        return [self.job.model, self.job.model_sha256, self.stages.hashes(STAGE)]

    @cached_property
    def loading(self) -> list[PluginIdentity]:
        """The plug-ins that load it: the model's, and those of the checkpoint's formats that are not ours."""
        headers = read_headers(self.checkpoint_folder).values()
        foreign = {header.format for header in headers if isinstance(header, ThirdPartyHeader)}
        found = [self.plugins.model(self.job.model)]
        return [*found, *(one for one in self.plugins.formats() if one.name in foreign)]

    @property
    def kernelled(self) -> WithKernels:
        """The backbone from the checkpoint, with kernels: ours, or those of a bridge's package."""
        return self.backbone[1]

    @cached_property
    def backbone(self) -> tuple[Widths, WithKernels]:
        """How wide the numbers of the backbone from the checkpoint are, and itself with kernels in it."""
        quantized = load_component(self.checkpoint_folder, BACKBONE).to(self.job.device)
        widths = Widths(schemes_in(quantized), float_bits_in(quantized))
        return widths, kernels_in(self.model, quantized)

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

    @property
    def texts(self) -> Texts | None:
        """The conditioning of the captions, where it was kept; None: all of them are encoded here."""
        return None

    @property
    def guidance(self) -> float:
        """Scale of the guidance of the clips."""
        wanted = self.job.generation.guidance
        return float(self.model.default_guidance) if wanted is None else wanted

    def watching(self, model: Any) -> AbstractContextManager[None]:
        """Look on while the model generates inside of the block."""
        return nullcontext()

    def trajectory_inputs(self, audio: Facts) -> list[Any]:
        """Return what determines the latents along the way of the captions whose trajectories are compared."""
        made = self.made(TRAJECTORY, self.loading)
        return [self.networks, audio["sha256"], audio["generation"], CAPTIONS, made]

    def denoised(self, model: Any, audio: Facts) -> Iterator[tuple[int, Any]]:
        """Denoise these captions; yield, after each step, its timestep and the latents, float32 (n, ...)."""
        compared, sampling = self.items[:CAPTIONS], audio["generation"]
        seeds = [run_seed(item.seed, self.job.seed) for item in compared]
        captions = [item.caption for item in compared]
        yield from model.denoise(captions, seeds, steps=sampling["steps"], guidance=sampling["guidance"])

    @property
    def first_batch_is_compared(self) -> bool:
        """Whether the captions whose trajectories are compared are the first batch of what is generated."""
        return is_first_batch(len(self.items), self.job.generation.batch_size)

    def build_audio(self) -> Facts:
        """Write the clips; return what is known of them."""
        wanted, model = self.job.generation, self.quantized_model()
        steps = wanted.steps if wanted.steps is not None else model.default_steps
        guidance = self.guidance
        self.stages.report("generate")
        seeds = [run_seed(item.seed, self.job.seed) for item in self.items]
        started = time.perf_counter()
        captions, batch = [item.caption for item in self.items], wanted.batch_size
        with self.watching(model), known_texts(model, self.texts) as known:
            waveforms = model.generate(captions, seeds, steps=steps, guidance=guidance, batch_size=batch)
        computing = time.perf_counter() - started + (known.spared if known is not None else 0.0)
        model.require_finite(waveforms)
        faults = faults_of([levels(clip, model.sample_rate) for clip in waveforms], seconds=model.seconds)
        return {
            **self.write_audio(self.items, seeds, waveforms, model.sample_rate),
            "health": Health.of(faults).to_json(),
            "captions_cut": self._captions_cut(model),
            "faults": {fault: flags.tolist() for fault, flags in faults.items()},
            "generation": {
                "scheduler": model.scheduler_name,
                "sampler": wanted.sampler,
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

    def _captions_cut(self, model: Any) -> Facts | None:
        """Return how many captions the text encoder did not read to their end, and the first; None if it says not."""
        flags = model.cut_captions([item.caption for item in self.items])
        if flags is None:
            return None
        ids = [item.id for item, flag in zip(self.items, flags, strict=True) if flag]
        return {"n": len(ids), "first": ids[:LISTED]}


def texts_in(folder: JobFolder) -> Texts:
    """Return the conditioning of captions that a baseline left in its folder.

    Raises:
        DataError: it is not what the baseline wrote.
    """
    require_intact(folder, [TEXTS_FILE])
    return Texts(folder.texts, **read_sealed(folder.stage(TEXTS)).facts)
