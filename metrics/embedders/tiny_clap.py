"""`tiny-clap`: the embedded suite's CLAP - audio and text towers trained contrastively on captioned foley clips.

Elizalde et al. 2022 (CLAP) and Wu et al. 2023 (LAION-CLAP): both towers end in an L2-normalised vector; the symmetric
cross-entropy of their scaled cosines makes matching pairs the most similar in a batch.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from admbench.metrics.embedders.audio_cnn import SAMPLE_RATE, AudioCNN
from admbench.metrics.embedders.base import AudioFeatures
from admbench.metrics.embedders.shipped import load_shipped

EMBEDDING_DIM = 64
MAX_WORDS = 32
PAD, UNKNOWN = 0, 1


class TextTower(nn.Module):
    """Word ids (n, words), 0 is padding -> L2-normalised vectors (n, 64). A transformer of two layers, mean-pooled."""

    def __init__(self, words: int, width: int = 96, layers: int = 2) -> None:
        super().__init__()
        self.words = nn.Embedding(words + 2, width, padding_idx=PAD)
        self.positions = nn.Parameter(torch.randn(MAX_WORDS, width) * 0.02)
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.0, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.project = nn.Linear(width, EMBEDDING_DIM)

    def forward(self, ids: Tensor) -> Tensor:
        """See the class."""
        present = ids != PAD
        hidden = self.layers(self.words(ids) + self.positions[: ids.shape[1]], src_key_padding_mask=~present)
        weights = present.to(hidden.dtype)[..., None]
        pooled = (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)
        return F.normalize(self.project(pooled), dim=-1)


class ClapNetwork(nn.Module):
    """Two towers and a temperature."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.audio = AudioCNN(128)
        self.audio_project = nn.Linear(128, EMBEDDING_DIM)
        self.text = TextTower(words)
        self.log_scale = nn.Parameter(torch.tensor(2.0))

    def embed_audio(self, waveforms: Tensor) -> Tensor:
        """(n, samples) at 16 kHz -> (n, 64), L2-normalised."""
        return F.normalize(self.audio_project(self.audio(waveforms)), dim=-1)


class WordTokenizer:
    """Lower-cased words to ids; an unknown word is 1, padding 0, at most 32 words."""

    def __init__(self, vocabulary: Sequence[str]) -> None:
        self.ids = {word: number + 2 for number, word in enumerate(vocabulary)}

    def __call__(self, captions: Sequence[str]) -> Tensor:
        """Word ids, int64 (n, longest)."""
        rows = [[self.ids.get(word, UNKNOWN) for word in words(text)[:MAX_WORDS]] or [UNKNOWN] for text in captions]
        out = torch.full((len(rows), max(map(len, rows))), PAD, dtype=torch.int64)
        for number, row in enumerate(rows):
            out[number, : len(row)] = torch.tensor(row)
        return out


def words(caption: str) -> list[str]:
    """The words and commas of a caption, lower-cased."""
    return re.findall(r"[a-z0-9']+|,", caption.lower())


class TinyClap:
    """The trained network as a :class:`admbench.metrics.embedders.base.JointEmbedder`."""

    name = "tiny-clap"
    sample_rate = SAMPLE_RATE
    embedding_dim = EMBEDDING_DIM

    def __init__(self, network: ClapNetwork, tokenizer: WordTokenizer, sha256: str) -> None:
        self.network, self.tokenizer, self.sha256 = network.eval(), tokenizer, sha256

    @torch.inference_mode()
    def embed_audio(self, waveforms: NDArray[np.float32]) -> AudioFeatures:
        """Unit vectors (n, 64) of float32 waveforms (n, samples) in [-1, 1] at 16 kHz; there are no logits."""
        embedding = self.network.embed_audio(torch.from_numpy(np.ascontiguousarray(waveforms)))
        return AudioFeatures(embedding=embedding.numpy(), logits=None)

    @torch.inference_mode()
    def embed_text(self, captions: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors (n, 64) of captions."""
        vectors: NDArray[np.float32] = self.network.text(self.tokenizer(captions)).numpy()
        return vectors


def load_clap(folder: Path | None = None) -> TinyClap:
    """The shipped network, or one from another folder. Raises CheckpointError if the files are not what was shipped."""
    tensors, config, sha256 = load_shipped("tiny-clap", folder)
    network = ClapNetwork(len(config["vocabulary"]))
    network.load_state_dict(tensors)
    return TinyClap(network, WordTokenizer(config["vocabulary"]), sha256)
