"""How far a cell was checked: `re-scored`, `checked` or `self-reported`; RUN/validation.json keeps the first.

- `re-scored`: the clips were embedded again by the judges, and gave the record's scores: `bench validate --rescore`.
- `checked`: its values, intervals and differences are what its per-caption results give. Computed, never kept.
- `self-reported`: it has none, or they give something else.

The file is a note of whoever checked this copy of the run, and proves nothing to others: it holds the SHA-256 of what
was checked, so that a record, per-caption results or clips that change lose the state.

    schema_version  1
    cells           MODEL/METHOD -> result_sha256, per_caption_sha256, clips_sha256, when, scores, not_scored
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from admbench.errors import DataError
from admbench.files import write_json_atomic
from admbench.hashing import sha256_file, sha256_json
from admbench.leaderboard.clips import read_clips
from admbench.leaderboard.fields import MetricName, Name, Section, Sha256, Text, Time
from admbench.leaderboard.per_caption import PER_CAPTION, PerCaption, read_beside
from admbench.leaderboard.reading import LoadedRecord
from admbench.leaderboard.run_folder import AUDIO, VALIDATION_FILE
from admbench.leaderboard.untrusted import check_inside, read_json
from admbench.leaderboard.validating import ModelFolder, wrong_numbers

State = Literal["re-scored", "checked", "self-reported"]
LEAST_FIRST: tuple[State, ...] = ("self-reported", "checked", "re-scored")
MEANING: dict[State, str] = {
    "re-scored": "the clips were embedded again by the judges and gave these scores",
    "checked": "values, intervals and differences are what the per-caption results beside the record give",
    "self-reported": "nothing beside the record gives its numbers",
}


class Rescored(Section):
    """A cell whose clips gave its scores again."""

    result_sha256: Sha256
    """Of the record."""
    per_caption_sha256: Sha256 | None
    """Of its per-caption results; null where it has none."""
    clips_sha256: Sha256
    """Over its clips."""
    when: Time
    """When they were scored again."""
    scores: Annotated[dict[MetricName, float], Field(max_length=200)]
    """What they gave."""
    not_scored: Annotated[dict[MetricName, Text], Field(max_length=200)]
    """Scores that clips do not give, with the reason."""


class Validation(Section):
    """The file."""

    schema_version: Literal[1]
    """Version of this schema."""
    cells: Annotated[dict[Name, Rescored], Field(max_length=100_000)]
    """By MODEL/METHOD, the folders of the cell."""


@dataclass
class Checks:
    """How far cells were checked; what is noted of a run, and the full precision of a model, are read once for all."""

    _notes: dict[Path, dict[str, Rescored]] = field(default_factory=dict)
    """By run."""
    _models: dict[Path, ModelFolder] = field(default_factory=dict)

    def rescored(self, loaded: LoadedRecord) -> bool:
        """Return whether it is noted that a cell was scored again; a note of another state of the cell counts not."""
        noted = self._noted(loaded.run).get(_name(loaded)) if loaded.record.status == "done" else None
        return (
            noted is not None
            and noted.result_sha256 == sha256_file(loaded.path)
            and _fingerprint(loaded) == (noted.per_caption_sha256, noted.clips_sha256)
        )

    def computed(self, loaded: LoadedRecord, content: PerCaption | None) -> State:
        """Return `checked` or `self-reported`, whatever is noted.

        Args:
            loaded: the cell.
            content: of its per-caption results; None where it has none that are valid.
        """
        if content is None:
            return "self-reported"
        folder = loaded.cell.parent
        model = self._models.setdefault(folder, ModelFolder(loaded.run, folder))
        return "self-reported" if wrong_numbers(loaded.record, content, loaded.cell, model) else "checked"

    def read(self, loaded: LoadedRecord) -> State:
        """Return what is `computed` of a cell of which nothing was read yet but the record."""
        try:
            content = read_beside(loaded.run, loaded.cell)
        except DataError:
            content = None
        return self.computed(loaded, content)

    def of(self, loaded: LoadedRecord) -> State:
        """Return how far a cell was checked, of which nothing was read yet but the record."""
        return "re-scored" if self.rescored(loaded) else self.read(loaded)

    def _noted(self, run: Path) -> dict[str, Rescored]:
        if run not in self._notes:
            self._notes[run] = _known(run)
        return self._notes[run]


def validation_state(loaded: LoadedRecord) -> State:
    """Return how far one cell was checked; of many ask one `Checks`."""
    return Checks().of(loaded)


def read_validation(run: Path) -> dict[str, Rescored]:
    """Return what is noted of the cells of a run, by MODEL/METHOD; DataError: the file is not valid."""
    path = run / VALIDATION_FILE
    if not path.exists() and not path.is_symlink():
        return {}
    try:
        return Validation.model_validate(read_json(run, path)).cells
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        raise DataError(f"{path}: {'.'.join(map(str, detail['loc']))}: {detail['msg']}") from error


def note(loaded: LoadedRecord, scores: Mapping[str, float], not_scored: Mapping[str, str]) -> None:
    """Note that a cell was scored again, with what its clips gave."""
    per_caption, clips = _fingerprint(loaded)
    rescored = Rescored(
        result_sha256=sha256_file(loaded.path),
        per_caption_sha256=per_caption,
        clips_sha256=clips,
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        scores=dict(scores),
        not_scored=dict(not_scored),
    )
    _write(loaded.run, {**_known(loaded.run), _name(loaded): rescored})


def forget(loaded: LoadedRecord) -> None:
    """Take back what is noted of a cell, which gave other scores now."""
    known = _known(loaded.run)
    if known.pop(_name(loaded), None) is not None:
        _write(loaded.run, known)


def _known(run: Path) -> dict[str, Rescored]:
    try:
        return dict(read_validation(run))
    except DataError:
        return {}  # damaged: counts not, and is written anew


def _write(run: Path, cells: Mapping[str, Rescored]) -> None:
    file = Validation(schema_version=1, cells=dict(sorted(cells.items())))
    write_json_atomic(run / VALIDATION_FILE, file.model_dump(mode="json"))


def _name(loaded: LoadedRecord) -> str:
    return f"{loaded.cell.parent.name}/{loaded.cell.name}"


def _fingerprint(loaded: LoadedRecord) -> tuple[str | None, str]:
    """Return the hash of the per-caption results, None without any, and that over the clips that are there."""
    results = loaded.cell / PER_CAPTION
    clips = {}
    for clip in read_clips(loaded.run, loaded.cell):
        path = loaded.cell / AUDIO / f"{clip.id}.wav"
        check_inside(loaded.run, path)
        clips[clip.id] = [clip.caption, sha256_file(path) if path.is_file() else None]
    return sha256_file(results) if results.is_file() else None, sha256_json(clips)
