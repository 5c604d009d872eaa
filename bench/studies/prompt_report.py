"""A prompt study as files: the prompts, the numbers, and a plot of the text embeddings and of the values stated."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from admbench.bench.studies.prompts import PromptStudy, Selection
from admbench.errors import DataError
from admbench.files import write_json_atomic
from admbench.methods.core.calibration.prompts.tagger import audio_tagger

BEFORE, AFTER, REST = "#3566a8", "#d1662c", "#c8c8c8"

PROMPTS_FILE, NUMBERS_FILE, PLOT_FILE = "prompts.csv", "coverage.json", "coverage.png"


def draw_study(study: PromptStudy, file: Path) -> None:
    """Write the plot as PNG, 1500 x 960 pixels."""
    figure = Figure(figsize=(12.5, 8), layout="constrained")
    plane, bars = figure.subplots(1, 2, width_ratios=(3, 2))
    _draw_plane(plane, study)
    _draw_values(bars, study.before, study.after)
    figure.savefig(file, dpi=120)


def _draw_plane(axes: Axes, study: PromptStudy) -> None:
    """Principal components of the candidates' vectors, and in them the prompts before and after."""
    vectors = study.candidates.double().numpy()
    center = vectors.mean(axis=0)
    _, spread, directions = np.linalg.svd(vectors - center, full_matrices=False)
    shares = spread**2 / max(float((spread**2).sum()), 1e-12)

    def place(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        flat = np.zeros((len(points), 2))
        seen = (points - center) @ directions[:2].T
        flat[:, : seen.shape[1]] = seen
        return flat[:, 0], flat[:, 1]

    across, up = place(vectors)
    axes.scatter(across, up, s=14, color=REST, label=f"candidates ({len(vectors)})")
    for selection, color, marker, label in (
        (study.before, BEFORE, "o", "before"),
        (study.after, AFTER, "^", "after"),
    ):
        text = f"{label}: {len(selection.prompts)} prompts, text coverage {selection.coverage.text:.3f}"
        across, up = place(selection.vectors.double().numpy())
        axes.scatter(across, up, s=46, color=color, marker=marker, edgecolors="white", linewidths=0.6, label=text)
    axes.set_xlabel(f"first principal component ({shares[0]:.0%} of the variance)")
    axes.set_ylabel(f"second ({shares[1] if len(shares) > 1 else 0:.0%})")
    axes.set_title(f"{study.source}: text embeddings")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=1, frameon=False)


def _draw_values(axes: Axes, before: Selection, after: Selection) -> None:
    """How many prompts state each value."""
    tagger = audio_tagger()
    values = tagger.space.values
    places = np.arange(len(values))
    for selection, color, shift, label in ((before, BEFORE, -0.2, "before"), (after, AFTER, 0.2, "after")):
        stated = Counter(value for prompt in selection.prompts for value in tagger.tag(prompt).values)
        text = f"{label}: {selection.coverage.values:.0%} of values, {selection.coverage.pairs:.0%} of pairs"
        axes.barh(places + shift, [stated[value] for value in values], height=0.4, color=color, label=text)
    axes.set_yticks(places, [f"{aspect}: {value}" for aspect, value in values], fontsize=8)
    axes.set_ylim(len(values) - 0.5, -0.5)
    for place, (one, other) in enumerate(pairwise(values)):
        if one[0] != other[0]:
            axes.axhline(place + 0.5, color="#e0e0e0", linewidth=0.8, zorder=0)
    axes.set_xlabel("prompts that state the value")
    axes.set_title("values of the coverage space")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=1, frameon=False)


def write_study(study: PromptStudy, folder: Path) -> None:
    """Write the prompts with what each states, the numbers, and the plot.

    Raises:
        DataError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / PROMPTS_FILE).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["id", "caption", "from", "states", "unknown_words"])
            writer.writerows(_rows(study))
        write_json_atomic(folder / NUMBERS_FILE, _numbers(study))
        draw_study(study, folder / PLOT_FILE)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written ({error.strerror or error})") from error


def _rows(study: PromptStudy) -> Iterable[tuple[str, ...]]:
    tagger = audio_tagger()
    for number, prompt in enumerate(study.after.prompts, start=1):
        tags = tagger.tag(prompt)
        origin = "user" if prompt in study.before.prompts else study.source
        stated = " ".join(f"{aspect}={value}" for aspect, value in sorted(tags.values))
        yield f"p{number:05d}", prompt, origin, stated, " ".join(tags.unknown)


def _numbers(study: PromptStudy) -> dict[str, object]:
    numbers: dict[str, object] = {"prompt_source": study.source, "candidates": len(study.candidates)}
    for when, selection in (("before", study.before), ("after", study.after)):
        numbers[f"coverage_{when}"] = selection.coverage.summary()
        if selection.against is not None:
            numbers[f"text_against_{when}"] = selection.against.text
    return numbers
