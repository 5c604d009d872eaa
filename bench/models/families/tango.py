"""TANGO (Ghosal et al. 2023, arXiv 2304.13731) from the files that declare-lab publishes.

    main_config.json            names of the text encoder and of the U-Net's configuration
    pytorch_model_main.bin      `unet.*` by diffusers' names, `text_encoder.*` (FLAN-T5-large) by transformers'
    vae_config.json             AudioLDM's autoencoder and the scale of its latents
    pytorch_model_vae.bin       the autoencoder by CompVis' names, HiFi-GAN as `vocoder.*`
    stft_config.json            sample rate and hop

The text encoder's tokenizer is not among the files: it is taken from the text encoder's own repository.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from admbench.bench.models.checkpoints.files import weights_file
from admbench.bench.models.checkpoints.text_encoders import TextEncoderRepository
from admbench.bench.models.families.base import Family, PublishedModel
from admbench.bench.models.samplers import SAMPLERS
from admbench.errors import CheckpointError
from admbench.files import read_json

if TYPE_CHECKING:
    from admbench.bench.models.base import AudioDiffusionModel

CONFIGS = ("main_config.json", "vae_config.json", "stft_config.json")
UNET_CONFIG = "configs/diffusion_model_config.json"
"""Names the published U-Net; the file is in the code's repository, not among the published ones."""
SCHEDULER = "stabilityai/stable-diffusion-2-1"
"""Names the constants of the noise schedule, which the authors' code samples by DDPM whatever that repository holds."""
MAIN, VAE = "pytorch_model_main", "pytorch_model_vae"
TEXTS = TextEncoderRepository(
    config=CONFIGS[0],
    key="text_encoder_name",
    example="google/flan-t5-large",
    files=("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "spiece.model"),
)


def unet_config(folder: Path) -> Path | None:
    """Return the file of the folder that configures its U-Net; None where it names the published one.

    Raises:
        CheckpointError: it names anything else, or a file outside of the folder.
    """
    main = folder / CONFIGS[0]
    content = read_json(main)
    named = content.get("unet_model_config_path") if isinstance(content, dict) else None
    if isinstance(named, str) and named and os.path.isfile(folder / named):
        if Path(named).is_absolute() or ".." in Path(named).parts:
            raise CheckpointError(f"{main}: unet_model_config_path is {named[:60]!r}; expected a file in this folder")
        return folder / named
    if named != UNET_CONFIG:
        raise CheckpointError(
            f"{main}: unet_model_config_path is {str(named)[:60]}; expected {UNET_CONFIG}, or a file here"
        )
    return None


def check_scheduler(folder: Path) -> None:
    """Raise CheckpointError unless the folder names the one noise schedule that is known here, or none."""
    content = read_json(folder / CONFIGS[0])
    named = content.get("scheduler_name", SCHEDULER) if isinstance(content, dict) else None
    if named != SCHEDULER:
        raise CheckpointError(f"{folder / CONFIGS[0]}: scheduler_name is {str(named)[:60]}; expected {SCHEDULER}")


@dataclass(frozen=True, kw_only=True)
class TangoFamily(Family):
    """The folders that the module describes."""

    @property
    def holds(self) -> tuple[str, ...]:
        """See the base class."""
        return (*CONFIGS, f"{MAIN}.bin", f"{VAE}.bin")

    def recognises(self, folder: Path) -> bool:
        """See the base class."""
        return (folder / CONFIGS[0]).is_file()

    def used_files(self, folder: Path, *, download: bool = False) -> dict[str, Path]:
        """See the base class; the tokenizer's files are called `texts/NAME`."""
        files = [folder / name for name in CONFIGS]
        files += [weights_file(folder, (stem,)) for stem in (MAIN, VAE)]
        files += filter(None, [unet_config(folder)])
        for file in files:
            if not file.is_file():
                raise CheckpointError(f"{file}: missing; expected {self.expected}")
        return {file.relative_to(folder).as_posix(): file for file in files} | TEXTS.used_files(
            folder, download=download
        )

    def build(self, folder: Path, known: dict[str, Any]) -> AudioDiffusionModel:
        """See the base class; weights stay mapped to their file."""
        from admbench.bench.models.pipelines import tango

        check_scheduler(folder)
        texts = TEXTS.locate(folder, download=True)
        return tango.load(
            folder,
            main=weights_file(folder, (MAIN,)),
            vae=weights_file(folder, (VAE,)),
            unet=unet_config(folder),
            texts=texts,
            known=known,
        )

    def build_untrained(self, variant: Mapping[str, Any], known: dict[str, Any]) -> AudioDiffusionModel:
        """See the base class."""
        from admbench.bench.models.pipelines import tango

        return tango.untrained(known)


TANGO = TangoFamily(
    saw="a TANGO checkpoint (declare-lab's files)",
    networks={
        "backbone": "diffusers:UNet2DConditionModel",
        "text_encoder": "transformers:T5EncoderModel",
        "vae": "diffusers:AutoencoderKL",
        "vocoder": "transformers:SpeechT5HifiGan",
    },
    default_steps=200,
    default_guidance=3.0,
    samplers=SAMPLERS,
)

BASE = PublishedModel(
    name="tango",
    family=TANGO,
    repository="declare-lab/tango",
    license="CC-BY-NC-SA-4.0",
    summary="TANGO (backbone 866 M), declare-lab/tango, trained on AudioCaps; weights CC-BY-NC-SA-4.0",
)
FULL = PublishedModel(
    name="tango-full",
    family=TANGO,
    repository="declare-lab/tango-full",
    license="CC-BY-NC-SA-4.0",
    summary="TANGO (backbone 866 M), declare-lab/tango-full, trained on TangoPromptBank; weights CC-BY-NC-SA-4.0",
)
FULL_AUDIOCAPS = PublishedModel(
    name="tango-full-ft-audiocaps",  # trained on TangoPromptBank, then on AudioCaps
    family=TANGO,
    repository="declare-lab/tango-full-ft-audiocaps",
    license="CC-BY-NC-SA-4.0",
    summary="TANGO (backbone 866 M), declare-lab/tango-full-ft-audiocaps; weights CC-BY-NC-SA-4.0",
)
TANGO2 = PublishedModel(
    name="tango2",
    family=TANGO,
    repository="declare-lab/tango2",
    license="CC-BY-NC-SA-4.0",
    summary="TANGO 2 (backbone 866 M), declare-lab/tango2, aligned by preferences; weights CC-BY-NC-SA-4.0",
)
