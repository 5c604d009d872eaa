"""Trains the two embedded judges, tiny-tagger and tiny-clap, on the "metrics" split that no ADM ever sees."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from admbench.bench.suites.corpus.captions import vocabulary
from admbench.bench.suites.corpus.corpus import EVENTS
from admbench.bench.zoo.data import Split
from admbench.bench.zoo.loop import Losses, Recipe, train
from admbench.metrics.embedders.audio_cnn import AudioCNN
from admbench.metrics.embedders.shipped import save_shipped
from admbench.metrics.embedders.tiny_clap import ClapNetwork, WordTokenizer
from admbench.metrics.embedders.tiny_tagger import TaggerNetwork

TAGGER = Recipe("tiny-tagger", steps=1000, batch_size=32, learning_rate=2e-3, seed=101, ema=0.99)
CLAP = Recipe("tiny-clap", steps=400, batch_size=48, learning_rate=1e-3, seed=102, ema=0.99)


def augment(waveforms: Tensor, rng: np.random.Generator) -> Tensor:
    """Random level of -12 to +3 dB: loudness must not decide what an event is."""
    decibels = torch.from_numpy(rng.uniform(-12, 3, (len(waveforms), 1)).astype(np.float32))
    return waveforms * 10 ** (decibels / 20)


def distort(picture: Tensor, rng: np.random.Generator) -> Tensor:
    """What a judge must hear through: masks, blur, a raised floor and noise, on pictures in dB (n, 1, frames, bands).

    Masks are SpecAugment's (Park et al. 2019), which PANNs trains with too. The rest imitates what autoencoders and
    vocoders do to a spectrogram: a judge that knows only clean sound takes the blur itself for rain or applause.
    """
    out = picture.clone()
    count, _, frames, bands = out.shape
    for row in range(count):
        clip = out[row : row + 1]
        if rng.uniform() < 0.6:
            time, band = (int(size) for size in rng.choice([1, 3, 5, 7], 2))
            clip = F.avg_pool2d(clip, (time, band), 1, (time // 2, band // 2), count_include_pad=False)
        clip = clip.clamp(min=float(clip.max()) - rng.uniform(30, 90))
        clip = clip + rng.uniform(0, 4) * torch.from_numpy(rng.standard_normal(clip.shape).astype(np.float32))
        start, width = int(rng.integers(frames)), int(rng.integers(1, frames // 6))
        clip[..., start : start + width, :] = clip.mean()
        start, width = int(rng.integers(bands)), int(rng.integers(1, bands // 8))
        clip[..., start : start + width] = clip.mean()
        out[row : row + 1] = clip
    return out


def embed_distorted(network: AudioCNN, waveforms: Tensor, rng: np.random.Generator) -> Tensor:
    """Training's view of clips: (n, samples) -> embeddings (n, dim) of their pictures at a random level, distorted."""
    return network.embed_picture(distort(network.front_end(augment(waveforms, rng)), rng))


def average_precision(scores: NDArray[np.float32], truth: NDArray[np.float32]) -> NDArray[np.float64]:
    """Average precision of each class: mean precision at the rank of every positive; (n, K) -> (K,)."""
    order = np.argsort(-scores, axis=0, kind="stable")
    hits = np.take_along_axis(truth, order, axis=0)
    precision = np.cumsum(hits, axis=0) / np.arange(1, len(hits) + 1)[:, None]
    found: NDArray[np.float64] = (precision * hits).sum(axis=0) / np.maximum(hits.sum(axis=0), 1)
    return found


@torch.inference_mode()
def tagger_figures(network: torch.nn.Module, split: Split) -> dict[str, float]:
    """Macro-mAP over all clips of a split and top-1 accuracy over its single-event clips."""
    network.eval()
    logits = torch.cat([network(split.waveforms(slice(i, i + 64)))[1] for i in range(0, len(split), 64)]).numpy()
    single = np.array([spec.structure == "single" for spec in split.specs])
    right = logits[single].argmax(axis=1) == split.labels[single].argmax(axis=1)
    return {"macro_map": float(average_precision(logits, split.labels).mean()), "top1_single": float(right.mean())}


def train_tagger(training: Split, validation: Split, folder: Path) -> None:
    """Multi-label binary cross-entropy; writes the shippable files to folder/shipped."""
    torch.manual_seed(TAGGER.seed)
    network = TaggerNetwork(len(EVENTS))

    def losses(step: int, rng: np.random.Generator) -> Losses:
        rows = TAGGER.rows(step, len(training))
        logits = network.head(embed_distorted(network.audio, training.waveforms(rows), rng))
        return {"loss": F.binary_cross_entropy_with_logits(logits, torch.from_numpy(training.labels[rows]))}

    train(network, TAGGER, losses, folder, lambda module, step: tagger_figures(module, validation), 500)
    save_shipped(folder / "shipped", network.state_dict(), {"classes": list(EVENTS)})


def contrastive(audio: Tensor, text: Tensor, log_scale: Tensor) -> Tensor:
    """Symmetric cross-entropy of scaled cosines (CLIP's loss); both inputs are L2-normalised (n, e)."""
    cosines = log_scale.clamp(max=4.0).exp() * audio @ text.T
    target = torch.arange(len(audio))
    return 0.5 * (F.cross_entropy(cosines, target) + F.cross_entropy(cosines.T, target))


def train_clap(training: Split, validation: Split, tagger_folder: Path, folder: Path) -> None:
    """Contrastive training; the audio tower starts from the tagger's convolutions, so that minutes suffice."""
    torch.manual_seed(CLAP.seed)
    words = vocabulary()
    network, tokenizer = ClapNetwork(len(words)), WordTokenizer(words)
    trunk = torch.load(tagger_folder / "weights.pt", weights_only=True)
    start = {name.removeprefix("audio."): value for name, value in trunk.items() if name.startswith("audio.")}
    network.audio.load_state_dict(
        {name: value for name, value in start.items() if not name.startswith("embed.")}, strict=False
    )
    captions = [spec.caption for spec in training.specs]

    def losses(step: int, rng: np.random.Generator) -> Losses:
        rows = CLAP.rows(step, len(training))
        audio = network.audio_project(embed_distorted(network.audio, training.waveforms(rows), rng))
        text = network.text(tokenizer([captions[row] for row in rows]))
        return {"loss": contrastive(F.normalize(audio, dim=-1), text, network.log_scale)}

    @torch.inference_mode()
    def evaluate(module: torch.nn.Module, step: int) -> dict[str, float]:
        assert isinstance(module, ClapNetwork)
        module.eval()
        picked = slice(0, 256)
        audio = module.embed_audio(validation.waveforms(picked))
        text = module.text(tokenizer([spec.caption for spec in validation.specs[picked]]))
        cosines = audio @ text.T
        return {
            "matching": float(cosines.diag().mean()),
            "shuffled": float((cosines.sum() - cosines.diag().sum()) / (cosines.numel() - len(cosines))),
            "recall_at_10": float(
                (cosines.argsort(dim=1, descending=True)[:, :10] == torch.arange(len(cosines))[:, None])
                .any(dim=1)
                .float()
                .mean()
            ),
        }

    train(network, CLAP, losses, folder, evaluate, 250)
    save_shipped(folder / "shipped", network.state_dict(), {"vocabulary": words})
