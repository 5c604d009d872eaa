"""Records from files and run folders, read as untrusted input; and the check behind `bench validate`."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from admbench.errors import DataError, nearest
from admbench.files import slug
from admbench.leaderboard.clips import read_clips
from admbench.leaderboard.consistency import problems
from admbench.leaderboard.per_caption import disagreements
from admbench.leaderboard.per_caption_check import FullPrecision, contradictions, read_beside
from admbench.leaderboard.record import FULL_PRECISION, Record
from admbench.leaderboard.run_folder import CELLS, PER_CAPTION, RECORD_FILE, RECORDS
from admbench.leaderboard.untrusted import check_inside, read_json


@dataclass(frozen=True)
class LoadedRecord:
    """A valid record and where it was found."""

    record: Record
    path: Path  # of the result.json
    run: Path  # the run folder; nothing outside of it is read
    called: str | None = None  # on a board: the spec, and what tells the cell from others of that spec

    @property
    def name(self) -> str:
        """What the cell is called among those of its model; the method's spec unless a board tells more."""
        return self.called or self.record.method.spec

    @property
    def cell(self) -> Path:
        """Folder of the cell: audio/, captions.json and the record itself."""
        return self.path.parent


@dataclass(frozen=True)
class Checked:
    """A record file with everything that is wrong with it."""

    path: Path
    problems: tuple[str, ...]  # one line each: "FILE: key: message"


def parse_record(value: Any, where: str | Path = "record") -> Record:
    """Validate a decoded JSON value.

    Raises:
        DataError: schema or consistency; one line with `where`, the key path, what is wrong, and how much more is.
    """
    record, found = _parse(value)
    if record is None or found:
        more = f" (and {len(found) - 1} more: bench validate lists them)" if len(found) > 1 else ""
        raise DataError(f"{where}: {found[0]}{more}")
    return record


def read_record(path: str | Path) -> Record:
    """Read and validate one `result.json`. Raises DataError: one line that names the file and the key."""
    path = Path(path)
    return _read(path.parent, path)


def read_runs(paths: Iterable[str | Path]) -> list[LoadedRecord]:
    """Read every record of some run folders (or single `result.json` files), in the order of their paths.

    Raises:
        DataError: a folder without records, or the first file that is not a valid record.
    """
    return [LoadedRecord(_read(run, path), path, run) for run, path in _record_files(paths)]


def validate(paths: Iterable[str | Path]) -> list[Checked]:
    """Check every record of some run folders or `result.json` files, with what lies beside it; list all problems.

    Per-caption results, where there are any, are held against the record, captions.json and the clips; and the
    differences to full precision against the cell of the same model in full precision, where the run has one.

    Raises:
        DataError: a folder without records, or a path that does not exist.
    """
    return [Checked(path, tuple(f"{path}: {line}" for line in _check(run, path))) for run, path in _record_files(paths)]


def _read(run: Path, path: Path) -> Record:
    return parse_record(read_json(run, path), path)


def _check(run: Path, path: Path) -> list[str]:
    cell = path.parent
    try:
        record, found = _parse(read_json(run, path))
        clips = read_clips(run, cell)
    except DataError as error:
        return [str(error).removeprefix(f"{path}: ")]
    try:
        content = read_beside(run, cell)
    except DataError as error:
        return [*found, f"{PER_CAPTION}: {str(error).removeprefix(f'{cell / PER_CAPTION}: ')}"]
    if record is None or content is None:
        return found
    lines = contradictions(content, record, run, cell, clips, _full_precision(run, cell))
    return [*found, *(f"{PER_CAPTION}: {line}" for line in lines)]


def _full_precision(run: Path, cell: Path) -> FullPrecision | None:
    """The cell of the same model in full precision; None if there is none whose scores are what its captions give."""
    other = cell.with_name(slug(FULL_PRECISION))
    if run not in other.parents or not (other / RECORD_FILE).is_file():
        return None
    try:
        record, content = _read(run, other / RECORD_FILE), read_beside(run, other)
    except DataError:
        return None  # it has problem lines of its own
    if content is None or disagreements(content, record.scores):
        return None
    return FullPrecision(record, content)


def _record_files(paths: Iterable[str | Path]) -> list[tuple[Path, Path]]:
    """(run folder, result.json) pairs."""
    files: list[tuple[Path, Path]] = []
    for path in map(Path, paths):
        if path.is_dir():
            files.extend((path, file) for file in _records_of_run(path))
        elif path.exists():
            files.append((path.parent, path))
        else:
            raise DataError(f"{path}: no such file or folder")
    return files


def _records_of_run(run: Path) -> list[Path]:
    """`cells/MODEL/METHOD/result.json`; names that start with a dot are unfinished work of another process."""
    check_inside(run, run / CELLS)
    found = []
    for path in sorted(run.glob(RECORDS)):
        check_inside(run, path)
        if not any(part.startswith(".") for part in path.relative_to(run).parts):
            found.append(path)
    if not found:
        raise DataError(f"{run}: no records; expected a run folder with cells/MODEL/METHOD/result.json")
    return found


def _parse(value: Any) -> tuple[Record | None, list[str]]:
    """The record, if the schema holds, and all problems as "key: message"."""
    try:
        record = Record.model_validate(value)
    except ValidationError as error:
        return None, [_line(detail) for detail in error.errors(include_url=False)]
    return record, [f"{key}: {message}" for key, message in problems(record)]


def _line(detail: Any) -> str:
    """One pydantic error as "key.path: message"."""
    key = ".".join(str(part)[:80] for part in detail["loc"] if part != "[key]") or "record"
    if detail["type"] == "missing":
        return f"{key}: this key is required"
    if detail["type"] == "extra_forbidden":
        section = Record.model_fields if len(detail["loc"]) == 1 else _section_fields(detail["loc"])
        return f"{key}: unknown key.{nearest(str(detail['loc'][-1]), section)}"
    message = detail["msg"].removeprefix("Value error, ")
    shown = repr(detail["input"])
    return f"{key}: {message[0].lower()}{message[1:]}; found {shown if len(shown) <= 60 else shown[:57] + '...'}"


def _section_fields(location: tuple[Any, ...]) -> list[str]:
    """Names of the keys that are allowed where an unknown one was found."""
    section: Any = Record.model_fields.get(str(location[0]))
    for model in _models(section.annotation) if section else []:
        return list(model.model_fields)
    return []


def _models(annotation: Any) -> list[Any]:
    if hasattr(annotation, "model_fields"):
        return [annotation]
    return [arg for arg in getattr(annotation, "__args__", ()) if hasattr(arg, "model_fields")]
