"""The two jobs that cells build on: the suite's real audio, and a model's own audio in full precision."""

from __future__ import annotations

from typing import Any

from admbench.bench.measurement.trajectory import AlongTheWay
from admbench.bench.models.texts import Texts, keep_texts
from admbench.bench.run.checkpoint import STAGE, write_checkpoint
from admbench.bench.run.generating import texts_in
from admbench.bench.run.jobs import TEXTS, BaselineJob, ReferenceJob
from admbench.bench.run.layout import ALONG_FILE, CHECKPOINT, CLIPS, TEXTS_FILE
from admbench.bench.run.parts import Whole
from admbench.bench.run.stages import Facts
from admbench.bench.run.work import ClipWork
from admbench.methods.spec import FULL_PRECISION
from admbench.metrics.latents import LATENTS


class Reference(ClipWork):
    """The suite's real audio and its features."""

    def __init__(self, job: ReferenceJob) -> None:
        super().__init__(job, [] if job.fresh else [job.target])

    def run(self) -> None:
        """Write the clips, and their features if there are any."""
        made = self.made("audio", [self.plugins.suite(self.job.suite)])
        inputs = [self.suite.sha256, [item.id for item in self.items], made]
        audio = self.stages.run("audio", inputs, CLIPS, self._build)
        if audio["clips"]:  # a plain list of captions has no real audio
            self.embed(audio)

    def _build(self) -> Facts:
        pairs = [(item, self.suite.reference_audio(item)) for item in self.items]
        items = [item for item, audio in pairs if audio is not None]
        waveforms = [audio for _, audio in pairs if audio is not None]
        return self.write_audio(items, [item.seed for item in items], waveforms, self.suite.sample_rate)


class Baseline(Whole):
    """A model's own audio in full precision, and the bytes of its backbone in fp32."""

    def __init__(self, job: BaselineJob) -> None:
        super().__init__(job, [] if job.fresh else [job.target])

    def run(self) -> None:
        """Write checkpoint, clips and features, and what the model's cells share.

        They read the conditioning of the captions, and latents that theirs are compared with.
        """
        self.stages.run(STAGE, self.job.checkpoint, [CHECKPOINT], self._build_checkpoint)
        self.stages.run(TEXTS, self._text_inputs(), [TEXTS_FILE], self._keep_texts)
        audio = self.generate()
        if LATENTS in self.job.extractors:
            self.stages.run("latents", self.trajectory_inputs(audio), [ALONG_FILE], lambda: self._keep_latents(audio))
        self.embed(audio)

    @property
    def texts(self) -> Texts | None:
        """See the base class."""
        return texts_in(self.job.work)

    def _text_inputs(self) -> list[Any]:
        captions = [item.caption for item in self.items]
        made = self.made(TEXTS, self.loading)
        return [self.job.model, self.job.model_sha256, captions, self.job.generation.model_dump(), made]

    def _keep_texts(self) -> Facts:
        captions, batch = [item.caption for item in self.items], self.job.generation.batch_size
        model, guided = self.model_of_wanted_length(), self.guidance != 1
        kept = keep_texts(model, captions, guided=guided, batch_size=batch, path=self.job.work.texts)
        return {"captions": kept.captions, "seconds": kept.seconds}

    def _keep_latents(self, audio: Facts) -> Facts:
        self.__dict__.pop("model", None)  # its backbone is the checkpoint's, whose layers add in another order
        along = AlongTheWay()
        for timestep, latents in self.denoised(self.model_of_wanted_length(), audio):
            along(timestep, latents)
        along.save(self.job.work.along)
        return {}

    def _build_checkpoint(self) -> Facts:
        model = self.model
        self.stages.report("quantize")
        return write_checkpoint(model, FULL_PRECISION, self.checkpoint_folder, seed=self.job.seed)
