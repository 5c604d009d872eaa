"""`audiobox-aesthetics`: Meta's Audiobox-Aesthetics, on the network of its package.

Tjandra et al. 2025, "Meta Audiobox Aesthetics: Unified Automatic Quality Assessment for Speech, Music, and Sound"
(arXiv 2502.05139): WavLM at 16 kHz with a head for each of four axes, trained on listeners' ratings from 1 to 10:
content enjoyment, content usefulness, production complexity, production quality. What stands for a clip's embedding are
these four numbers.

As the package predicts: windows of 10 s without overlap, the last followed by zeros that are masked out; a clip's
number is the mean over its windows, weighted by how much of each is audio. Only the package's network definition is
used, with weights from a local folder, strictly by name, where its own loader takes what fits.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from admbench.errors import CheckpointError, PluginError
from admbench.files import read_json
from admbench.hashing import sha256_file
from admbench.metrics.embedders.base import AudioFeatures
from admbench.metrics.embedders.published import load_strictly

SAMPLE_RATE = 16_000
WINDOW = 10 * SAMPLE_RATE
AXES = ("CE", "CU", "PC", "PQ")
"""Content enjoyment, content usefulness, production complexity, production quality: in the order of the numbers."""
AT_A_TIME = 8
"""Windows."""


class Audiobox:
    """An Audiobox-Aesthetics as a :class:`admbench.metrics.embedders.base.AudioEmbedder`; no classes."""

    sample_rate = SAMPLE_RATE
    embedding_dim = len(AXES)

    def __init__(self, network: Any, checkpoint: str, sha256: str) -> None:
        self.name, self.sha256, self.network = f"audiobox-aesthetics:{checkpoint}", sha256, network.eval()

    @torch.inference_mode()
    def embed_audio(self, waveforms: NDArray[np.float32]) -> AudioFeatures:
        """The four numbers (n, 4), as in `AXES`, of float32 waveforms (n, samples) in [-1, 1] at 16 kHz."""
        clips = torch.from_numpy(np.ascontiguousarray(waveforms))
        count, length = -(-clips.shape[1] // WINDOW), clips.shape[1]
        padded = F.pad(clips, (0, count * WINDOW - length)).unflatten(1, (count, WINDOW))
        heard = (torch.arange(count * WINDOW) < length).unflatten(0, (count, WINDOW))
        windows = padded.flatten(0, 1)[:, None]
        masks = heard.repeat(len(clips), 1)[:, None]
        parts = zip(windows.split(AT_A_TIME), masks.split(AT_A_TIME), strict=True)
        predicted = [self._predict(*part) for part in parts]
        shares = heard.float().mean(dim=1)
        of_windows = torch.cat(predicted).unflatten(0, (len(clips), count))
        means = (of_windows * shares[:, None]).sum(dim=1) / shares.sum()
        return AudioFeatures(embedding=means.numpy(), logits=None)

    def _predict(self, windows: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        """Windows (k, 1, 160000) and which samples of them are audio -> (k, 4), on the listeners' scale."""
        found = self.network({"wav": windows, "mask": masks})
        scales = self.network.target_transform
        return torch.stack([found[axis] * scales[axis]["std"] + scales[axis]["mean"] for axis in AXES], dim=1)


def load_audiobox(weights: Path, checkpoint: str) -> Audiobox:
    """Load a folder with `config.json` and `model.safetensors`, as the package's authors publish it.

    Args:
        weights: its file of weights.
        checkpoint: what scores call it.

    Raises:
        CheckpointError: another network's, not whole, or not readable; names file or folder.
        PluginError: the package cannot be imported here.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        from audiobox_aesthetics.model.aes import AesMultiOutput
    except ImportError as error:
        needs = "to get what it needs: pip install 'admbench[audiobox]'"
        raise PluginError(f"audiobox-aesthetics: {error}; {needs}") from error
    config = read_json(weights.parent / "config.json")
    try:
        network = AesMultiOutput(**config)
        if not all(set(network.target_transform[axis]) == {"mean", "std"} for axis in AXES):
            raise ValueError("target_transform lacks a mean or an std")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"not the configuration of an Audiobox-Aesthetics ({error!r})"
        raise CheckpointError(f"{weights.parent / 'config.json'}: {reason}") from error
    try:
        tensors = load_file(weights)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{weights}: not a readable safetensors file ({error})") from error
    load_strictly(network, tensors, weights)
    return Audiobox(network, checkpoint, sha256_file(weights))
