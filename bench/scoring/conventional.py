"""`bench score --convention NAME`: two folders scored as another tool does, with its networks and under its names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from admbench.bench.scoring.clips import Clip
from admbench.bench.scoring.folders import Prompts, read_folders
from admbench.bench.scoring.spec import JudgeChoice
from admbench.errors import BenchError, CheckpointError, DataError, UsageError, nearest
from admbench.metrics.audio import read_audio
from admbench.metrics.conventions import (
    AUDIOLDM_EVAL,
    CONVENTIONS,
    Convention,
    Slot,
    cosine_score,
    inception_score_of_ten,
    kl_of_sigmoids,
    kl_with_epsilon,
    shared_names,
)
from admbench.metrics.embedders.base import AudioFeatures
from admbench.metrics.frechet import frechet_distance
from admbench.progress import track
from admbench.weights import WEIGHTS_VARIABLE, weights_folder

NO_INTERVAL = "the tool has none"
Compute = Callable[[], float]


def convention_called(name: str) -> Convention:
    """Return a convention; UsageError with the nearest name for one that is not known."""
    if name not in CONVENTIONS:
        known = ", ".join(CONVENTIONS)
        raise UsageError(f'--convention "{name}": there is none.{nearest(name, CONVENTIONS)} There are: {known}')
    return CONVENTIONS[name]


def score_by_convention(
    name: str,
    generated: str | Path,
    reference: str | Path,
    judge: JudgeChoice | None = None,
    prompts: Prompts | None = None,
) -> dict[str, Any]:
    """Score two folders as another tool does.

    Args:
        name: of the convention: `audioldm_eval` or `av-benchmark`.
        generated: folder of generated clips.
        reference: folder of real clips.
        judge: in the place of the first network of the convention, CNN14 at 16 kHz; None is that one.
        prompts: captions of the generated clips, for the convention's scores of captions; None leaves these null.

    Returns:
        `scores`: by the tool's own names, in the form of the record, without intervals; those of a network whose
        weights are not here are null with that reason. `sets`: the numbers of clips of both folders.
        `files_left_out`: by folder its entries that are no clips, with why. `cannot`: what else the tool gives, and
        why it is not here.

    Raises:
        BenchError: an unknown convention, or one without scores of captions where these are named; a folder without
            audio, captions that do not match, or unreadable files.
    """
    from admbench.metrics.embedders import registry

    convention = convention_called(name)
    if judge is not None:
        registry.check(judge.name)
    if prompts is not None and not any(slot.captions for slot in convention.slots):
        raise UsageError(f"--prompts: {name} has no score of captions")
    folders = read_folders({"generated": generated, "reference": reference}, prompts)
    clips = folders.clips
    # in the order of their files' names, as the tools read them
    sets: dict[str, list[Clip]] = {whose: sorted(own, key=lambda clip: clip.path.name) for whose, own in clips.items()}
    scores: dict[str, dict[str, Any]] = {}
    for number, slot in enumerate(convention.slots):
        choice = judge if judge is not None and number == 0 else JudgeChoice(name=slot.judge)
        outputs = _Outputs(convention, slot, choice, sets)
        for key, (compute, about) in _numbers(outputs).items():
            scores[key] = _score(outputs, compute, about)
    return {
        "convention": name,
        "scores": scores,
        "sets": {whose: len(clips) for whose, clips in sets.items()},
        "files_left_out": folders.left_out,
        "cannot": dict(convention.cannot),
    }


@dataclass(frozen=True)
class _Outputs:
    """What the judge of a slot says of both folders; computed once it is asked."""

    convention: Convention
    slot: Slot
    choice: JudgeChoice
    sets: Mapping[str, Sequence[Clip]]

    @cached_property
    def judge(self) -> Any:
        from admbench.metrics.embedders import registry

        weights, own = self.choice.weights, self.slot.weights
        if weights is None and own is not None:
            folder = weights_folder()
            if folder is None or not (folder / own).is_file():
                where = f"{own}, the tool's own, is not in ${WEIGHTS_VARIABLE}"
                raise CheckpointError(f"{self.choice.name}: no weights: {where}")
            weights = str(folder / own)
        return registry.get(self.choice.name).load(weights)

    @cached_property
    def _embedded(self) -> dict[str, list[AudioFeatures]]:
        heard = ["generated"] if self.slot.captions else list(self.sets)
        return {whose: [self._embed(clip) for clip in self._tracked(whose)] for whose in heard}

    def _tracked(self, whose: str) -> Any:
        return track(self.sets[whose], f"{self.convention.name}: {self.slot.name}, {whose}")

    def _embed(self, clip: Clip) -> AudioFeatures:
        heard = self.convention.waveform(read_audio(clip.path), self.judge.sample_rate, self.slot)
        embed = getattr(self.judge, "embed_unrounded", self.judge.embed_audio) if self.slot.captions else None
        # one by one: clips have lengths of their own
        outputs: AudioFeatures = (embed or self.judge.embed_audio)(heard[None])
        return outputs

    def embeddings(self, whose: str) -> NDArray[np.float32]:
        """(n, d), a vector a clip."""
        return np.concatenate([one.embedding for one in self._embedded[whose]])

    def texts(self) -> NDArray[np.float32]:
        """(n, d), of the generated clips' captions; ValueError where there are none."""
        captions = [clip.caption for clip in self.sets["generated"]]
        if not all(captions):
            raise ValueError("no captions: name them by --prompts")
        return np.concatenate([self.judge.embed_text([caption]) for caption in captions])

    def windows(self, whose: str) -> NDArray[np.float32]:
        """(all windows of all clips, d)."""
        parts = [one.windows[0] for one in self._embedded[whose] if one.windows is not None]
        if not parts:
            raise ValueError(f"{self.judge.name} does not embed windows")
        return np.concatenate(parts)

    def logits(self, whose: str) -> NDArray[np.float32]:
        """(n, classes)."""
        rows = [one.logits for one in self._embedded[whose] if one.logits is not None]
        if not rows:
            raise ValueError(f"{self.judge.name} has no classes")
        return np.concatenate(rows)

    def paired(self, rows: Callable[[str], NDArray[np.float32]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Rows of the clips whose name is in both folders: of the reference, and of the generated clips.

        Raises:
            ValueError: the convention takes the folders for unpaired.
        """
        names = {whose: [clip.id for clip in clips] for whose, clips in self.sets.items()}
        shared = shared_names(names["generated"], names["reference"], self.convention)
        of = {whose: [own.index(name) for name in shared] for whose, own in names.items()}
        return rows("reference")[of["reference"]], rows("generated")[of["generated"]]


_LOWER = {"against": "reference", "higher_is_better": False}
_KL = {**_LOWER, "direction": "reference || generated"}
_HIGHER = {"against": None, "higher_is_better": True}
_SPREAD = {"against": None, "higher_is_better": None}


def _numbers(outputs: _Outputs) -> dict[str, tuple[Compute, dict[str, Any]]]:
    """Return how the numbers of a slot are computed, and what is to be said of them, by the tool's names."""
    name, epsilon = outputs.slot.name, outputs.convention.epsilon

    def distance(rows: Callable[[str], NDArray[np.float32]]) -> Compute:
        return lambda: frechet_distance(rows("generated"), rows("reference"))

    def inception(place: int) -> Compute:
        return lambda: inception_score_of_ten(outputs.logits("generated"))[place]

    def divergence(of: Callable[..., float]) -> Compute:
        return lambda: of(*outputs.paired(outputs.logits), epsilon)

    if outputs.convention is AUDIOLDM_EVAL:
        if name == "windows":
            return {"frechet_audio_distance": (distance(outputs.windows), _LOWER)}
        return {
            "frechet_distance": (distance(outputs.embeddings), _LOWER),
            "kullback_leibler_divergence_softmax": (divergence(kl_with_epsilon), _KL),
            "kullback_leibler_divergence_sigmoid": (divergence(kl_of_sigmoids), _KL),
            "inception_score_mean": (inception(0), _HIGHER),
            "inception_score_std": (inception(1), _SPREAD),
        }
    if outputs.slot.captions:  # the captions first: without them no network has to be there
        return {f"{name}-Score": (lambda: cosine_score(outputs.texts(), outputs.embeddings("generated")), _HIGHER)}
    if name == "VGG":
        return {"FD-VGG": (distance(outputs.windows), _LOWER)}
    if name == "PANN":
        return {
            "FD-PANN": (distance(outputs.embeddings), _LOWER),
            "KL-PANNS-softmax": (divergence(kl_with_epsilon), _KL),
            "ISC-PANNS-mean": (inception(0), _HIGHER),
            "ISC-PANNS-std": (inception(1), _SPREAD),
        }
    # of PaSST, and of no other network, the tool takes the clips with a partner alone
    return {
        "FD-PASST": (lambda: frechet_distance(*reversed(outputs.paired(outputs.embeddings))), _LOWER),
        "KL-PASST-softmax": (divergence(kl_with_epsilon), _KL),
        "ISC-PASST-mean": (lambda: inception_score_of_ten(outputs.paired(outputs.logits)[1])[0], _HIGHER),
        "ISC-PASST-std": (lambda: inception_score_of_ten(outputs.paired(outputs.logits)[1])[1], _SPREAD),
    }


def _score(outputs: _Outputs, compute: Compute, about: Mapping[str, Any]) -> dict[str, Any]:
    try:
        value = compute()
    except DataError:
        raise  # a file that cannot be read is no matter of one network
    except (ValueError, BenchError) as error:  # as are weights that are not here: the others' numbers are computed
        return {"value": None, "reason": str(error)}
    sizes = {whose: len(clips) for whose, clips in outputs.sets.items()}
    return {
        "value": value,
        "ci95": None,
        "reason": f"no interval: {NO_INTERVAL}",
        "n": sizes["generated"],
        **({"against_n": sizes["reference"]} if about["against"] else {}),
        "backbone": outputs.judge.name,
        "backbone_sha256": outputs.judge.sha256,
        "direction": None,
        **about,
    }
