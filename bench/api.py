"""What the command line does, as functions: load, quantize, save, load again, generate, score, read records."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from admbench.bench.measurement.latency_section import measure_latency
from admbench.bench.models import fingerprint, load_model, random_fingerprint
from admbench.bench.models.components import Component
from admbench.bench.models.directory import path_of
from admbench.bench.models.quantization import (
    load_components,
    quantize_components,
    read_headers,
    save_components,
)
from admbench.bench.scoring.candidates import candidate_seeds
from admbench.bench.scoring.candidates import choose as choose_candidates
from admbench.bench.scoring.conventional import score_by_convention
from admbench.bench.scoring.judges import load_judges
from admbench.bench.scoring.report import score_report
from admbench.bench.scoring.spec import JudgeSpec
from admbench.errors import BenchError, CheckpointError, UsageError
from admbench.metrics.extractors.builtin import ClapText

if TYPE_CHECKING:
    import pandas as pd

    from admbench.bench.models.base import AudioDiffusionModel
    from admbench.bench.suites.spec import CaptionFileSpec
    from admbench.leaderboard.choice import By, Choice
    from admbench.leaderboard.gate import Gate
    from admbench.leaderboard.reading import LoadedRecord
    from admbench.methods.core.backbone import QuantizedBackbone
    from admbench.methods.core.calibration.calibration_set import CalibrationSet
    from admbench.metrics.pairing import Pairing


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


def load_checkpoint(
    folder: str | Path, *, model: str | None = None, device: str = "cpu", sampler: str | None = None
) -> AudioDiffusionModel:
    """Load a packed checkpoint into the model that it was made from: ready to generate, the same audio bit for bit.

    A model with random weights is drawn again.

    Args:
        folder: what `save_checkpoint` or `bench quantize` wrote.
        model: where the model is that it was made from, by registry name or `dir:PATH`; None is what the checkpoint
            names. The hash of its weights shows whether it is the one.
        device: of the model.
        sampler: as of `load_model`.

    Raises:
        CheckpointError: the folder holds no checkpoint or a damaged one, or it was made from other weights.
        UsageError: the model that it was made from is not known here, or is none that the sampler solves.
    """
    sources = [header.source for header in read_headers(folder).values()]
    name = sources[0].model if model is None else model
    if model is None and path_of(name) is not None and not _is_there(name, sources[0].weights_sha256):
        raise CheckpointError(
            f"{folder}: made from {name}, which is not here; say where that model is: --model dir:PATH beside"
            " --checkpoint"
        )
    drawn = sources[0].weights_sha256 == random_fingerprint(name)
    loaded = load_model(name, random_weights=drawn, device=device, sampler=sampler)
    for source in sources:
        if loaded.weights_sha256 != source.weights_sha256:
            raise CheckpointError(
                f"{folder}: made from other weights of {source.model} ({source.weights_sha256[:12]}) than those of"
                f" {name} here ({loaded.weights_sha256[:12]}), or from random ones that other versions of torch,"
                " diffusers or transformers drew"
            )
    load_components(loaded, folder)
    return loaded


def _is_there(name: str, weights_sha256: str) -> bool:
    """Return whether a folder that a checkpoint names is the model that it was made from, by hashes alone.

    A checkpoint may come from anyone: what is in a folder that it names is not loaded, or told, unless it is that.
    """
    try:
        return fingerprint(name) == weights_sha256
    except (BenchError, OSError, ValueError):
        return False


def generate(
    model: AudioDiffusionModel,
    prompts: Sequence[str],
    seeds: Sequence[int] | None = None,
    *,
    steps: int | None = None,
    guidance: float | None = None,
    batch_size: int = 8,
    candidates: int = 1,
    judges: JudgeSpec | None = None,
) -> NDArray[np.float32]:
    """Generate one clip per prompt.

    Args:
        model: in full precision or quantized.
        prompts: n captions.
        seeds: a noise seed per prompt; None is 0 for each. A clip depends on its own seed alone, not on its batch.
        steps: denoising steps; None is the model's default.
        guidance: classifier-free guidance scale; None is the model's default.
        batch_size: prompts at a time.
        candidates: clips of each prompt, of which the one nearest to it by CLAP is returned. The first has the noise of
            the prompt's seed, the others noise that follows from it. AudioLDM's authors make 3; runs make one.
        judges: whose first CLAP network chooses; None is the embedded one.

    Returns:
        (n, samples) float32 at `model.sample_rate`, full scale 1; of a stereo model (n, 2, samples), left first.

    Raises:
        UsageError: prompts and seeds differ in number, or there are none; or one of the options is out of its range.
        DataError: a clip is not finite; says why, as far as it can be told.
    """
    seeds = [0] * len(prompts) if seeds is None else list(seeds)
    if not prompts or len(seeds) != len(prompts):
        raise UsageError(f"{len(prompts)} prompts and {len(seeds)} seeds: expected as many of one as of the other")
    if candidates < 1:
        raise UsageError(f"candidates={candidates}: expected 1 or more")
    judge = load_judges(judges or JudgeSpec(), [ClapText()])["clap"] if candidates > 1 else None
    waveforms: NDArray[np.float32] = model.generate(
        [prompt for prompt in prompts for _ in range(candidates)],
        [one for seed in seeds for one in candidate_seeds(seed, candidates)],
        steps=model.default_steps if steps is None else steps,
        guidance=model.default_guidance if guidance is None else guidance,
        batch_size=batch_size,
    )
    model.require_finite(waveforms)
    if judge is None:
        return waveforms
    made = waveforms.reshape(len(prompts), candidates, *waveforms.shape[1:])
    best, _ = choose_candidates(made, list(prompts), model.sample_rate, judge)
    return np.stack([clips[chosen] for clips, chosen in zip(made, best, strict=True)])


def score_folders(
    generated: str | Path,
    reference: str | Path | None = None,
    *,
    baseline: str | Path | None = None,
    prompts: str | CaptionFileSpec | None = None,
    metrics: Sequence[str] | None = None,
    judges: JudgeSpec | None = None,
    pairing: Pairing = "paired",
) -> dict[str, dict[str, Any]]:
    """Score a folder of audio, against a folder of real audio if there is one.

    Args:
        generated: folder with audio files, or with audio/ and captions.json as a run writes them.
        reference: the same for real audio. Clips of the same name belong to one caption.
        baseline: the same for the full-precision model's own audio; with it there are scores against it, and paired
            differences to its scores.
        prompts: suite, or caption file, whose captions are matched to clips by name (docs/suites.md); a
            `CaptionFileSpec` says how the file is read.
        metrics: registry names; None is those of a run, of which `zimtohrli` needs a baseline.
        judges: judge of each role; None is the embedded ones. One that no score reads is not loaded.
        pairing: `paired` compares clips of one name and leaves out those without a partner, on either side; `whole`
            compares both sets as they are, whatever their clips are called, and has no intervals.

    Returns:
        Score by key, in the form of the record: value, 95 % interval, n, network and its hash. Where clips were left
        out it says how many: `without_partner` and `against_left_out`; of whole sets `against_n`. One that cannot be
        computed has the value None and a reason.

    Raises:
        BenchError: a folder without audio, unreadable files (all are named), captions that do not match, an unknown
            metric, or pairs of which there are none.
    """
    report = score_report(
        generated, reference, baseline=baseline, prompts=prompts, metrics=metrics, judges=judges, pairing=pairing
    )
    scores: dict[str, dict[str, Any]] = report["scores"]
    return scores


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
    from admbench.leaderboard.reading import read_runs

    # strictly: a record that was left out would be a cell that nobody judged
    records = read_runs([runs] if isinstance(runs, (str, Path)) else runs)
    return gate_records(records, margins, baseline=baseline, allow_undecided=allow_undecided)


def gate_folders(
    generated: str | Path,
    baseline: str | Path,
    reference: str | Path | None = None,
    *,
    prompts: str | CaptionFileSpec | None = None,
    margins: Sequence[str] | None = None,
    judges: JudgeSpec | None = None,
    allow_undecided: bool = False,
) -> Gate:
    """Say whether the clips of a folder are no worse than those of another.

    Args:
        generated: folder of the clips in question.
        baseline: of the clips that they are held against, of the same names.
        reference: of real audio for the same captions, of the same names; None if there is none.
        prompts: suite, or caption file, whose captions are matched to clips by name: for `clap`.
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
    "score_by_convention",
    "score_folders",
    "score_report",
]
