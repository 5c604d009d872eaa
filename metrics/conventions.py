"""Why do two tools' numbers differ? What other evaluation code does, reproduced with the judges that are here.

A convention says how a file becomes what a network hears, and how the networks' outputs become numbers, under the names
that the tool prints. docs/metrics.md has the differences to this package and their size. The facts were read in

    audioldm_eval  https://github.com/haoheliu/audioldm_eval, commit 8dc07ee, version 0.0.5
    av-benchmark   https://github.com/hkchengrex/av-benchmark, commit 050a5cd

Both compare whole folders, sorted by name, by Frechet distances; KL is over clips of one name; both always deal the
clips to ten splits for an Inception score. What is a fault of theirs is not reproduced: the next file in place of one
that cannot be read, -1 for what could not be computed, features cached by path.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, log_softmax, softmax, xlogy

from admbench.metrics.arrays import as_matrix, as_pair
from admbench.metrics.audio import Sound

SPLITS = 10
SEED = 2020
"""Of numpy's `RandomState`, which shuffles the clips before they are split."""


@dataclass(frozen=True)
class Slot:
    """A place for a judge: what its outputs are called, and how long a clip it gets."""

    name: str
    """Such as `PASST`."""
    judge: str
    """Registry name of the judge that the tool has there."""
    exactly_samples: int | None = None
    """Samples to which a clip is cut or followed by silence; None is its own length."""
    weights: str | None = None
    """File of the judge's weights that the tool has, of a judge with several; None is the one that it looks for."""
    captions: bool = False
    """Whether its number is the cosine of generated clips and their captions."""
    at_random_beyond: float | None = None
    """Seconds of the file that the tool's package takes, at random of a longer one: its own reader, which flattens
    channels one behind the other and knows nothing of what the convention does to files. None is the convention's."""


@dataclass(frozen=True)
class Convention:
    """What a tool does on the way from files to numbers."""

    name: str
    slots: tuple[Slot, ...]
    channel: Literal["first", "mean"]
    resampler: Literal["functional", "transform"]
    """Which of torchaudio's two: one filter, computed in float32 or in float64; they are 1e-6 apart."""
    at_least_samples: int
    """Samples, at whatever rate, up to which a clip is followed by silence."""
    at_most_seconds: float | None
    """Seconds to which a clip is cut; None is never."""
    epsilon: float
    """Added to the generated clips' probabilities within KL's logarithm."""
    unpaired_below: float
    """Share of either folder's names that must be in both, above which there is a KL."""
    cannot: Mapping[str, str] = field(default_factory=dict)
    """Numbers of the tool that are not reproduced here, with why."""

    def waveform(self, sound: Sound, sample_rate: int, slot: Slot) -> NDArray[np.float32]:
        """Return what the judge of a slot hears of a clip, (samples,) at its rate.

        One channel, its mean taken off before it is resampled by torchaudio's windowed sinc with its defaults, then cut
        and followed by silence.

        Raises:
            ValueError: the tool takes a part of the clip at random.
        """
        import torch
        from torchaudio.functional import resample
        from torchaudio.transforms import Resample

        channels = torch.from_numpy(np.atleast_2d(sound.waveform))
        if slot.at_random_beyond is not None:
            whole: NDArray[np.float32] = Resample(sound.sample_rate, sample_rate)(channels).reshape(-1).numpy()
            if len(whole) > slot.at_random_beyond * sample_rate:
                seconds = len(whole) / sample_rate
                raise ValueError(
                    f"a clip of {seconds:.2f} s, all channels one behind the other, of which the tool takes"
                    f" {slot.at_random_beyond:g} s at random; see --metrics clap --clap {slot.judge}, which hears all"
                )
            return whole
        mono = channels[0] if self.channel == "first" else channels.mean(dim=0)
        centred = mono - mono.mean()
        rates = sound.sample_rate, sample_rate
        audio = resample(centred, *rates) if self.resampler == "functional" else Resample(*rates)(centred)
        if self.at_most_seconds is not None:
            audio = audio[: int(sample_rate * self.at_most_seconds)]
        least = max(self.at_least_samples, slot.exactly_samples or 0)
        padded = torch.nn.functional.pad(audio, (0, max(0, least - len(audio))))
        heard: NDArray[np.float32] = padded[: slot.exactly_samples].numpy()
        return heard


