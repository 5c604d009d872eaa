"""`encodec`: the encoder of EnCodec at 24 kHz, before its codebooks, as transformers' `EncodecModel` has it.

Defossez, Copet, Synnaeve and Adi 2022, "High Fidelity Neural Audio Compression" (arXiv 2210.13438). A frame of 128
numbers for every 320 samples, that is 75 a second. As in fadtk's `encodec-emb` (Gui et al. 2024, "Adapting Frechet
Audio Distance for Generative Music Evaluation") these continuous frames are taken, not the codes: each is a window of
`fad`, and their mean is the embedding of a clip. A clip is encoded as a whole; nothing is normalized or cut.

The 48 kHz model is another thing: stereo, in chunks of a second, each divided by its own level. It is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from admbench.errors import CheckpointError
from admbench.hashing import sha256_file
from admbench.metrics.embedders.base import AudioFeatures
from admbench.metrics.embedders.pretrained import load_pretrained

AT_A_TIME = 4
"""Clips; the first layers of one of 10 s hold 8 million numbers each."""


class Encodec:
    """The encoder of an `EncodecModel` as a :class:`admbench.metrics.embedders.base.AudioEmbedder`; no classes."""

    def __init__(self, model: Any, checkpoint: str, sha256: str) -> None:
        self.name, self.sha256 = f"encodec:{checkpoint}", sha256
        self.encoder = model.encoder
        self.sample_rate = int(model.config.sampling_rate)
        self.embedding_dim = int(model.config.hidden_size)

    @torch.inference_mode()
    def embed_audio(self, waveforms: NDArray[np.float32]) -> AudioFeatures:
        """Frames of float32 waveforms (n, samples) in [-1, 1] at the model's rate, and their mean per clip."""
        clips = torch.from_numpy(np.ascontiguousarray(waveforms))[:, None]
        frames = torch.cat([self.encoder(part) for part in clips.split(AT_A_TIME)]).transpose(1, 2)
        return AudioFeatures(embedding=frames.mean(dim=1).numpy(), logits=None, windows=frames.contiguous().numpy())


def load_encodec(weights: Path, checkpoint: str) -> Encodec:
    """Load a model that `EncodecModel.save_pretrained` wrote.

    Args:
        weights: file in the model's folder, beside its configuration.
        checkpoint: what scores call it.

    Raises:
        CheckpointError: another network's, not whole, or a stereo or chunked one; names the folder.
    """
    from transformers import EncodecModel

    model = load_pretrained(EncodecModel, weights, "an EnCodec model")
    config = model.config
    if config.audio_channels != 1 or config.normalize or config.chunk_length_s is not None:
        raise CheckpointError(
            f"{weights.parent}: an EnCodec of {config.audio_channels} channels, with chunks or levels of its own;"
            " expected one such as facebook/encodec_24khz"
        )
    return Encodec(model, checkpoint, sha256_file(weights))
