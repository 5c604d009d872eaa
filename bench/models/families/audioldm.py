"""AudioLDM (Liu et al. 2023, arXiv 2301.12503), from a pipeline directory as diffusers saves AudioLDMPipeline.

Under its own name a model is what diffusers' pipeline makes of the folder, but for steps and guidance, which are those
of the authors' command line. Under `NAME-authors` the same folder has the authors' attention heads and their sampling.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from admbench.bench.models.families.base import PublishedModel
from admbench.bench.models.families.pipeline import Parts, PipelineFamily
from admbench.bench.models.networks import published_sizes as sizes
from admbench.bench.models.samplers import SAMPLERS
from admbench.hashing import sha256_json


def random_parts(*, channels: int) -> Parts:
    """Make the parts of one published size with random weights: U-Net, CLAP's text half, autoencoder, HiFi-GAN.

    Args:
        channels: of the U-Net's first level.
    """
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
    from transformers import ClapTextConfig, ClapTextModelWithProjection, SpeechT5HifiGan, SpeechT5HifiGanConfig

    from admbench.bench.models.networks.untrained import ByteTokenizer

    encoder = ClapTextModelWithProjection(ClapTextConfig())
    padding: Any = encoder.config.pad_token_id
    return {
        "text_encoder": encoder,
        "backbone": UNet2DConditionModel(**sizes.audioldm_unet(channels)),
        "vae": AutoencoderKL(**sizes.AUDIOLDM_VAE),
        "vocoder": SpeechT5HifiGan(SpeechT5HifiGanConfig(**sizes.HIFIGAN)),
        "tokenizer": ByteTokenizer(sizes.CLAP_TOKENS, padding),
        "scheduler": DDIMScheduler(**sizes.AUDIOLDM_SCHEDULER),
    }


AUDIOLDM = PipelineFamily(
    pipeline="AudioLDMPipeline",
    saw="an AudioLDM pipeline directory",
    backbone="unet",
    networks={
        "backbone": "diffusers:UNet2DConditionModel",
        "text_encoder": "transformers:ClapTextModelWithProjection",
        "vae": "diffusers:AutoencoderKL",
        "vocoder": "transformers:SpeechT5HifiGan",
    },
    default_steps=200,  # of the authors' own command line
    default_guidance=2.5,
    samplers=SAMPLERS,
    assemble="admbench.bench.models.pipelines.audioldm:assemble",
    random_parts=random_parts,
)


@dataclass(frozen=True, kw_only=True)
class AuthorsFamily(PipelineFamily):
    """AudioLDM's folders, with its authors' attention heads and sampling."""

    def fingerprint(self, folder: Path) -> str:
        """See the base class: one of its own, because the same files make another function."""
        return sha256_json(["AudioLDM as its authors run it", super().fingerprint(folder)])


AS_AUTHORS = AuthorsFamily(
    pipeline=AUDIOLDM.pipeline,
    saw=AUDIOLDM.saw,
    backbone=AUDIOLDM.backbone,
    networks=AUDIOLDM.networks,
    default_steps=AUDIOLDM.default_steps,
    default_guidance=AUDIOLDM.default_guidance,
    layout=AUDIOLDM,
    assemble="admbench.bench.models.pipelines.audioldm:assemble_as_authors",
    random_parts=random_parts,
)

SMALL_V2 = PublishedModel(
    name="audioldm-s-full-v2",
    family=AUDIOLDM,
    repository="cvssp/audioldm-s-full-v2",
    license="CC-BY-NC-SA-4.0",
    summary="AudioLDM-S-Full-v2 (backbone 185 M), cvssp/audioldm-s-full-v2; weights CC-BY-NC-SA-4.0",
    variant={"channels": 128},
)
SMALL = PublishedModel(
    name="audioldm-s-full",
    family=AUDIOLDM,
    repository="cvssp/audioldm",
    license="CC-BY-NC-SA-4.0",
    summary="AudioLDM-S-Full (backbone 185 M), cvssp/audioldm; weights CC-BY-NC-SA-4.0",
    variant={"channels": 128},
)
MEDIUM = PublishedModel(
    name="audioldm-m-full",
    family=AUDIOLDM,
    repository="cvssp/audioldm-m-full",
    license="CC-BY-NC-SA-4.0",
    summary="AudioLDM-M-Full (backbone 416 M), cvssp/audioldm-m-full; weights CC-BY-NC-SA-4.0",
    variant={"channels": 192},
)
LARGE = PublishedModel(
    name="audioldm-l-full",
    family=AUDIOLDM,
    repository="cvssp/audioldm-l-full",
    license="CC-BY-NC-SA-4.0",
    summary="AudioLDM-L-Full (backbone 739 M), cvssp/audioldm-l-full; weights CC-BY-NC-SA-4.0",
    variant={"channels": 256},
)
SMALL_V2_AUTHORS = PublishedModel(
    name="audioldm-s-full-v2-authors",
    family=AS_AUTHORS,
    repository="cvssp/audioldm-s-full-v2",
    license="CC-BY-NC-SA-4.0",
    summary="AudioLDM-S-Full-v2 (185 M) as its authors run it, cvssp/audioldm-s-full-v2; weights CC-BY-NC-SA-4.0",
    folder="audioldm-s-full-v2",
    variant={"channels": 128},
)
SMALL_AUTHORS = PublishedModel(
    name="audioldm-s-full-authors",
    family=AS_AUTHORS,
    repository="cvssp/audioldm",
    license="CC-BY-NC-SA-4.0",
    summary="AudioLDM-S-Full (backbone 185 M) as its authors run it, cvssp/audioldm; weights CC-BY-NC-SA-4.0",
    folder="audioldm-s-full",
    variant={"channels": 128},
)
MEDIUM_AUTHORS = PublishedModel(
    name="audioldm-m-full-authors",
    family=AS_AUTHORS,
    repository="cvssp/audioldm-m-full",
    license="CC-BY-NC-SA-4.0",
    summary="AudioLDM-M-Full (backbone 416 M) as its authors run it, cvssp/audioldm-m-full; weights CC-BY-NC-SA-4.0",
    folder="audioldm-m-full",
    variant={"channels": 192},
)
LARGE_AUTHORS = PublishedModel(
    name="audioldm-l-full-authors",
    family=AS_AUTHORS,
    repository="cvssp/audioldm-l-full",
    license="CC-BY-NC-SA-4.0",
    summary="AudioLDM-L-Full (backbone 739 M) as its authors run it, cvssp/audioldm-l-full; weights CC-BY-NC-SA-4.0",
    folder="audioldm-l-full",
    variant={"channels": 256},
)