AUDIOLDM_EVAL = Convention(
    name="audioldm_eval",
    slots=(Slot("classifier", "panns-cnn14-16k"), Slot("windows", "vggish")),
    channel="first",
    resampler="functional",
    at_least_samples=32_000,
    at_most_seconds=None,
    epsilon=1e-6,
    unpaired_below=0.99,
    cannot={
        "lsd, psnr, ssim": "of the autoencoder's mel spectrograms; off in the tool unless asked for",
        "kernel_inception_distance": "commented out in the tool",
    },
)
AV_BENCHMARK = Convention(
    name="av-benchmark",
    slots=(
        Slot("PANN", "panns-cnn14-16k"),
        Slot("PASST", "passt", exactly_samples=320_000),
        Slot("VGG", "vggish"),
        Slot("LAION-CLAP", "laion-clap", weights="music_speech_audioset_epoch_15_esc_89.98.pt", captions=True),
        Slot("MS-CLAP", "msclap", captions=True, at_random_beyond=7.0),
    ),
    channel="mean",
    resampler="transform",
    at_least_samples=0,
    at_most_seconds=8.0,
    epsilon=0.0,
    unpaired_below=0.0,
    cannot={
        "IB-Score, DeSync": "they compare with video",
    },
)
CONVENTIONS: dict[str, Convention] = {one.name: one for one in (AUDIOLDM_EVAL, AV_BENCHMARK)}


def cosine_score(texts: ArrayLike, audio: ArrayLike) -> float:
    """Return the mean cosine of captions and their clips, both (n, d) of any length."""
    first, second = as_pair(texts, "captions", audio, "clips")
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return float(((first * second).sum(axis=1) / lengths).mean())


def kl_with_epsilon(reference: ArrayLike, generated: ArrayLike, epsilon: float) -> float:
    """Return KL(softmax(reference) || softmax(generated) + epsilon), mean over pairs, in nats.

    Args:
        reference: (n, classes) logits.
        generated: (n, classes) logits of the clips of the same names.
        epsilon: added to the generated clips' probabilities; their sum is then above 1, so that the value is lower,
            and can be negative.
    """
    expected, actual = as_pair(reference, "reference logits", generated, "generated logits")
    p = softmax(expected, axis=1)
    log_q = np.log(softmax(actual, axis=1) + epsilon) if epsilon else log_softmax(actual, axis=1)
    return float((p * (log_softmax(expected, axis=1) - log_q)).sum(axis=1).mean())


def kl_of_sigmoids(reference: ArrayLike, generated: ArrayLike, epsilon: float) -> float:
    """Return the sum over classes of p log(p / (q + epsilon)), p and q sigmoids, mean over pairs; arguments as above.

    It is no divergence: the terms of 1 - p are left out, so that it can be negative.
    """
    expected, actual = as_pair(reference, "reference logits", generated, "generated logits")
    p, q = expit(expected), expit(actual)
    return float((xlogy(p, p) - p * np.log(q + epsilon)).sum(axis=1).mean())


def inception_score_of_ten(logits: ArrayLike) -> tuple[float, float]:
    """Return mean and standard deviation over ten splits of clips in the order of their names, shuffled by the seed.

    Args:
        logits: (n, classes), n at least 10.

    Raises:
        ValueError: fewer clips than splits: the tools give NaN.
    """
    matrix = as_matrix(logits, "logits")
    n = len(matrix)
    if n < SPLITS:
        raise ValueError(f"{SPLITS} splits of {n} clips")
    shuffled = matrix[np.random.RandomState(SEED).permutation(n)]
    p, log_p = softmax(shuffled, axis=1), log_softmax(shuffled, axis=1)
    scores = []
    for split in range(SPLITS):
        rows = slice(split * n // SPLITS, (split + 1) * n // SPLITS)
        marginal = p[rows].mean(axis=0)
        scores.append(math.exp((p[rows] * (log_p[rows] - np.log(marginal))).sum(axis=1).mean()))
    return float(np.mean(scores)), float(np.std(scores))


def shared_names(generated: Sequence[str], reference: Sequence[str], convention: Convention) -> list[str]:
    """Return the names that both folders have, in the generated clips' order.

    Raises:
        ValueError: so few of either folder's that the tool takes the folders for unpaired.
    """
    known = set(reference)
    shared = [name for name in generated if name in known]
    share = min(len(shared) / len(generated), len(shared) / len(reference))
    if not shared or share <= convention.unpaired_below:
        raise ValueError(
            f"{len(shared)} names in common of {len(generated)} generated and {len(reference)} reference clips:"
            f" {convention.name} has no KL of these"
        )
    return shared
