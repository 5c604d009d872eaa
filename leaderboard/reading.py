"""Records from files and run folders, read as untrusted input; what cannot be read is left out and named.

What `bench validate` makes of them is in `admbench.leaderboard.validating`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from admbench.errors import DataError, nearest
from admbench.leaderboard.clips import read_clips
from admbench.leaderboard.consistency import problems
from admbench.leaderboard.per_caption import disagreements, read_beside
from admbench.leaderboard.record import SCHEMA_VERSION, Record
from admbench.leaderboard.remembered import file_sha256, key, recall, remember, states_of
from admbench.leaderboard.run_folder import CAPTIONS_FILE, CELLS, PER_CAPTION, RECORD_FILE, RECORDS
from admbench.leaderboard.tidy import tidied, untidy
from admbench.leaderboard.untrusted import MAX_JSON_BYTES, check_inside, read_bytes, read_json
from admbench.leaderboard.workers import workers
from admbench.plain_text import visible

AT_ONCE = 50
"""Records that another process reads before it sends them."""
_SHARED = ("model", "suite", "generation", "environment")
SHOWN = 60
"""Characters of a value, or of a key, that a line of what is wrong with it shows."""


@dataclass(frozen=True, slots=True)
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
class Quarantined:
    """A file that no board shows, and why."""

    path: Path
    reason: str  # one line, without the path

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"

    @property
    def where(self) -> str:
        """MODEL/METHOD of a record, RUN/FILE of another file."""
        parts = self.path.parts
        return "/".join(parts[-3:-1] if self.path.name == RECORD_FILE else parts[-2:])

    @property
    def public_reason(self) -> str:
        """The reason without folders of this machine."""
        return self.reason.replace(f"{self.path.parent}/", "")


@dataclass(frozen=True)
class Gathered:
    """The records of some runs: the good ones, and those that cannot be shown."""

    records: list[LoadedRecord]
    quarantined: tuple[Quarantined, ...] = ()


def parse_record(value: Any, where: str | Path = "record") -> Record:
    """Validate a decoded JSON value.

    Raises:
        DataError: schema or consistency; one line with `where`, the key path, what is wrong, and how much more is.
    """
    record, found = parse(value)
    if record is None or found:
        more = f" (and {len(found) - 1} more: bench validate lists them)" if len(found) > 1 else ""
        raise DataError(f"{where}: {found[0]}{more}")
    return record


def read_record(path: str | Path) -> Record:
    """Read and validate one `result.json`. Raises DataError: one line that names the file and the key."""
    path = Path(path)
    return read_one(path.parent, path)


def read_runs(paths: Iterable[str | Path]) -> list[LoadedRecord]:
    """Read every record of some run folders (or single `result.json` files), in the order of their paths.

    Raises:
        DataError: a folder without records, or the first file that is not a valid record.
    """
    return [LoadedRecord(read_one(run, path), path, run) for run, path in record_files(paths)]


def gather(paths: Iterable[str | Path], *, processes: int = 1, remembered: bool = False) -> Gathered:
    """Read every record of some run folders (or single `result.json` files); one bad record costs itself alone.

    A record is left out too if the captions or the per-caption results beside it are not valid, or the latter do not
    give its scores.

    Args:
        paths: of the folders or files.
        processes: that read: see `workers`.
        remembered: whether records that were found to be good before are not checked again: see
            `admbench.leaderboard.remembered`.

    Raises:
        DataError: a folder without records, or no record among them that is valid; then of the first.
    """
    files = record_files(paths)
    batches = [own[first : first + AT_ONCE] for own in _by_run(files) for first in range(0, len(own), AT_ONCE)]
    with workers(processes) as mapped:
        read = [one for batch in mapped(partial(_read_batch, remembered=remembered), batches) for one in batch]
    good = [one for one in read if isinstance(one, LoadedRecord)]
    bad = [one for one in read if isinstance(one, Quarantined)]
    if not good:
        more = f" (and {len(bad) - 1} more records that are not valid)" if len(bad) > 1 else ""
        raise DataError(f"{bad[0]}{more}")
    return Gathered(good, tuple(bad))


def _by_run(files: Iterable[tuple[Path, Path]]) -> Iterator[list[tuple[Path, Path]]]:
    """Yield the files run by run, so that a record more in one run leaves the batches of the others what they are."""
    return (list(own) for _, own in groupby(files, key=itemgetter(0)))


def _read_again(files: Sequence[tuple[Path, Path]]) -> list[LoadedRecord | Quarantined]:
    """Read records; those that were good before, as they are with what lies beside them, are not checked again."""
    every = [path.parent / name for _, path in files for name in (RECORD_FILE, CAPTIONS_FILE, PER_CAPTION)]
    before = states_of(every)
    name = key("good records", map(file_sha256, every))
    good = recall(name)
    if good is None:
        read = _read_all(files)
        if states_of(every) == before:
            remember(name, [isinstance(one, LoadedRecord) and one.record.schema_version for one in read])
        return read
    return [
        _decoded(*file) if schema == SCHEMA_VERSION else _read(file) for file, schema in zip(files, good, strict=True)
    ]


def _read_batch(files: Sequence[tuple[Path, Path]], *, remembered: bool) -> list[LoadedRecord | Quarantined]:
    return list(_sharing(_read_again(files) if remembered else _read_all(files)))


def _sharing(batch: Iterable[LoadedRecord | Quarantined]) -> Iterator[LoadedRecord | Quarantined]:
    """Yield records with what is equal in them being one: of a run most have the same suite, settings and machine."""
    known: dict[str, Any] = {}
    keys: dict[frozenset[str], set[str]] = {}
    for one in batch:
        if isinstance(one, LoadedRecord):
            parts = {name: part for name in _SHARED if (part := getattr(one.record, name)) is not None}
            equal = {name: known.setdefault(name + part.model_dump_json(), part) for name, part in parts.items()}
            one = replace(one, record=one.record.model_copy(update=equal))
            _share_keys(one.record, keys)
        yield one


def _share_keys(value: Any, known: dict[frozenset[str], set[str]]) -> None:
    """Let all sections of a record that were read with the same keys have one set of them, not each its own.

    They are a third of what a record takes in memory. A section is frozen, so that nobody changes the set of another.
    """
    if isinstance(value, BaseModel):
        keys = known.setdefault(frozenset(value.model_fields_set), value.model_fields_set)
        object.__setattr__(value, "__pydantic_fields_set__", keys)
        value = vars(value)
    if isinstance(value, dict):
        for item in value.values():
            _share_keys(item, known)


def _decoded(run: Path, path: Path) -> LoadedRecord:
    """Read a record of today's schema that is known to be good."""
    return LoadedRecord(Record.model_validate_json(read_bytes(run, path, MAX_JSON_BYTES)), path, run)


