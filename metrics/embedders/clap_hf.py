"""`clap-hf`: CLAP networks in the format of transformers, a folder or a hub id that was downloaded before.

transformers' `ClapModel` computes the network. Its feature extractor crops longer clips at random, so that it only gets
windows of exactly ten seconds; fused checkpoints are refused, because without a long clip they call a random one long.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from admbench.errors import CheckpointError
from admbench.hashing import sha256_file
from admbench.metrics.embedders.base import AudioFeatures
from admbench.metrics.embedders.pretrained import load_pretrained, not_a
from admbench.metrics.embedders.windows import SAMPLE_RATE, embed_windows
from admbench.weights import require_vocabulary

MAX_TOKENS = 77


class HuggingFaceClap:
    """A `ClapModel` as a :class:`admbench.metrics.embedders.base.JointEmbedder`."""

    sample_rate = SAMPLE_RATE

    def __init__(self, model: Any, extractor: Any, tokenizer: Any, checkpoint: str, sha256: str) -> None:
        self.name, self.sha256 = f"clap-hf:{checkpoint}", sha256
        self.model, self.extractor, self.tokenizer = model, extractor, tokenizer
        self.embedding_dim = int(model.config.projection_dim)

    @torch.inference_mode()
    def embed_audio(self, waveforms: NDArray[np.float32]) -> AudioFeatures:
        """Unit vectors (n, dim) of float32 waveforms (n, samples) in [-1, 1] at 48 kHz; there are no logits."""
        return AudioFeatures(embedding=embed_windows(waveforms, self._embed), logits=None)

    @torch.inference_mode()
    def embed_text(self, captions: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors (n, dim) of captions, cut off after 77 tokens."""
        tokens = self.tokenizer(
            list(captions), padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
        )
        return _unit(self.model.get_text_features(tokens["input_ids"], tokens["attention_mask"]))

    def _embed(self, of_clip: NDArray[np.float32]) -> NDArray[np.float32]:
        """Windows (k, 480000) -> unit vectors (k, dim)."""
        inputs = self.extractor(
            list(of_clip), sampling_rate=SAMPLE_RATE, truncation="rand_trunc", padding="repeatpad", return_tensors="pt"
        )
        return _unit(self.model.get_audio_features(inputs["input_features"].float()))


def load_clap_hf(weights: Path, checkpoint: str) -> HuggingFaceClap:
    """Load an unfused model that `ClapModel.save_pretrained` and its processor wrote.

    Args:
        weights: file in the model's folder, beside those of the feature extractor and the tokenizer.
        checkpoint: what scores call it.

    Raises:
        CheckpointError: fused, or a file is missing or damaged; names the folder.
    """
    from transformers import AutoTokenizer, ClapConfig, ClapFeatureExtractor, ClapModel

    folder, kind = weights.parent, "a CLAP model"
    try:
        audio: Any = ClapConfig.from_pretrained(folder, local_files_only=True).audio_config
        if audio.enable_fusion:
            raise CheckpointError(f"{folder}: a fusion model, which crops at random; expected an unfused one")
        extractor = ClapFeatureExtractor.from_pretrained(folder, local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(require_vocabulary(folder), local_files_only=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise not_a(kind, folder, error) from error
    model = load_pretrained(ClapModel, weights, kind)
    return HuggingFaceClap(model, extractor, tokenizer, checkpoint, sha256_file(weights))


def _unit(outputs: Any) -> NDArray[np.float32]:
    """Return unit vectors of what `get_audio_features` gives: a tensor, and since transformers 5 an output object."""
    vectors = outputs if isinstance(outputs, torch.Tensor) else outputs.pooler_output
    unit: NDArray[np.float32] = torch.nn.functional.normalize(vectors, dim=-1).numpy()
    return unit
