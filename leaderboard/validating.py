"""The check behind `bench validate`: every record of some runs, with what lies beside it, and all that is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from admbench.errors import DataError
from admbench.files import slug
from admbench.leaderboard.clips import Clip, read_clips
from admbench.leaderboard.clips_check import unsound_clips
from admbench.leaderboard.ladder import read_ladder
from admbench.leaderboard.per_caption import PER_CAPTION, PerCaption, disagreements, read_beside
from admbench.leaderboard.per_caption_check import FullPrecision, contradictions
from admbench.leaderboard.reading import parse, read_one, record_files
from admbench.leaderboard.record import FULL_PRECISION, Record
from admbench.leaderboard.run_folder import LADDER_FILE, RECORD_FILE
from admbench.leaderboard.untrusted import read_json
from admbench.plain_text import visible


@dataclass(frozen=True)
class Checked:
    """A file with everything that is wrong with it."""

    path: Path
    problems: tuple[str, ...]  # one line each: "FILE: key: message"


def validate(paths: Iterable[str | Path]) -> list[Checked]:
    """Check every record of some run folders or `result.json` files, with what lies beside it; list all problems.

    Per-caption results, where there are any, are held against the record, captions.json and the clips; the differences
    to full precision against the cell of the same model in full precision, where the run has one. Clips that are there
    are opened, and so is the run's ladder.

    Raises:
        DataError: a folder without records, or a path that does not exist.
    """
    checked = []
    models: dict[Path, ModelFolder] = {}
    files = record_files(paths)
    for run, path in files:
        model = models.setdefault(path.parent.parent, ModelFolder(run, path.parent.parent))
        checked.append(Checked(path, tuple(f"{path}: {visible(line)}" for line in _problems(run, path, model))))
    for run in dict.fromkeys(run for run, _ in files):
        try:
            read_ladder(run)
        except DataError as error:
            checked.append(Checked(run / LADDER_FILE, (visible(str(error)),)))
    return checked


@dataclass
class ModelFolder:
    """The cells of a model in a run, of which the one in full precision is read once."""

    run: Path
    folder: Path

    @cached_property
    def full_precision(self) -> FullPrecision | None:
        """The cell in full precision; None if there is none whose scores are what its captions give."""
        cell = self.folder / slug(FULL_PRECISION)
        if self.run not in cell.parents or not (cell / RECORD_FILE).is_file():
            return None
        try:
            record, content = read_one(self.run, cell / RECORD_FILE), read_beside(self.run, cell)
        except DataError:
            return None  # it has problem lines of its own
        if content is None or disagreements(content, record.scores):
            return None
        return FullPrecision(record, content)


def _problems(run: Path, path: Path, model: ModelFolder) -> Iterator[str]:
    cell = path.parent
    try:
        record, found = parse(read_json(run, path))
    except DataError as error:
        yield str(error).removeprefix(f"{path}: ")
        return
    yield from found
    clips: list[Clip] = []
    try:
        clips = read_clips(run, cell)
    except DataError as error:
        yield str(error)
    content: PerCaption | None = None
    try:
        content = read_beside(run, cell)
    except DataError as error:
        yield f"{PER_CAPTION}: {str(error).removeprefix(f'{cell / PER_CAPTION}: ')}"
    if record is None:
        return
    if content is not None:
        lines = contradictions(content, record, run, cell, clips, model.full_precision)
        yield from (f"{PER_CAPTION}: {line}" for line in lines)
    yield from unsound_clips(record, run, cell, clips)


def wrong_numbers(record: Record, content: PerCaption, cell: Path, model: ModelFolder) -> list[str]:
    """Return where a record's numbers are not what the per-caption results beside it give.

    Like `validate`, but without the clips: for a board, which says of each cell whether it is `checked`.
    """
    return list(contradictions(content, record, model.run, cell, (), model.full_precision, audio=False))
