"""The listening pages, one a model: which captions and clips are on them, and their files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from admbench.files import slug
from admbench.leaderboard.boards import Board
from admbench.leaderboard.clip_sources import ClipSource, captions_of, clip_sources
from admbench.leaderboard.clips import Clip, evenly
from admbench.leaderboard.hearing import Heard
from admbench.leaderboard.inference.scores import OWN_AUDIO
from admbench.leaderboard.site.definitions import definition
from admbench.leaderboard.site.folder import Folder
from admbench.leaderboard.site.listening_clips import clip_path, clip_script, describe
from admbench.leaderboard.site.listening_data import HeardCaption, HeardClip, ListeningData, ScoreWords, Source
from admbench.leaderboard.site.output import Output
from admbench.plain_text import visible_lines, visible_name
from admbench.progress import track

PREFERRED = ("zimtohrli", "lmd", "mrstft")
"""Scores of single clips against full precision by which the worst are chosen, the first that is there."""


@dataclass(frozen=True)
class ListeningPage:
    """The page of one model: where it lies and what is on it. Its clips are written."""

    path: str
    """From the root of the site."""
    group: str
    """The model, as its board calls it."""
    label: str
    """The model, with its suite where several boards are shown."""
    data: ListeningData


def write_clips(boards: Sequence[Board], folder: Folder, most_captions: int) -> list[ListeningPage]:
    """Write the clips of all models that have audio into a site, and return the pages to be made of them.

    Half of the captions are taken at even steps through the suite, so that the strata of a suite in order are all
    met; the other half are the worst of the methods in turn. A clip that is not valid is named in its place.

    Args:
        boards: with one record of each method.
        folder: of it; a clip that it had before is not encoded again.
        most_captions: of each model.
    """
    found = []
    for number, board in enumerate(boards, start=1):
        several = len(boards) > 1
        for group in board.groups:
            data = _model_data(board, group, folder, most_captions)
            if data is not None:
                name = slug(group) + (f"-{number}" if several else "")
                label = visible_name(group) + (f" ({visible_name(board.suite)}, {board.n} captions)" if several else "")
                found.append(ListeningPage(f"listen/{name}.html", group, label, data))
    return found


def write_listening(
    output: Output, pages: Sequence[ListeningPage], heard: Sequence[Heard], votes_left_out: Sequence[str]
) -> None:
    """Write the pages of models, and the one that leads to them and says what listeners heard."""
    for page in pages:
        script = output.data("listening", page.data.model_dump(mode="json"))
        output.page(page.path, "listening.html.jinja", page=page, listening=script, models=pages)
    output.page("listen.html", "listen.html.jinja", models=pages, votes_left_out=votes_left_out, heard=heard)


def _model_data(board: Board, group: str, folder: Folder, most: int) -> ListeningData | None:
    sources = list(clip_sources(board, group))
    if not any(source.sounds for source in sources if source.kind != "reference"):
        return None
    clips = captions_of(sources)
    scores = _score_words(sources)
    worst_by = _worst_by(scores)
    full = next((index for index, source in enumerate(sources) if source.kind == "baseline"), None)
    captions = []
    for clip, chosen in track(choose_captions(clips, _worst_first(sources, worst_by), most), f"Clips of {group}"):
        captions.append(
            HeardCaption(
                id=clip.id,
                text=visible_lines(clip.caption),
                seed=clip.seed,
                chosen=chosen,
                clips=[_write_clip(source, clip, folder) for source in sources],
            )
        )
    if not any(
        clip.sha256 and source.kind != "reference"
        for caption in captions
        for source, clip in zip(sources, caption.clips, strict=True)
    ):
        return None
    return ListeningData(
        model=visible_name(group),
        suite=visible_name(board.suite),
        suite_sha256=board.suite_sha256,
        n=len(clips),
        full=full,
        sources=[Source(label=visible_name(source.label), kind=source.kind) for source in sources],
        scores=scores,
        worst_by=worst_by.key if worst_by else None,
        captions=captions,
        colours={"level": _colours("magma"), "difference": _colours("RdBu_r")},
    )


def choose_captions(
    clips: Sequence[Clip], worst_first: Sequence[Sequence[str]], most: int
) -> list[tuple[Clip, Literal["even", "worst"]]]:
    """Return the captions of a page in the order of the suite, each with why it was chosen.

    Args:
        clips: all captions.
        worst_first: per method, ids of captions, the worst first.
        most: captions wanted.
    """
    if len(clips) <= most:
        return [(clip, "even") for clip in clips]
    count = most - most // 2 if any(worst_first) else most
    even = {clip.id for clip in evenly(clips, count)}
    known = {clip.id for clip in clips}
    worst: set[str] = set()
    queues = [iter(ids) for ids in worst_first]
    while queues and len(even) + len(worst) < most:
        queue = queues.pop(0)
        taken = next((name for name in queue if name in known and name not in even and name not in worst), None)
        if taken is not None:
            worst.add(taken)
            queues.append(queue)
    return [(clip, "even" if clip.id in even else "worst") for clip in clips if clip.id in even or clip.id in worst]


def _write_clip(source: ClipSource, clip: Clip, folder: Folder) -> HeardClip:
    scores = {key: _short(number) for key, number in source.scores_of(clip.id).items()}
    pcm, without = source.read(clip)
    if pcm is None:
        return HeardClip(missing=visible_lines(without), scores=scores)
    heard = describe(pcm, scores)
    if heard.sha256 is not None:
        path = clip_path(heard.sha256)
        if not folder.keep(path):
            folder.write(path, clip_script(pcm).encode("ascii"))
    return heard


def _score_words(sources: Sequence[ClipSource]) -> list[ScoreWords]:
    """Every score that some method has per caption: those of single clips first."""
    found: dict[str, ScoreWords] = {}
    for source in sources:
        for key, score in source.results.scores.items() if source.results else ():
            found[key] = ScoreWords(
                key=key,
                label=visible_name(definition(key).label),
                higher_is_better=score.kind.higher_is_better,
                per="set" if score.clips is None else "clip",
            )
    return sorted(found.values(), key=lambda words: (words.per, words.key))


def _worst_by(scores: Sequence[ScoreWords]) -> ScoreWords | None:
    """The score that says most of how a clip differs from full precision's."""
    near = {words.key: words for words in scores if words.key.endswith(OWN_AUDIO)}
    for key in (name + OWN_AUDIO for name in PREFERRED):
        if key in near:
            return near[key]
    return next(iter([*near.values(), *scores]), None)


def _worst_first(sources: Sequence[ClipSource], by: ScoreWords | None) -> list[list[str]]:
    methods = [source for source in sources if source.kind == "method" and source.results and by]
    return [
        [name for name, _ in source.results.worst(by.key, len(source.results.captions))]
        for source in methods
        if source.results and by and by.key in source.results.scores
    ]


def _short(number: float) -> float:
    """Five digits of a number: what is shown, and enough to sort by."""
    return number if number == 0 or not math.isfinite(number) else float(f"{number:.5g}")


def _colours(name: str) -> str:
    """256 colours of matplotlib's map of that name, six hex digits each."""
    import matplotlib
    import numpy as np

    rgb: bytes = matplotlib.colormaps[name](np.arange(256), bytes=True)[:, :3].tobytes()
    return rgb.hex()
