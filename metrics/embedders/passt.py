"""`passt`: the AudioSet tagger of Koutini et al. 2022, on the network and the front end of the hear21passt package.

"Efficient Training of Audio Transformers with Patchout" (arXiv 2110.05069): a transformer over overlapping 16 x 16
patches of a log-mel picture of 128 bands and at most 998 frames, that is 10 s at 32 kHz. Features are the mean of its
two class tokens after the last block, 768 numbers; logits those of AudioSet's 527 classes before the sigmoid, as with
CNN14. Patchout is for training: nothing is drawn here.

The package's own loaders fetch weights from a URL. Here its network is made with weights of its own and a local file
takes their place, strictly. A longer clip is embedded as its `get_scene_embeddings` does: 10 s every 2.5 s, 5 s of
reflected sound before and after, features and logits averaged.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from admbench.errors import PluginError
from admbench.hashing import sha256_file
from admbench.metrics.embedders.base import AudioFeatures
from admbench.metrics.embedders.published import load_pickle, load_strictly

SAMPLE_RATE = 32_000
CLASSES = 527
WIDTH, DEPTH, HEADS = 768, 12, 12
FRONT_END: dict[str, Any] = {
    "n_mels": 128,
    "sr": SAMPLE_RATE,
    "win_length": 800,
    "hopsize": 320,
    "n_fft": 1024,
    "fmin": 0.0,
    "fmax": 15_000.0,
    "fmin_aug_range": 10,
    "fmax_aug_range": 2000,
}
"""That of the package's `get_basic_model`; its `fmax` of None is 15 kHz there, printed at each start."""
AT_A_TIME = 4
"""Clips; the attention of one holds 17 million numbers a block."""


class Passt:
    """A PaSST as a :class:`admbench.metrics.embedders.base.AudioEmbedder`."""

    name = "passt"
    sample_rate = SAMPLE_RATE

    def __init__(self, network: Any, sha256: str) -> None:
        preprocess, wrapper = _package()[1:]
        mel = preprocess.AugmentMelSTFT(**FRONT_END)
        self.embedding_dim, self.sha256 = int(network.embed_dim), sha256
        # it sends each window to its own device and cuts by its own lengths; mode "all" is logits, then features
        self._scenes = wrapper.PasstBasicWrapper(mel=mel, net=network, mode="all").eval()

    @torch.inference_mode()
    def embed_audio(self, waveforms: NDArray[np.float32]) -> AudioFeatures:
        """Features (n, 768) and logits (n, 527) of float32 waveforms (n, samples) in [-1, 1] at 32 kHz."""
        clips = torch.from_numpy(np.ascontiguousarray(waveforms))
        with _quiet():
            outputs = torch.cat([self._scenes.get_scene_embeddings(part) for part in clips.split(AT_A_TIME)])
        logits, features = outputs.split([outputs.shape[1] - self.embedding_dim, self.embedding_dim], dim=1)
        return AudioFeatures(embedding=features.numpy(), logits=logits.numpy())


def load_passt(path: Path) -> Passt:
    """Load a published state dictionary of `passt_s_swa_p16_128_ap476`, strictly by its own names.

    Raises:
        CheckpointError: it is another network's, or not readable; names the file.
        PluginError: the package cannot be imported here.
    """
    tensors = load_pickle(path, None)
    network = make_network()
    load_strictly(network, tensors, path)
    return Passt(network, sha256_file(path))


def make_network(width: int = WIDTH, depth: int = DEPTH, heads: int = HEADS, classes: int = CLASSES) -> Any:
    """Return the package's network with random weights; other sizes than the published ones serve tests."""
    network = _package()[0].PaSST(
        img_size=(128, 998),
        patch_size=16,
        stride=(10, 10),
        embed_dim=width,
        depth=depth,
        num_heads=heads,
        num_classes=classes,
        distilled=True,
    )
    return network.eval()


def _package() -> tuple[Any, Any, Any]:
    """Return the package's modules of the network, the front end and the cutting of clips."""
    try:
        from hear21passt import wrapper
        from hear21passt.models import passt, preprocess
    except ImportError as error:
        raise PluginError(f"passt: {error}; to get what it needs: pip install 'admbench[passt]'") from error
    passt.first_RUN = False  # else the first call prints the shape of every tensor
    return passt, preprocess, wrapper


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the package's warnings: that a clip is not 998 frames long, and of calls that torch will drop."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Input image size")
        warnings.filterwarnings("ignore", message="stft with return_complex=False")
        warnings.filterwarnings("ignore", message=r".*torch\.cuda\.amp\.autocast")
        yield
