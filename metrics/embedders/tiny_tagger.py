"""`tiny-tagger`: the embedded suite's PANNs - a multi-label tagger of foley events that serves FD, KL and IS."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from admbench.metrics.embedders.audio_cnn import SAMPLE_RATE, AudioCNN
from admbench.metrics.embedders.base import AudioFeatures
from admbench.metrics.embedders.shipped import load_shipped

EMBEDDING_DIM = 64


class TaggerNetwork(nn.Module):
    """Waveforms (n, samples) at 16 kHz -> (embeddings (n, 64), logits (n, classes))."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.audio = AudioCNN(EMBEDDING_DIM)
        self.head = nn.Linear(EMBEDDING_DIM, classes)

    def forward(self, waveforms: Tensor) -> tuple[Tensor, Tensor]:
        """See the class; the logits are for independent sigmoids, as AudioSet's are."""
        embedding = self.audio(waveforms)
        return embedding, self.head(embedding)


class TinyTagger:
    """The trained tagger as an :class:`admbench.metrics.embedders.base.AudioEmbedder`."""

    name = "tiny-tagger"
    sample_rate = SAMPLE_RATE
    embedding_dim = EMBEDDING_DIM

    def __init__(self, network: TaggerNetwork, classes: tuple[str, ...], sha256: str) -> None:
        self.network, self.classes, self.sha256 = network.eval(), classes, sha256

    @torch.inference_mode()
    def embed_audio(self, waveforms: NDArray[np.float32]) -> AudioFeatures:
        """Embeddings (n, 64) and logits (n, classes) of float32 waveforms (n, samples) in [-1, 1] at 16 kHz."""
        embedding, logits = self.network(torch.from_numpy(np.ascontiguousarray(waveforms)))
        return AudioFeatures(embedding=embedding.numpy(), logits=logits.numpy())


def load_tagger(folder: Path | None = None) -> TinyTagger:
    """The shipped tagger, or one from another folder. Raises CheckpointError if the files are not what was shipped."""
    tensors, config, sha256 = load_shipped("tiny-tagger", folder)
    network = TaggerNetwork(len(config["classes"]))
    network.load_state_dict(tensors)
    return TinyTagger(network, tuple(config["classes"]), sha256)
