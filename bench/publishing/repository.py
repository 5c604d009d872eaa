"""A git repository of results: its layout and its workflows, and what of a run goes into it.

    results/NAME/           a run folder as it is published: records, per-caption results, clips
    .github/workflows/      a pull request is validated, its clips scored again, the gate said; then the page is made

A run folder holds more than that: checkpoints, features, logs with paths of its machine, and `validation.json`, which
says what somebody re-scored. The repository re-scores for itself, so no submission brings that file.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from admbench.bench.authoring.rendering import write_folder
from admbench.bench.run.asked import gate_of
from admbench.bench.run.layout import RunLayout
from admbench.errors import DataError, UsageError
from admbench.files import atomic_directory, write_json_atomic
from admbench.leaderboard.reading import record_files
from admbench.leaderboard.run_folder import (
    AUDIO,
    BASELINES,
    CAPTIONS_FILE,
    LADDER_FILE,
    PER_CAPTION,
    RECORD_FILE,
    REFERENCE,
)
from admbench.leaderboard.validating import validate
from admbench.versions import package_version

RESULTS = "results"
"""Folder of the runs, in a results repository."""
FILES = {
    "README.md": "README.md",
    ".gitattributes": "gitattributes",
    ".gitignore": "gitignore",
    f"{RESULTS}/README.md": "results.md",
    ".github/workflows/check.yml": "check.yml",
    ".github/workflows/comment.yml": "comment.yml",
    ".github/workflows/publish.yml": "publish.yml",
}
"""File of the repository -> its template."""
_NAME = r"[a-z0-9][a-z0-9._-]{0,63}"


def init_repository(out: Path, title: str) -> list[Path]:
    """Write a results repository without results into a new or an empty folder; return the files.

    Args:
        out: the folder.
        title: of its page.

    Raises:
        UsageError: the folder holds something, or the title is none that a workflow can carry.
    """
    if not re.fullmatch(r"[\w .,:()&+?-]{1,100}", title):
        raise UsageError(f"--title {title!r}: expected 1 to 100 letters, digits, spaces and .,:()&+?-")
    facts = {"title": title, "version": package_version(), "results": RESULTS}
    return write_folder(out, "admbench.bench.publishing", FILES, facts)


def add_run(run: Path, repository: Path, name: str | None = None, *, audio: bool = True) -> Path:
    """Copy what is published of a run into a results repository; return its folder there.

    Args:
        run: the run folder, or one that was published before.
        repository: what `init_repository` wrote.
        name: of the folder in `results/`; that of the run folder if left out. A folder of that name is replaced.
        audio: whether the clips come along, without which nobody can score them again.

    Raises:
        DataError: a record is not valid.
        UsageError: this is no results repository, or the name is none that a folder in it may have.
    """
    if not (repository / RESULTS).is_dir():
        raise UsageError(f"{repository}: no folder {RESULTS}/; expected what `bench results init` wrote")
    name = run.resolve().name.lower() if name is None else name
    if not re.fullmatch(_NAME, name):
        raise UsageError(f'--name "{name}": expected lower-case letters, digits, dots, hyphens and underscores')
    bad = [file for file in validate([run]) if file.problems]
    if bad:
        more = f" (and {len(bad) - 1} more records)" if len(bad) > 1 else ""
        raise DataError(f"{bad[0].problems[0]}{more}; nothing was copied")
    target = repository / RESULTS / name
    gate = gate_of([run])
    with atomic_directory(target) as made:
        if gate is not None:  # the rest of the grid is paths of this machine
            write_json_atomic(RunLayout(made).grid, {"gate": gate.model_dump(mode="json")})
        for file in _published(run, audio=audio):
            place = made / file.relative_to(run)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place)
    return target


def _published(run: Path, *, audio: bool) -> Iterator[Path]:
    """Yield the files of a run that others need; links are no files of it."""
    cells = [path.parent for _, path in record_files([run])]
    files = [run / LADDER_FILE]
    files += [cell / name for cell in cells for name in (RECORD_FILE, PER_CAPTION, CAPTIONS_FILE)]
    if audio:
        others = sorted([*run.glob(f"{BASELINES}/*"), *run.glob(f"{REFERENCE}/*")])
        files += [folder / CAPTIONS_FILE for folder in others]
        files += [clip for folder in [*cells, *others] for clip in sorted(folder.glob(f"{AUDIO}/*.wav"))]
    yield from (file for file in files if file.is_file() and not file.is_symlink())
