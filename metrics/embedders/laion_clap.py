"""`laion-clap`: LAION-CLAP checkpoints in their original format, on the network of the laion-clap package.

Wu et al. 2023, "Large-scale Contrastive Language-Audio Pretraining with Feature Fusion and Keyword-to-Caption
Augmentation". Unfused checkpoints only: feature fusion takes random crops. Scores of different checkpoints are not
comparable, so the checkpoint's file is part of the embedder's name.

Only the package's network definition is used. Importing the package itself fetches three tokenizers for its training
code, its loader unpickles without restriction, and its preprocessing crops at random.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module, util
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from admbench.errors import CheckpointError, PluginError
from admbench.hashing import sha256_file
from admbench.metrics.embedders.base import AudioFeatures
from admbench.metrics.embedders.hub import find_tokenizer
from admbench.metrics.embedders.published import load_pickle, load_strictly
from admbench.metrics.embedders.windows import SAMPLE_RATE, embed_windows, mean_of_windows, windows

EMBEDDING_DIM = 512
MAX_TOKENS = 77
TOKENIZER = "roberta-base"
ROBERTA_BASE: dict[str, Any] = {
    "vocab_size": 50_265,
    "max_position_embeddings": 514,
    "type_vocab_size": 1,
    "layer_norm_eps": 1e-5,
}
"""What distinguishes the published text encoder from the defaults of `transformers.RobertaConfig`."""

AUDIO_WIDTHS = {96: ("tiny", 768), 128: ("base", 1024), 256: ("large", 2048)}
"""Channels of the first layer of HTS-AT -> its size, and the width of its output."""
_FIRST_LAYER = "audio_branch.patch_embed.proj.weight"
_POSITION_IDS = "text_branch.embeddings.position_ids"  # a constant, which transformers stopped to save in 4.31


class LaionClap:
    """A LAION-CLAP network as a :class:`admbench.metrics.embedders.base.JointEmbedder`."""

    sample_rate = SAMPLE_RATE
    embedding_dim = EMBEDDING_DIM

    def __init__(self, network: Any, tokenizer: Any, checkpoint: str, sha256: str) -> None:
        self.name, self.sha256 = f"laion-clap:{checkpoint}", sha256
        self.network, self.tokenizer = network.eval(), tokenizer

    @torch.inference_mode()
    def embed_audio(self, waveforms: NDArray[np.float32]) -> AudioFeatures:
        """Unit vectors (n, 512) of float32 waveforms (n, samples) in [-1, 1] at 48 kHz; there are no logits."""
        return AudioFeatures(embedding=embed_windows(waveforms, self._embed), logits=None)

    @torch.inference_mode()
    def embed_unrounded(self, waveforms: NDArray[np.float32]) -> AudioFeatures:
        """Return the same without clipping and rounding to 16 bits, as of tensors the package's own hook does."""
        return AudioFeatures(embedding=mean_of_windows(windows(waveforms), self._embed), logits=None)

    @torch.inference_mode()
    def embed_text(self, captions: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors (n, 512) of captions, cut off after 77 tokens."""
        tokens = self.tokenizer(
            list(captions), padding="max_length", truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
        )
        vectors: NDArray[np.float32] = self.network.get_text_embedding(dict(tokens)).numpy()
        return vectors

    def _embed(self, of_clip: NDArray[np.float32]) -> NDArray[np.float32]:
        """Windows (k, 480000) -> unit vectors (k, 512)."""
        inputs = [{"waveform": torch.from_numpy(window), "longer": torch.tensor([False])} for window in of_clip]
        vectors: NDArray[np.float32] = self.network.get_audio_embedding(inputs).numpy()
        return vectors


def load_laion_clap(path: Path) -> LaionClap:
    """Load an unfused checkpoint of LAION-CLAP, strictly, with the tokenizer that lies beside it or in the hub's cache.

    Raises:
        CheckpointError: it is fused, another network's, or not readable; names the file. The tokenizer is missing.
        PluginError: the laion-clap package cannot be imported here.
    """
    tensors = {name.removeprefix("module."): tensor for name, tensor in load_pickle(path, "state_dict").items()}
    tensors.pop(_POSITION_IDS, None)
    if any(".fusion_model." in name or ".mel_conv2d." in name for name in tensors):
        raise CheckpointError(f"{path}: a fusion checkpoint, which crops at random; expected an unfused one")
    size = AUDIO_WIDTHS.get(len(tensors[_FIRST_LAYER])) if _FIRST_LAYER in tensors else None
    if size is None:
        raise CheckpointError(f"{path}: not a LAION-CLAP checkpoint with HTS-AT: no {_FIRST_LAYER} of a known width")
    tokenizer = _load_tokenizer(path.parent)
    network = make_network(*size)
    load_strictly(network, tensors, path)
    return LaionClap(network, tokenizer, path.name, sha256_file(path))


def make_network(audio_size: str, audio_width: int) -> Any:
    """Return `clap_module.model.CLAP` with random weights, as the package configures it for HTS-AT and RoBERTa."""
    with _package() as package, _text_encoder_from_its_shape_alone(package):
        audio = package.CLAPAudioCfp(
            model_type="HTSAT", model_name=audio_size, hop_size=480, window_size=1024, audio_length=1024
        )
        text = package.CLAPTextCfg(
            context_length=MAX_TOKENS, vocab_size=49_408, width=512, heads=8, layers=12, model_type="roberta"
        )
        return package.CLAP(embed_dim=audio_width, audio_cfg=audio, text_cfg=text)


@contextmanager
def _package() -> Iterator[ModuleType]:
    """Give the package's module of networks without running the package's `__init__`, for the reasons at the top.

    Its modules import each other as top-level `clap_module`, so that its folder is on the path while they are imported.
    """
    spec = util.find_spec("laion_clap")
    if spec is None or spec.origin is None:
        raise PluginError("laion-clap: the package is not installed: pip install laion-clap")
    folder = str(Path(spec.origin).parent)
    sys.path.append(folder)
    try:
        yield import_module("clap_module.model")
    except ImportError as error:
        needs = "it needs numpy<2 and torchvision"
        raise PluginError(f"laion-clap: the package cannot be imported here ({error}); {needs}") from error
    finally:
        sys.path.remove(folder)


@contextmanager
def _text_encoder_from_its_shape_alone(package: Any) -> Iterator[None]:
    """Keep CLAP's constructor from fetching the pretrained RoBERTa, all of whose weights the checkpoint replaces."""
    from transformers import RobertaConfig

    encoder = package.RobertaModel
    package.RobertaModel = SimpleNamespace(from_pretrained=lambda _: encoder(RobertaConfig(**ROBERTA_BASE)))
    try:
        yield
    finally:
        package.RobertaModel = encoder


def _load_tokenizer(folder: Path) -> Any:
    from transformers import RobertaTokenizer

    source = find_tokenizer("laion-clap", folder, TOKENIZER)
    try:
        return RobertaTokenizer.from_pretrained(str(source), local_files_only=True)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{source}: not the tokenizer {TOKENIZER} ({error})") from error
