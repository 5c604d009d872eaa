"""Make-An-Audio (arXiv 2301.12661) as its authors' code runs it: latents and spectrograms are mel x time.

Facts from github.com/Text-to-Audio/Make-An-Audio (gen_wav.py).

Departures: int(7.8 x seconds) latent columns are rounded up to a multiple of 4 as in gen_wav.py (gen_wavs_by_tsv.py
rounds down: 76 for 10 s, not 80). Clips end at `generation.seconds` (10 s gives 10.24 s there; 10.24 s, uncut, is the
default here). Missing columns, as for 20 s, are silence at the end (on both sides there, by accident). Steps that do
not divide 1000 are kept exactly (one or more too many there). Captions have 77 tokens, padding included and unmasked,
as there.
"""

from __future__ import annotations

from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from numpy.typing import NDArray
from torch import Tensor

from admbench.bench.models.base import AudioDiffusionModel, ModelCard
from admbench.bench.models.checkpoints.make_an_audio import Networks, read_networks, shrink, untrained_networks
from admbench.bench.models.conditioning import UnmaskedTokenStates
from admbench.bench.models.mel import MelSpec
from admbench.bench.models.networks.untrained import ByteTokenizer
from admbench.bench.models.pipelines.mel_latents import MelDecoder
from admbench.bench.models.pipelines.parts import load_tokenizer
from admbench.errors import UsageError

SAMPLE_RATE = 16_000
CAPTION_TOKENS = 77
COLUMNS_PER_SECOND = 7.8
"""Columns of the latents, as gen_wav.py counts them, before it rounds up to a multiple of 4."""
ASKED_SECONDS = 10
"""gen_wav.py's default, of which its rounding makes 80 columns, 10.24 s."""


class MakeAnAudioModel(AudioDiffusionModel):
    """Make-An-Audio's way from a clip's length to the width of its latents, and back."""

    def set_seconds(self, seconds: float) -> None:
        """Makes clips of that length from now on. Raises UsageError where that is less than one column."""
        columns = latent_columns(seconds) if isfinite(seconds) else 0
        if columns < 1:
            least = 1 / COLUMNS_PER_SECOND
            raise UsageError(f"{self.name}: generation.seconds = {seconds:g}; expected {least:.2g} or more")
        channels, rows, _ = self.card.latent_shape
        self.card = replace(self.card, seconds=seconds, latent_shape=(channels, rows, columns))

    def decode(self, latents: Tensor) -> NDArray[np.float32]:
        """Latents (n, *latent_shape) to waveforms, float32 (n, samples): what the columns make, cut to the length.

        Where they make less, which the authors' rule allows (19.97 s for 20 s), silence follows, as the authors add it.
        """
        made = super().decode(latents)
        samples = int(round(self.seconds * self.sample_rate, 6))
        return np.pad(made, ((0, 0), (0, max(0, samples - made.shape[1]))))


class MelByTime(MelDecoder):
    """Decodes with an autoencoder of spectrograms that are mel x time, like their latents."""

    def spectrograms(self, latents: Tensor) -> Tensor:
        """Log-mel spectrograms (n, frames, bands), as the vocoder was trained on."""
        decoded: Tensor = self.vae.decode(latents / self.vae.config["scaling_factor"]).sample[:, 0]
        return decoded.transpose(1, 2)


def latent_columns(seconds: float) -> int:
    """The width of the latents of a clip, as gen_wav.py has it: 7.8 columns a second, rounded UP to a multiple of 4.

    (gen_wavs_by_tsv.py, its sibling for lists of captions, rounds down: 76 instead of 80 columns for 10 s.)
    """
    return -4 * (-int(seconds * COLUMNS_PER_SECOND) // 4)


def untrained(known: dict[str, Any]) -> AudioDiffusionModel:
    """Make the published architecture with random weights.

    Args:
        known: the fields of the model's card that do not follow from the architecture.
    """
    return _assemble(untrained_networks(), ByteTokenizer(CAPTION_TOKENS, pad=0), known)


def load(
    *,
    main: Path,
    config: Path | None,
    vocoder: tuple[Path, Path],
    clap: tuple[Path, Path | None],
    texts: Path,
    known: dict[str, Any],
) -> AudioDiffusionModel:
    """Load the authors' files in float32.

    Args:
        main, config, vocoder, clap: see `read_networks`.
        texts: folder with the configuration and the tokenizer of CLAP's BERT.
        known: the fields of the model's card that do not follow from the parts.

    Raises:
        CheckpointError: a file is missing or damaged, or its tensors are not those of its configuration.
    """
    networks = read_networks(main, config, vocoder, clap, texts)
    tokenizer = load_tokenizer(texts)
    tokenizer.model_max_length = CAPTION_TOKENS
    return _assemble(networks, tokenizer, known)


def _assemble(networks: Networks, tokenizer: Any, known: dict[str, Any]) -> AudioDiffusionModel:
    config, backbone, encoder = networks.config, networks.backbone, networks.text_encoder
    vae, vocoder = networks.vae, networks.vocoder
    mel = MelSpec(sample_rate=SAMPLE_RATE, hop=vocoder.config.hop, n_mels=vocoder.config.num_mels)
    columns = latent_columns(ASKED_SECONDS)
    card = ModelCard(
        sample_rate=mel.sample_rate,
        seconds=columns * shrink(vae) * mel.hop / mel.sample_rate,
        latent_shape=(backbone.config["in_channels"], config.mel_dim, columns),
        **known,
    )
    # steps of 10 from 1, and alpha of the first beta after the last: DDIM as this code base has it
    scheduler = DDIMScheduler(
        num_train_timesteps=config.timesteps,
        beta_start=config.linear_start,
        beta_end=config.linear_end,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )
    parts = {"backbone": backbone, "text_encoder": encoder, "vae": vae, "vocoder": vocoder}
    decoder = MelByTime(vae, vocoder, mel, "vocoder", transposed=True)
    return MakeAnAudioModel(card, parts, UnmaskedTokenStates(tokenizer, encoder), scheduler, decoder)
