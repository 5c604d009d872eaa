"""TangoFlux (Hung et al. 2024, arXiv 2412.21037) from the files that declare-lab publishes.

    config.json             sizes of the transformer, the longest clip, the name of the text encoder
    tangoflux.safetensors   `transformer.*` by diffusers' names, `text_encoder.*` (FLAN-T5-large) by transformers', and
                            the projections of length and caption, `duration_emebdder.*` (so called there) and `fc.*`
    vae.safetensors         Stable Audio's autoencoder by diffusers' names

The text encoder's tokenizer is not among the files: it is taken from the text encoder's own repository.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from admbench.bench.models.checkpoints.files import weights_file
from admbench.bench.models.checkpoints.text_encoders import TextEncoderRepository
from admbench.bench.models.families.base import Family, PublishedModel
from admbench.errors import CheckpointError

if TYPE_CHECKING:
    from admbench.bench.models.base import AudioDiffusionModel

CONFIG = "config.json"
MAIN, VAE = "tangoflux", "vae"
TEXTS = TextEncoderRepository(
    config=CONFIG,
    key="text_encoder_name",
    example="google/flan-t5-large",
    files=("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "spiece.model"),
)


@dataclass(frozen=True, kw_only=True)
class TangoFluxFamily(Family):
    """The folders that the module describes."""

    @property
    def holds(self) -> tuple[str, ...]:
        """See the base class."""
        return (CONFIG, f"{MAIN}.safetensors", f"{VAE}.safetensors")

    def recognises(self, folder: Path) -> bool:
        """See the base class."""
        return (folder / f"{MAIN}.safetensors").is_file()

    def used_files(self, folder: Path, *, download: bool = False) -> dict[str, Path]:
        """See the base class; the tokenizer's files are called `texts/NAME`."""
        files = [folder / CONFIG, *(weights_file(folder, (stem,)) for stem in (MAIN, VAE))]
        for file in files:
            if not file.is_file():
                raise CheckpointError(f"{file}: missing; expected {self.expected}")
        return {file.relative_to(folder).as_posix(): file for file in files} | TEXTS.used_files(
            folder, download=download
        )

    def build(self, folder: Path, known: dict[str, Any]) -> AudioDiffusionModel:
        """See the base class."""
        from admbench.bench.models.pipelines import tangoflux

        texts = TEXTS.locate(folder, download=True)
        main, vae = (weights_file(folder, (stem,)) for stem in (MAIN, VAE))
        return tangoflux.load(folder / CONFIG, main=main, vae=vae, texts=texts, known=known)

    def build_untrained(self, variant: Mapping[str, Any], known: dict[str, Any]) -> AudioDiffusionModel:
        """See the base class."""
        from admbench.bench.models.pipelines import tangoflux

        return tangoflux.untrained(known)


TANGOFLUX = TangoFluxFamily(
    saw="a TangoFlux checkpoint (declare-lab's files)",
    networks={
        "backbone": "diffusers:FluxTransformer2DModel",
        "text_encoder": "transformers:T5EncoderModel",
        "vae": "diffusers:AutoencoderOobleck",
        "duration_embedder": "diffusers.pipelines.stable_audio.modeling_stable_audio:StableAudioNumberConditioner",
        "caption_projection": "torch.nn:Sequential",
    },
    default_steps=25,
    default_guidance=4.5,
)

PUBLISHED = PublishedModel(
    name="tangoflux",
    family=TANGOFLUX,
    repository="declare-lab/TangoFlux",
    license="Stability AI Community License",
    summary=(
        "TangoFlux (backbone 517 M), declare-lab/TangoFlux, rectified flow in 25 steps, 44.1 kHz, stereo; weights"
        " Stability AI Community License and others"
    ),
)