def _read_all(files: Iterable[tuple[Path, Path]]) -> list[LoadedRecord | Quarantined]:
    return [_read(file) for file in files]


def _read(file: tuple[Path, Path]) -> LoadedRecord | Quarantined:
    run, path = file
    try:
        return read_whole(run, path)
    except DataError as error:
        return Quarantined(path, visible(str(error).removeprefix(f"{path}: ")))


def read_whole(run: Path, path: Path) -> LoadedRecord:
    """Read a record with what lies beside it, as far as that is there, as every board does.

    Whoever writes a record reads it with this before it counts as written.

    Raises:
        DataError: the record, its captions or its per-caption results are not valid, or contradict each other.
    """
    loaded = LoadedRecord(read_one(run, path), path, run)
    read_clips(run, loaded.cell)
    content = read_beside(run, loaded.cell)
    if content is not None and (found := disagreements(content, loaded.record.scores)):
        raise DataError(f"{path}: not what {PER_CAPTION} gives: {found[0]}")
    return loaded


def read_one(run: Path, path: Path) -> Record:
    """Read and validate the record at `path` in the run folder `run`; DataError: one line that names the file."""
    return parse_record(read_json(run, path), path)


def record_files(paths: Iterable[str | Path]) -> list[tuple[Path, Path]]:
    """Return (run folder, result.json) of every record of some run folders or files.

    Raises:
        DataError: a folder without records, or a path that does not exist.
    """
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


def parse(value: Any) -> tuple[Record | None, list[str]]:
    """Return the record, if the schema holds, and all problems as "key: message", one line each.

    The texts of a record of an older schema are made visible, and cut, as its writer did not.
    """
    older = isinstance(value, dict) and value.get("schema_version") in range(1, SCHEMA_VERSION)
    if older:
        value = tidied(value)
    try:
        record = Record.model_validate(value)
    except ValidationError as error:
        return None, [_line(detail) for detail in error.errors(include_url=False)]
    found = [] if older else list(untidy(value))
    return record, [*found, *(visible(f"{key}: {message}") for key, message in problems(record))]


def _line(detail: Any) -> str:
    """One pydantic error as "key.path: message"."""
    key = ".".join(visible(str(part), SHOWN) for part in detail["loc"] if part != "[key]") or "record"
    if detail["type"] == "missing":
        return f"{key}: this key is required"
    if detail["type"] == "extra_forbidden":
        section = Record.model_fields if len(detail["loc"]) == 1 else _section_fields(detail["loc"])
        return f"{key}: unknown key.{nearest(str(detail['loc'][-1]), section)}"
    message = detail["msg"].removeprefix("Value error, ")
    return visible(f"{key}: {message[0].lower()}{message[1:]}; found {visible(repr(detail['input']), SHOWN)}")


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
