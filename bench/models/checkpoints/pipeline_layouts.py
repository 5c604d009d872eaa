"""What a pipeline directory of each supported class of diffusers holds, as `save_pretrained` leaves it; no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Family = Literal["audioldm2", "musicldm", "stable-audio", "stable-audio-3", "ace-step", "longcat-audiodit"]
Layout = Literal["audioldm", "tango", "make-an-audio"] | Family
"""Of any checkpoint that can be loaded."""


@dataclass(frozen=True)
class PipelineLayout:
    """The folders of one pipeline class that a load reads. Others, such as a feature extractor, are left alone."""

    pipeline: str
    """Name of the class in model_index.json."""
    saw: str
    """What such a folder is called in messages."""
    models: tuple[str, ...]
    """Folders of diffusers' models."""
    encoders: tuple[str, ...]
    """Folders of transformers' models."""
    tokenizers: tuple[str, ...]
    own_scheduler: bool = True
    """False where the class saves none: a folder without one means the family's."""

    @property
    def folders(self) -> tuple[str, ...]:
        """All of them, the scheduler's included."""
        return (*self.models, *self.encoders, *self.tokenizers, "scheduler")


PIPELINE_LAYOUTS: dict[Family, PipelineLayout] = {
    "audioldm2": PipelineLayout(
        "AudioLDM2Pipeline",
        "an AudioLDM 2 pipeline directory",
        ("unet", "vae", "projection_model"),
        ("text_encoder", "text_encoder_2", "language_model", "vocoder"),
        ("tokenizer", "tokenizer_2"),
    ),
    "musicldm": PipelineLayout(
        "MusicLDMPipeline",
        "a MusicLDM pipeline directory",
        ("unet", "vae"),
        ("text_encoder", "vocoder"),
        ("tokenizer",),
    ),
    "stable-audio": PipelineLayout(
        "StableAudioPipeline",
        "a Stable Audio pipeline directory",
        ("transformer", "vae", "projection_model"),
        ("text_encoder",),
        ("tokenizer",),
    ),
    "stable-audio-3": PipelineLayout(
        "StableAudio3Pipeline",
        "a Stable Audio 3 pipeline directory",
        ("transformer", "vae", "duration_embedder"),
        ("text_encoder",),
        ("tokenizer",),
    ),
    "ace-step": PipelineLayout(
        "AceStepPipeline",
        "an ACE-Step 1.5 pipeline directory",
        ("transformer", "vae", "condition_encoder"),
        ("text_encoder",),
        ("tokenizer",),
    ),
    "longcat-audiodit": PipelineLayout(
        "LongCatAudioDiTPipeline",
        "a LongCat-AudioDiT pipeline directory",
        ("transformer", "vae"),
        ("text_encoder",),
        ("tokenizer",),
        own_scheduler=False,
    ),
}


def family_of(pipeline: object) -> Family | None:
    """The family of a pipeline class by its name; None if it is not supported."""
    return next((family for family, layout in PIPELINE_LAYOUTS.items() if layout.pipeline == pipeline), None)
