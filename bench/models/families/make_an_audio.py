"""Make-An-Audio (Huang et al. 2023, arXiv 2301.12661) from the files that its authors publish.

    maa1_full.ckpt                  `state_dict` of the latent diffusion: U-Net, autoencoder, text encoder, betas
    bigvgan/args.yml, best_netG.pt  configuration and `generator` of the vocoder
    CLAP/config.yml                 names CLAP's text encoder
    CLAP/CLAP_weights_2022.pth      its weights (`model`), needed where maa1_full.ckpt does not hold them
    txt2audio_args.yaml             configuration of the latent diffusion; without it, the published one

As in its authors' code, the checkpoint's own text encoder comes before CLAP's file. BERT's tokenizer is not among the
files: it is taken from BERT's own repository.
"""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from admbench.bench.models.checkpoints.files import weights_file
from admbench.bench.models.checkpoints.ldm_config import TEXT_PREFIX
from admbench.bench.models.checkpoints.text_encoders import TextEncoderRepository
from admbench.bench.models.families.base import Family, PublishedModel
from admbench.bench.models.samplers import SAMPLERS
from admbench.errors import CheckpointError

if TYPE_CHECKING:
    from admbench.bench.models.base import AudioDiffusionModel

MAIN = "maa1_full"
CONFIGS = ("txt2audio_args.yaml", "configs/text_to_audio/txt2audio_args.yaml")
"""Where the configuration may be; without it, the model is the published one."""
BIGVGAN_CONFIG, BIGVGAN_WEIGHTS = "bigvgan/args.yml", "bigvgan/best_netG"
CLAP_CONFIG, CLAP_WEIGHTS = "CLAP/config.yml", "CLAP/CLAP_weights_2022"
TEXTS = TextEncoderRepository(
    config=CLAP_CONFIG,
    key="text_model",
    example="bert-base-uncased",
    files=("config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt"),
)


@dataclass(frozen=True, kw_only=True)
class MakeAnAudioFamily(Family):
    """The folders that the module describes."""

    @property
    def holds(self) -> tuple[str, ...]:
        """See the base class."""
        return (f"{MAIN}.ckpt", BIGVGAN_CONFIG, f"{BIGVGAN_WEIGHTS}.pt", CLAP_CONFIG)

    def recognises(self, folder: Path) -> bool:
        """See the base class: also without the weights, which is said where they are needed."""
        marks = (f"{MAIN}.safetensors", f"{MAIN}.ckpt", BIGVGAN_CONFIG, CLAP_CONFIG)
        return any((folder / name).is_file() for name in marks)

    def used_files(self, folder: Path, *, download: bool = False) -> dict[str, Path]:
        """See the base class; the tokenizer's files are called `texts/NAME`."""
        files = [folder / BIGVGAN_CONFIG, folder / CLAP_CONFIG, weights_file(folder, (MAIN,), ".ckpt")]
        files += [weights_file(folder, (BIGVGAN_WEIGHTS,), ".pt"), *filter(None, [clap_file(folder)])]
        files += filter(None, [config_file(folder)])
        for file in files:
            if not file.is_file():
                raise CheckpointError(f"{file}: missing; expected {self.expected}")
        own = {file.relative_to(folder).as_posix(): file for file in files}
        return own | TEXTS.used_files(folder, download=download)

    def build(self, folder: Path, known: dict[str, Any]) -> AudioDiffusionModel:
        """See the base class; weights stay mapped to their file, except the vocoder's."""
        from admbench.bench.models.pipelines import make_an_audio

        return make_an_audio.load(
            main=weights_file(folder, (MAIN,), ".ckpt"),
            config=config_file(folder),
            vocoder=(folder / BIGVGAN_CONFIG, weights_file(folder, (BIGVGAN_WEIGHTS,), ".pt")),
            clap=(folder / CLAP_CONFIG, clap_file(folder)),
            texts=TEXTS.locate(folder, download=True),
            known=known,
        )

    def build_untrained(self, variant: Mapping[str, Any], known: dict[str, Any]) -> AudioDiffusionModel:
        """See the base class."""
        from admbench.bench.models.pipelines import make_an_audio

        return make_an_audio.untrained(known)


def config_file(folder: Path) -> Path | None:
    """Return the configuration of the latent diffusion if the folder has one."""
    return next((folder / name for name in CONFIGS if (folder / name).is_file()), None)


def clap_file(folder: Path) -> Path | None:
    """Return CLAP's own weights where the checkpoint does not bring the text encoder; None where it does.

    Raises:
        CheckpointError: neither does.
    """
    main = weights_file(folder, (MAIN,), ".ckpt")
    # the names are plain bytes in each of the formats, and stand before the values
    if main.stat().st_size:
        with open(main, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            if content.find(TEXT_PREFIX.encode(), 0, 1 << 26) >= 0:
                return None
    try:
        return weights_file(folder, (CLAP_WEIGHTS,), ".pth")
    except CheckpointError as error:
        raise CheckpointError(f"{main}: holds no {TEXT_PREFIX}*, and {error}") from None


MAKE_AN_AUDIO = MakeAnAudioFamily(
    saw="a Make-An-Audio checkpoint (the authors' files)",
    networks={
        "backbone": "diffusers:UNet2DConditionModel",
        "text_encoder": "admbench.bench.models.networks.clap_bert:ClapBertTextModel",
        "vae": "diffusers:AutoencoderKL",
        "vocoder": "admbench.bench.models.networks.bigvgan:BigVGAN",
    },
    default_steps=100,
    default_guidance=3.0,
    samplers=SAMPLERS,
)

PUBLISHED = PublishedModel(
    name="make-an-audio",
    family=MAKE_AN_AUDIO,
    repository="Text-to-Audio/Make-An-Audio",
    license="MIT",
    host="github",
    summary="Make-An-Audio (backbone 160 M), Text-to-Audio/Make-An-Audio; repository MIT",
    elsewhere="the Google Drive folder that the README of github.com/Text-to-Audio/Make-An-Audio links to",
)
