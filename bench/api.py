"""What the command line does, as functions: load, quantize, save, load again, generate, score, read records."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from admbench.bench.measurement.latency_section import measure_latency
from admbench.bench.models import load_model, random_fingerprint
from admbench.bench.models.components import Component
from admbench.bench.models.quantization import (
    load_components,
    quantize_components,
    read_headers,
    save_components,
)
from admbench.bench.scoring.features import cached_features
from admbench.bench.scoring.folders import prepare_folders
from admbench.bench.scoring.judges import Timed, reading
from admbench.bench.scoring.spec import JudgeSpec
from admbench.errors import CheckpointError, UsageError

if TYPE_CHECKING:
    import pandas as pd

    from admbench.bench.models.base import AudioDiffusionModel
    from admbench.leaderboard.choice import By, Choice
    from admbench.leaderboard.gate import Gate
    from admbench.leaderboard.reading import LoadedRecord
    from admbench.methods.core.backbone import QuantizedBackbone
    from admbench.methods.core.calibration.calibration_set import CalibrationSet
    from admbench.metrics.embedders.base import AudioEmbedder
    from admbench.metrics.needs import Whose


@dataclass(frozen=True)
class QuantizedModel:
    """What `quantize` returns."""

    model: AudioDiffusionModel
    """The model that was quantized, with the quantized components in place: it generates quantized audio."""
    components: Mapping[Component, QuantizedBackbone]
    """Each quantized component, by name, with its report per layer."""
    calibrations: Mapping[Component, CalibrationSet | None]
    """The calibration set of each; None if the method needs none."""

    @property
    def backbone(self) -> QuantizedBackbone:
        """The quantized backbone; KeyError if it was not among the components."""
        return self.components["backbone"]


def quantize(
    model: AudioDiffusionModel,
    method: str,
    *,
    components: Iterable[str] = ("backbone",),
    prompts: Sequence[str] | None = None,
    seed: int = 0,
) -> QuantizedModel:
    """Quantize components of a model and put the results in their place.

    Args:
        model: in full precision, from `load_model`. Its components are replaced.
        method: spec, such as `naive@w4a8[weights=tensor]`.
        components: of `backbone`, `text_encoder`, `vae`, `vocoder`; or `all`. Those beside the backbone keep 8 bits;
            without the backbone among them they get the bits of the spec.
        prompts: calibration prompts; None takes those of the embedded corpus.
        seed: of the calibration trajectories.

    Raises:
        BenchError: the spec is not valid, or the model cannot be quantized by the method.
    """
    quantized = quantize_components(model, method, components, prompts=prompts, seed=seed)
    for name, one in quantized.items():
        model.set_component(name, one.network.module)
    return QuantizedModel(
        model,
        {name: one.network for name, one in quantized.items()},
        {name: one.calibration for name, one in quantized.items()},
    )


def save_checkpoint(quantized: QuantizedModel, folder: str | Path) -> None:
    """Write the packed checkpoint of a quantized model, in place of any older one in that folder.

    Raises:
        CheckpointError: the folder cannot be written.
    """
    save_components(quantized.components, Path(folder))


def load_checkpoint(folder: str | Path, *, device: str = "cpu") -> AudioDiffusionModel:
    """Load a packed checkpoint into the model that it was made from: ready to generate, the same audio bit for bit.

    A model with random weights is drawn again.

    Args:
        folder: what `save_checkpoint` or `bench quantize` wrote.
        device: of the model.

    Raises:
        CheckpointError: the folder holds no checkpoint or a damaged one, or it was made from other weights.
        UsageError: the model that it was made from is not known here.
    """
    sources = [header.source for header in read_headers(folder).values()]
    drawn = sources[0].weights_sha256 == random_fingerprint(sources[0].model)
    model = load_model(sources[0].model, random_weights=drawn, device=device)
    for source in sources:
        if model.weights_sha256 != source.weights_sha256:
            raise CheckpointError(
                f"{folder}: made from other weights of {source.model} ({source.weights_sha256[:12]}) than those here"
                f" ({model.weights_sha256[:12]}), or from random ones that other versions of torch, diffusers or"
                " transformers drew"
            )
    load_components(model, folder)
    return model


def generate(
    model: AudioDiffusionModel,
    prompts: Sequence[str],
    seeds: Sequence[int] | None = None,
    *,
    steps: int | None = None,
    guidance: float | None = None,
    batch_size: int = 8,
) -> NDArray[np.float32]:
    """Generate one clip per prompt.

    Args:
        model: in full precision or quantized.
        prompts: n captions.
        seeds: a noise seed per prompt; None is 0 for each. A clip depends on its own seed alone, not on its batch.
        steps: denoising steps; None is the model's default.
        guidance: classifier-free guidance scale; None is the model's default.
        batch_size: prompts at a time.

    Returns:
        (n, samples) float32 at `model.sample_rate`, full scale 1.

    Raises:
        UsageError: prompts and seeds differ in number, or there are none.
    """
    seeds = [0] * len(prompts) if seeds is None else list(seeds)
    if not prompts or len(seeds) != len(prompts):
        raise UsageError(f"{len(prompts)} prompts and {len(seeds)} seeds: expected as many of one as of the other")
    waveforms: NDArray[np.float32] = model.generate(
        list(prompts),
        seeds,
        steps=model.default_steps if steps is None else steps,
        guidance=model.default_guidance if guidance is None else guidance,
        batch_size=batch_size,
    )
    return waveforms


def score_folders(
    generated: str | Path,
    reference: str | Path | None = None,
    *,
    baseline: str | Path | None = None,
    prompts: str | None = None,
    metrics: Sequence[str] | None = None,
    judges: JudgeSpec | None = None,
) -> dict[str, dict[str, Any]]:
    """Score a folder of audio, against a folder of real audio if there is one.

    Args:
        generated: folder with audio files, or with audio/ and captions.json as a run writes them.
        reference: the same for real audio. Clips of the same name belong to one caption.
        baseline: the same for the full-precision model's own audio; with it there are scores against it, and paired
            differences to its scores.
        prompts: suite, or caption file, whose ids are the names of the clips.
        metrics: registry names; None is those of a run, of which `zimtohrli` needs a baseline.
        judges: judge of each role; None is the embedded ones. One that no score reads is not loaded.

    Returns:
        Score by key, in the form of the record: value, 95 % interval, n, network and its hash. One that cannot be
        computed has the value None and a reason.

    Raises:
        BenchError: a folder without audio, an unreadable file, captions that do not match, an unknown metric.
    """
    report = score_report(generated, reference, baseline=baseline, prompts=prompts, metrics=metrics, judges=judges)
    scores: dict[str, dict[str, Any]] = report["scores"]
    return scores


def score_report(
    generated: str | Path,
    reference: str | Path | None = None,
    *,
    baseline: str | Path | None = None,
    prompts: str | None = None,
    metrics: Sequence[str] | None = None,
    judges: JudgeSpec | None = None,
) -> dict[str, Any]:
    """Score a folder of audio and say what audio it was; arguments and errors are those of `score_folders`.

    Returns:
        `scores` as `score_folders` returns them; `audio`: by folder (generated, reference, baseline) the numbers of
        clips and of silent, clipped, short and non-finite ones; `reading`: how files became the networks' inputs;
        `cost`: seconds from the first file to the last score, and of these the seconds in which networks computed,
        none for clips whose features are in the cache.
    """
    from admbench.metrics.audio import Health, faults_of
    from admbench.metrics.keys import default_metrics
    from admbench.metrics.scoring import score

    folders: dict[Whose, str | Path | None] = {"generated": generated, "reference": reference, "baseline": baseline}
    if metrics is None:
        metrics = default_metrics(baseline=baseline is not None)
    clips, needed, loaded = prepare_folders(folders, prompts, metrics, judges)
    timers = {id(judge): Timed(judge) for judge in loaded.values()}
    networks = {role: cast("AudioEmbedder", timers[id(judge)]) for role, judge in loaded.items()}
    started = time.perf_counter()
    features = {whose: cached_features(own, needed[whose], networks) for whose, own in clips.items()}
    scores = score(features["generated"], features.get("reference"), features.get("baseline"), metrics, networks)
    seconds = time.perf_counter() - started
    return {
        "scores": scores,
        "audio": {whose: Health.of(faults_of(own["levels"])).to_json() for whose, own in features.items()},
        "reading": reading(networks),
        "cost": {"seconds": seconds, "network_seconds": sum(timer.seconds for timer in timers.values())},
    }


def gate(
    runs: str | Path | Iterable[str | Path],
    margins: Sequence[str] = ("fd=+5%",),
    *,
    baseline: str = "fp32",
    allow_undecided: bool = False,
) -> Gate:
    """Say which cells of some runs are shown to be no worse than full precision; see `admbench.leaderboard.gate.gate`.

    Args:
        runs: run folders, or single `result.json` files, with the per-caption results beside them.
        margins: largest losses that count as none, such as `fd=+5%` and `clap=-0.01`.
        baseline: method that cells are held against.
        allow_undecided: whether a cell passes of which it cannot be told.

    Raises:
        BenchError: no records or no per-caption results, a margin that is none, or no cell of the baseline.
    """
    from admbench.leaderboard.gate import gate as gate_records

    records = _gathered(runs)
    return gate_records(records, margins, baseline=baseline, allow_undecided=allow_undecided)


def gate_folders(
    generated: str | Path,
    baseline: str | Path,
    reference: str | Path | None = None,
    *,
    prompts: str | None = None,
    margins: Sequence[str] | None = None,
    judges: JudgeSpec | None = None,
    allow_undecided: bool = False,
) -> Gate:
    """Say whether the clips of a folder are no worse than those of another.

    Args:
        generated: folder of the clips in question.
        baseline: of the clips that they are held against, of the same names.
        reference: of real audio for the same captions, of the same names; None if there is none.
        prompts: suite, or caption file, whose ids are the names of the clips: for `clap`.
        margins: as typed; None is `fd=+5%` with real audio, and `lmd_vs_baseline=1` without.
        judges: judge of each role; None is the embedded ones.
        allow_undecided: whether it passes if it cannot be told.

    Raises:
        BenchError: a margin that needs what is not given, or clips without a partner of the same name.
    """
    from admbench.bench.scoring import folder_gate

    return folder_gate.gate_folders(
        generated,
        baseline,
        reference,
        prompts=prompts,
        margins=margins,
        judges=judges,
        allow_undecided=allow_undecided,
    )


def choose(
    runs: str | Path | Iterable[str | Path], within: Sequence[str] = ("fd=+5%",), by: By = "bytes"
) -> list[Choice]:
    """Choose of each model the cheapest cell that is no worse; see `admbench.leaderboard.choice.choose`.

    Args:
        runs: run folders, or single `result.json` files, with the per-caption results beside them.
        within: largest losses that count as none; a cell has to keep all of them.
        by: `bytes`, `latency` (of a denoising step) or `memory`.

    Raises:
        BenchError: as of `gate`; or costs that were measured on several machines.
    """
    from admbench.leaderboard import choice

    return choice.choose(_gathered(runs), within, by)


def read_records(runs: str | Path | Iterable[str | Path]) -> pd.DataFrame:
    """Read every record of some run folders into a frame, a row a cell; see `admbench.leaderboard.frame.to_frame`.

    Raises:
        DataError: a folder without records, or none that is valid; one among others is left out with a warning.
    """
    from admbench.leaderboard.frame import to_frame

    return to_frame(_gathered(runs))


def _gathered(runs: str | Path | Iterable[str | Path]) -> list[LoadedRecord]:
    """Read the records of some runs, with a warning for each that is left out."""
    from admbench.leaderboard.reading import gather

    gathered = gather([runs] if isinstance(runs, (str, Path)) else runs)
    for one in gathered.quarantined:
        warnings.warn(f"left out: {one}", stacklevel=3)
    return gathered.records


__all__ = [
    "JudgeSpec",
    "QuantizedModel",
    "choose",
    "gate",
    "gate_folders",
    "generate",
    "load_checkpoint",
    "load_model",
    "measure_latency",
    "quantize",
    "read_records",
    "save_checkpoint",
    "score_folders",
    "score_report",
]
