"""Stable Audio Open Small (Novack et al. 2025, arXiv 2505.08175) from the files that Stability AI publishes.

    model_config.json       sizes of all networks, and the name of the text encoder, T5-base
    model.safetensors       or model.ckpt: `model.model.*` the transformer, `pretransform.model.*` the autoencoder,
                            `conditioner.*` the conditioning on length, by the names of stable-audio-tools

The text encoder is not among the files: weights and tokenizer are taken from its own repository.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from admbench.bench.models.checkpoints.files import WEIGHTS, component_files, weights_file
from admbench.bench.models.checkpoints.text_encoders import TextEncoderRepository
from admbench.bench.models.families.base import Family, PublishedModel
from admbench.errors import CheckpointError

if TYPE_CHECKING:
    from admbench.bench.models.base import AudioDiffusionModel

CONFIG, MAIN = "model_config.json", "model"
TEXTS = TextEncoderRepository(
    config=CONFIG,
    key="model.conditioning.configs.0.config.t5_model_name",
    example="t5-base",
    files=("config.json", "tokenizer.json", "tokenizer_config.json", "spiece.model", *WEIGHTS["transformers"]),
)


@dataclass(frozen=True, kw_only=True)
class StableAudioOpenSmallFamily(Family):
    """The folders that the module describes."""

    @property
    def holds(self) -> tuple[str, ...]:
        """See the base class."""
        return (CONFIG, f"{MAIN}.safetensors")

    def recognises(self, folder: Path) -> bool:
        """See the base class."""
        return (folder / CONFIG).is_file()

    def used_files(self, folder: Path, *, download: bool = False) -> dict[str, Path]:
        """See the base class; the text encoder's files are called `texts/NAME`."""
        files = [folder / CONFIG, weights_file(folder, (MAIN,), ".ckpt")]
        for file in files:
            if not file.is_file():
                raise CheckpointError(f"{file}: missing; expected {self.expected}")
        texts = TEXTS.used_files(folder, download=download)
        weights = component_files(texts["texts/config.json"].parent, WEIGHTS["transformers"])
        others = {name: file for name, file in texts.items() if file.name not in WEIGHTS["transformers"]}
        return {file.name: file for file in files} | others | {f"texts/{file.name}": file for file in weights}

    def build(self, folder: Path, known: dict[str, Any]) -> AudioDiffusionModel:
        """See the base class."""
        from admbench.bench.models.pipelines import stable_audio_open_small

        texts = TEXTS.locate(folder, download=True)
        main = weights_file(folder, (MAIN,), ".ckpt")
        return stable_audio_open_small.load(folder / CONFIG, main=main, texts=texts, known=known)

    def build_untrained(self, variant: Mapping[str, Any], known: dict[str, Any]) -> AudioDiffusionModel:
        """See the base class."""
        from admbench.bench.models.pipelines import stable_audio_open_small

        return stable_audio_open_small.untrained(known)


STABLE_AUDIO_OPEN_SMALL = StableAudioOpenSmallFamily(
    saw="a checkpoint of stable-audio-tools (Stable Audio Open Small's files)",
    networks={
        "backbone": "admbench.bench.models.networks.normed_stable_audio:NormedStableAudioDiTModel",
        "text_encoder": "transformers:T5EncoderModel",
        "vae": "diffusers:AutoencoderOobleck",
        "duration_embedder": "diffusers.pipelines.stable_audio.modeling_stable_audio:StableAudioNumberConditioner",
    },
    default_steps=8,
    default_guidance=1.0,
)

PUBLISHED = PublishedModel(
    name="stable-audio-open-small",
    family=STABLE_AUDIO_OPEN_SMALL,
    repository="stabilityai/stable-audio-open-small",
    license="Stability AI Community License",
    summary=(
        "Stable Audio Open Small (backbone 341 M), stabilityai/stable-audio-open-small (gated), 8 steps, 44.1 kHz,"
        " stereo; weights Stability AI Community License"
    ),
    # beside it the repository holds the model before adversarial training, and all weights once more as .ckpt
    files=STABLE_AUDIO_OPEN_SMALL.holds,
)
