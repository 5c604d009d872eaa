"""Products of a job's stages: each is built once for a key, found after a restart, and reused from earlier results.

A stage leaves files in the job's work folder and, last, `stages/NAME.json` with its key, its facts (what the record
needs to know of it) and the hash of every file. Whether a product may be reused is decided by the key, which hashes all
that determines it, and by the files: what does not hold what was written is built again, and the log says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from admbench.bench.run.layout import JobFolder
from admbench.bench.run.products import Sealed, products_of, read_sealed, seal
from admbench.errors import DataError
from admbench.files import flush, flush_folder, link, remove, replace_folder, write_text_atomic
from admbench.hashing import sha256_json

Facts = dict[str, Any]


class Stages:
    """The stages of one job.

    Args:
        work: folder where the products are built.
        reuse: folders of earlier results; a product with the right key is hard-linked from there instead of built.
        report: called with the name of a stage when it starts to build; also for steps inside of one.
    """

    def __init__(self, work: JobFolder, reuse: Sequence[JobFolder], report: Callable[[str], None]) -> None:
        self.work = work
        self._reuse = reuse
        self.report = report
        self._done: dict[str, Sealed] = {}

    def run(self, name: str, inputs: Any, products: Sequence[str], build: Callable[[], Facts]) -> Facts:
        """Return the facts of a stage, building its products only where no folder has them for these inputs.

        Args:
            name: of the stage.
            inputs: JSON value that determines the products.
            products: files and folders, relative to the work folder, that `build` writes.
            build: writes the products and returns JSON facts about them.
        """
        key = sha256_json([name, inputs])
        for folder in (self.work, *self._reuse):
            found = _intact(folder, name, key, products)
            if found is None:
                continue
            if folder != self.work:
                for product in products:
                    remove(self.work.path / product)
                    link(folder.path / product, self.work.path / product)
                self._finish(name, found)
            self._done[name] = found
            return found.facts
        self.report(name)
        for product in products:
            remove(self.work.path / product)
        facts = build()
        self._done[name] = made = Sealed(key, facts, products_of(self.work.path, products))
        self._finish(name, made)
        return facts

    def has(self, name: str, inputs: Any, products: Sequence[str]) -> bool:
        """Return whether a folder of an earlier result has the products of a stage for these inputs."""
        key = sha256_json([name, inputs])
        return any(_intact(folder, name, key, products) is not None for folder in self._reuse)

    def hashes(self, name: str) -> dict[str, str]:
        """Return the SHA-256 of each file that a stage has left, which `run` has returned from, by its path."""
        return {file: product.sha256 for file, product in self._done[name].files.items()}

    def _finish(self, name: str, made: Sealed) -> None:
        """Say that a stage is done, once what it made would survive a power cut."""
        for product in {Path(file).parts[0] for file in made.files}:
            flush(self.work.path / product)
        flush_folder(self.work.path)
        seal(self.work.stage(name), made)


def publish(work: Path, target: Path) -> None:
    """Move a finished work folder to its place; an older folder there disappears only then.

    A process that ends before leaves the finished work folder, which the next run publishes; one that ends right after
    leaves the older folder in its place, which the next run removes (`recovery`).
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    replace_folder(work, target)


class StageReport:
    """Says which stage runs now, through a one-line file that whoever watches the job may read."""

    def __init__(self, work: JobFolder) -> None:
        self._path = work.current_stage

    def __call__(self, stage: str) -> None:
        """Write the name of the stage that begins, and log it."""
        print(f"stage: {stage}", flush=True)
        write_text_atomic(self._path, stage, durable=False)


def _intact(folder: JobFolder, name: str, key: str, products: Sequence[str]) -> Sealed | None:
    """Return what a folder has of a stage; None if nothing, of another key, or not as it was written."""
    path = folder.stage(name)
    if not path.is_file():
        return None
    try:
        found = read_sealed(path)
    except DataError as error:
        print(f"{error}; {name} is built again", flush=True)
        return None
    if found.key != key or not all((folder.path / product).exists() for product in products):
        return None
    fault = found.fault(folder.path, expected=products)
    if fault is not None:
        print(f"{fault}; {name} is built again", flush=True)
        return None
    return found
