"""`mert`: MERT-v1-95M, a self-supervised network of music, as transformers' `HubertModel` computes it.

Li et al. 2024, "MERT: Acoustic Music Understanding Model with Large-Scale Self-supervised Training" (arXiv 2306.00107).
24 kHz, 75 frames a second. A clip is brought to mean 0 and variance 1, as its `preprocessor_config.json` says; what is
taken is the output of the last layer (12 of 12), as fadtk's `MERT-v1-95M` does, and its mean over frames is the
embedding of a clip. A clip is taken as a whole. There are no windows for `fad`: second moments of 768 numbers are
1.2 MB a clip.

The published folder comes with code of its own, which is not run: with its configuration (no constant-Q transform, no
deep norm) that code is HuBERT's, layer by layer. A checkpoint that has either is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from admbench.errors import CheckpointError
from admbench.files import read_json
from admbench.hashing import sha256_file
from admbench.metrics.embedders.base import AudioFeatures
from admbench.metrics.embedders.pretrained import load_pretrained, not_a

AT_A_TIME = 4
"""Clips; the attention of one of 10 s holds 7 million numbers a layer."""
MODEL_TYPE = "mert_model"
"""Of `config.json`."""
ONLY_IN_ITS_OWN_CODE = ("feature_extractor_cqt", "deepnorm")
"""Keys of the configuration that ask for more than HuBERT."""


class Mert:
    """A MERT as a :class:`admbench.metrics.embedders.base.AudioEmbedder`; no classes."""

    def __init__(self, model: Any, extractor: Any, checkpoint: str, sha256: str) -> None:
        self.name, self.sha256 = f"mert:{checkpoint}", sha256
        self.model, self.extractor = model, extractor
        self.sample_rate = int(extractor.sampling_rate)
        self.embedding_dim = int(model.config.hidden_size)

    @torch.inference_mode()
    def embed_audio(self, waveforms: NDArray[np.float32]) -> AudioFeatures:
        """Mean of the last layer over frames, (n, dim), of float32 waveforms (n, samples) at the model's rate."""
        inputs = self.extractor(list(waveforms), sampling_rate=self.sample_rate, return_tensors="pt")["input_values"]
        parts = inputs.float().split(AT_A_TIME)
        means = torch.cat([self.model(part).last_hidden_state.mean(dim=1) for part in parts])
        return AudioFeatures(embedding=means.numpy(), logits=None)


def load_mert(weights: Path, checkpoint: str) -> Mert:
    """Load a published folder of MERT without the code in it.

    Args:
        weights: file in the folder, beside `config.json` and `preprocessor_config.json`.
        checkpoint: what scores call it.

    Raises:
        CheckpointError: another network's, not whole, or one that HuBERT's layers do not make up; names the folder.
    """
    from transformers import HubertConfig, HubertModel, Wav2Vec2FeatureExtractor

    folder, kind = weights.parent, "a MERT model"
    config = read_json(folder / "config.json")
    if not isinstance(config, dict) or config.get("model_type") != MODEL_TYPE:
        found = config.get("model_type") if isinstance(config, dict) else None
        raise CheckpointError(f'{folder}: model_type "{found}"; expected "{MODEL_TYPE}", such as m-a-p/MERT-v1-95M')
    if more := [key for key in ONLY_IN_ITS_OWN_CODE if config.get(key)]:
        raise CheckpointError(f"{folder}: has {more[0]}, which HuBERT's layers do not; expected m-a-p/MERT-v1-95M")
    own = {key: value for key, value in config.items() if key not in ("model_type", "architectures", "auto_map")}
    try:
        extractor = Wav2Vec2FeatureExtractor.from_pretrained(folder, local_files_only=True)
        hubert = HubertConfig.from_dict(own)
    except (OSError, ValueError, TypeError) as error:
        raise not_a(kind, folder, error) from error
    model = load_pretrained(HubertModel, weights, kind, config=hubert)
    return Mert(model, extractor, checkpoint, sha256_file(weights))
