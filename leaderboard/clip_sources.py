"""Where the clips of a caption come from: a recording, the model in full precision, and each method."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from admbench.errors import DataError
from admbench.files import slug
from admbench.leaderboard.boards import Board, Row
from admbench.leaderboard.clips import Clip, Pcm, read_clips, read_pcm
from admbench.leaderboard.per_caption import PerCaption, read_beside
from admbench.leaderboard.record import FULL_PRECISION
from admbench.leaderboard.run_folder import AUDIO, BASELINES, CAPTIONS_FILE, REFERENCE

Kind = Literal["reference", "baseline", "method"]


@dataclass(frozen=True)
class ClipSource:
    """One clip of every caption, as far as they are there."""

    label: str
    kind: Kind
    """A recording, the model in full precision, or a method."""
    run: Path
    folder: Path
    without: str
    """Why a clip may be missing."""
    clips: Mapping[str, Clip]
    """By id."""
    scored: bool = False
    """Whether they are a cell's, beside which per-caption results may lie."""

    @cached_property
    def results(self) -> PerCaption | None:
        """The per-caption results of a cell; None without any, or where the board has said why they do not count."""
        try:
            return read_beside(self.run, self.folder) if self.scored else None
        except DataError:
            return None

    @property
    def sounds(self) -> bool:
        """Whether there is a folder of audio, whatever is in it."""
        return (self.folder / AUDIO).is_dir()

    def has(self, clip: Clip) -> bool:
        """Return whether there is a file for a caption, of whatever content."""
        own = self.clips.get(clip.id)
        return own is not None and own.caption == clip.caption and (self.folder / AUDIO / f"{clip.id}.wav").is_file()

    def read(self, clip: Clip) -> tuple[Pcm | None, str]:
        """Return a clip, or why there is none: one that is no audio costs itself alone."""
        own = self.clips.get(clip.id)
        if own is None or own.caption != clip.caption:
            return None, self.without
        try:
            return read_pcm(self.run, self.folder, clip), self.without
        except DataError as error:
            return None, " ".join(str(error).removeprefix(f"{self.folder}/").split())

    @cached_property
    def numbers(self) -> dict[str, dict[str, float]]:
        """What each score says of each caption: a clip's own number, or the caption's part in the score of the set."""
        found = {}
        for key, score in self.results.scores.items() if self.results else ():
            numbers = score.influence.first if score.clips is None else score.clips
            names = self.results.captions_of(key) if self.results else ()
            found[key] = dict(zip(names, numbers.tolist(), strict=True))
        return found

    def scores_of(self, caption: str) -> dict[str, float]:
        """Return what each score says of one caption."""
        return {key: numbers[caption] for key, numbers in self.numbers.items() if caption in numbers}


def clip_sources(board: Board, group: str) -> Iterator[ClipSource]:
    """The reference folder, the baseline of a model, then its methods in the order of the board."""
    rows = board.by_group[group]
    yield from _reference(rows)
    if all(row.record.method.name != FULL_PRECISION for row in rows):
        yield from _baseline(rows[0])
    for row in sorted(rows, key=lambda row: row.record.method.name != FULL_PRECISION):
        yield _method(row)


def _reference(rows: Sequence[Row]) -> Iterator[ClipSource]:
    """The first reference folder of the runs that has a caption of the cells under the same id."""
    for row in rows:
        run = row.loaded.run
        own = {(clip.id, clip.caption) for clip in _clips(run, row.loaded.cell).values()}
        for folder in sorted((run / REFERENCE).glob("*/")):
            clips = _clips(run, folder)
            if any((clip.id, clip.caption) in own for clip in clips.values()):
                yield ClipSource("reference", "reference", run, folder, "no recording for this caption", clips)
                return


def _baseline(row: Row) -> Iterator[ClipSource]:
    """The model's full-precision audio where the grid has no cell of it."""
    run = row.loaded.run
    folder = run / BASELINES / slug(row.record.model.name)
    if (folder / CAPTIONS_FILE).exists():
        yield ClipSource(FULL_PRECISION, "baseline", run, folder, "no audio in the run folder", _clips(run, folder))


def _method(row: Row) -> ClipSource:
    loaded, status = row.loaded, row.record.status
    without = f"{status}: {row.record.reason}" if status != "done" else "no audio in the run folder"
    kind: Kind = "baseline" if row.record.method.name == FULL_PRECISION else "method"
    clips = _clips(loaded.run, loaded.cell)
    return ClipSource(row.name, kind, loaded.run, loaded.cell, without, clips, scored=True)


def _clips(run: Path, folder: Path) -> dict[str, Clip]:
    """The clips of a folder by id; none where its list is not valid."""
    try:
        return {clip.id: clip for clip in read_clips(run, folder)}
    except DataError:
        return {}


def captions_of(sources: Sequence[ClipSource]) -> list[Clip]:
    """Captions for which something was generated, in the order of the suite, each once."""
    found: dict[str, Clip] = {}
    for source in sources:
        if source.kind != "reference":
            for name, clip in source.clips.items():
                found.setdefault(name, clip)
    return list(found.values())
