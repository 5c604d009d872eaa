"""Plug-ins for the tests: a real but tiny diffusion model, metric networks, methods that misbehave."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from torch import Tensor, nn

from admbench.bench.models.base import AudioDiffusionModel, ModelCard
from admbench.hashing import sha256_tensors
from admbench.methods.full_precision import Float32
from admbench.metrics.embedders.base import AudioFeatures
from admbench.metrics.embedders.judges import Judge

LATENT = (4, 16, 8)
SAMPLES = 2048
RATE = 16_000
WIDTH = 8
WORDS = 12
"""Of a caption that are said to be read."""


def noise_of(text: str, *shape: int) -> Tensor:
    """Numbers that follow from a text."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(text.encode()) + 7 * len(text)))


class WordStates:
    """Captions to the states that the backbone attends to."""

    def __init__(self) -> None:
        self.encoder = nn.Linear(WIDTH, WIDTH)

    def __call__(self, captions: Sequence[str]) -> dict[str, Tensor]:
        return {"encoder_hidden_states": torch.stack([noise_of(caption, 4, WIDTH) for caption in captions])}

    def cut(self, captions: Sequence[str]) -> list[bool]:
        return [len(caption.split()) > WORDS for caption in captions]


def decode(latents: Tensor) -> Tensor:
    """Waveforms (n, 2048): the latent as a spectrum."""
    spectrum = torch.zeros(len(latents), SAMPLES // 2 + 1, dtype=torch.complex64)
    flat = latents.flatten(1)
    spectrum[:, 1 : 1 + flat.shape[1] // 2] = torch.complex(flat[:, ::2].contiguous(), flat[:, 1::2].contiguous())
    waveforms = torch.fft.irfft(spectrum, n=SAMPLES)
    return 0.3 * waveforms / waveforms.abs().amax(dim=1, keepdim=True).clamp(min=1e-6)


class FakeADM:
    """A U-Net of diffusers with a few channels."""

    summary = "a tiny model for the tests"
    requires = ()

    @classmethod
    def fingerprint(cls) -> str:
        return "f" * 64

    @classmethod
    def load(cls, *, random_weights: bool = False) -> AudioDiffusionModel:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            backbone = UNet2DConditionModel(
                sample_size=LATENT[1:],
                in_channels=LATENT[0],
                out_channels=LATENT[0],
                block_out_channels=(8, 16),
                down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
                up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
                layers_per_block=1,
                norm_num_groups=4,
                cross_attention_dim=WIDTH,
                attention_head_dim=4,
            )
            conditioner = WordStates()
        card = ModelCard(
            name="fake-adm",
            source="tests",
            revision=None,
            weights_sha256=sha256_tensors(backbone.state_dict()),
            license=None,
            sample_rate=RATE,
            seconds=SAMPLES / RATE,
            latent_shape=LATENT,
            random_weights=random_weights,
        )
        parts: dict[str, nn.Module] = {"backbone": backbone, "text_encoder": conditioner.encoder}
        return AudioDiffusionModel(card, parts, conditioner, DDIMScheduler(clip_sample=False), decode)


class BandTagger:
    """Mean levels of bands of the spectrum, and logits made of them."""

    name = "band-tagger"
    sample_rate = RATE
    embedding_dim = 4
    sha256 = "a" * 64

    def embed_audio(self, waveforms: np.ndarray[Any, Any]) -> AudioFeatures:
        power = np.abs(np.fft.rfft(waveforms, axis=1))[:, 1:1025].reshape(len(waveforms), 4, -1).mean(axis=2)
        embedding = np.log1p(power).astype(np.float32)
        return AudioFeatures(embedding=embedding, logits=(embedding[:, :3] - embedding[:, 1:]).astype(np.float32))


class BandClap(BandTagger):
    """The same bands as unit vectors, and unit vectors of captions."""

    name = "band-clap"
    sha256 = "b" * 64

    def embed_audio(self, waveforms: np.ndarray[Any, Any]) -> AudioFeatures:
        embedding = super().embed_audio(waveforms).embedding
        unit = embedding / np.maximum(np.linalg.norm(embedding, axis=1, keepdims=True), 1e-6)
        return AudioFeatures(embedding=unit, logits=None)

    def embed_text(self, captions: Sequence[str]) -> np.ndarray[Any, Any]:
        vectors = np.stack([noise_of(caption, 4).numpy() for caption in captions])
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


class BandTaggerJudge(Judge):
    summary = "bands"
    roles = ("tagger",)
    license = "none"
    network: type[BandTagger] = BandTagger

    @classmethod
    def find(cls, weights: str | None = None) -> Path:
        return Path(__file__)

    @classmethod
    def fingerprint(cls, weights: str | None = None) -> str:
        return cls.network.sha256

    @classmethod
    def load(cls, weights: str | None = None) -> BandTagger:
        return cls.network()


class BandClapJudge(BandTaggerJudge):
    roles = ("clap", "tagger")
    network = BandClap


class Raises(Float32):
    """Fails as a method with a mistake in it does."""

    name = "raises"
    summary = "raises"

    def quantize(self, model: Any, calibration: Any) -> Any:
        raise RuntimeError("the scale of layer 3 is not finite")


class Killed(Float32):
    """Ends as the kernel ends a process that takes too much memory."""

    name = "killed"
    summary = "is killed"

    def quantize(self, model: Any, calibration: Any) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)


class Hangs(Float32):
    """Never ends, unless a file tells it to."""

    name = "hangs"
    summary = "hangs"

    def quantize(self, model: Any, calibration: Any) -> Any:
        while not os.path.exists(os.environ.get("FAKE_ADM_GO_ON", "/nowhere/at/all")):
            time.sleep(0.02)
        return super().quantize(model, calibration)


class Chatters(Float32):
    """Prints five million letters, in one line that never ends."""

    name = "chatters"
    summary = "chatters"

    def quantize(self, model: Any, calibration: Any) -> Any:
        print("x" * 5_000_000, end="")
        return super().quantize(model, calibration)


class Allocates(Float32):
    """Wants 32 GiB at once."""

    name = "allocates"
    summary = "allocates"

    def quantize(self, model: Any, calibration: Any) -> Any:
        torch.empty(1 << 35, dtype=torch.uint8)
        return super().quantize(model, calibration)


class Absent(Float32):
    """Needs a package that nobody has."""

    name = "absent"
    summary = "needs more than there is"
    requires = ("no-such-distribution",)


class Exits(Float32):
    """Prints what looks like an answer, and ends its process."""

    name = "exits"
    summary = "exits"

    def __init__(self, spec: Any) -> None:
        print('{"mistake": "all is lost"}', flush=True)
        os._exit(2)


class Meddles(Float32):
    """Full precision that changes what is global in its process."""

    name = "meddles"
    summary = "meddles"

    def quantize(self, model: Any, calibration: Any) -> Any:
        quantized = super().quantize(model, calibration)
        torch.set_default_dtype(torch.float64)
        torch.manual_seed(99)
        np.random.seed(99)  # noqa: NPY002 (the global state is what it changes)
        return quantized


class Overflows(Float32):
    """Leaves weights that are finite, and so large that what is computed with them is not."""

    name = "overflows"
    summary = "overflows"

    def quantize(self, model: Any, calibration: Any) -> Any:
        quantized = super().quantize(model, calibration)
        quantized.module.conv_in.weight.data[:] = 1e38
        return quantized
