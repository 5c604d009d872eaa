"""Products of a job's stages: each is built once for a key, found after a restart, and reused from earlier results.

A stage leaves files in the job's work folder and, last, `stages/NAME.json` with its key and its facts (what the record
needs to know of it). Whether a product may be reused is decided by the key alone, which hashes all that determines it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from admbench.bench.run.layout import JobFolder
from admbench.errors import DataError
from admbench.files import link, read_json, remove, write_json_atomic, write_text_atomic
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
            facts = _facts_of(folder, name, key, products)
            if facts is None:
                continue
            if folder != self.work:
                for product in products:
                    remove(self.work.path / product)
                    link(folder.path / product, self.work.path / product)
                self._write(name, key, facts)
            return facts
        self.report(name)
        for product in products:
            remove(self.work.path / product)
        facts = build()
        self._write(name, key, facts)
        return facts

    def _write(self, name: str, key: str, facts: Facts) -> None:
        write_json_atomic(self.work.stage(name), {"key": key, "facts": facts})


def publish(work: Path, target: Path) -> None:
    """Move a finished work folder to its place; an older folder there disappears only then.

    A crash in between leaves the finished work folder, which the next run publishes.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    replaced = target.with_name(f".{target.name}.replaced")
    remove(replaced)
    if target.exists():
        os.replace(target, replaced)
    os.replace(work, target)
    remove(replaced)


class StageReport:
    """Says which stage runs now, through a one-line file that whoever watches the job may read."""

    def __init__(self, work: JobFolder) -> None:
        self._path = work.current_stage

    def __call__(self, stage: str) -> None:
        """Write the name of the stage that begins, and log it."""
        print(f"stage: {stage}", flush=True)
        write_text_atomic(self._path, stage)


def _facts_of(folder: JobFolder, name: str, key: str, products: Sequence[str]) -> Facts | None:
    path = folder.stage(name)
    if not path.is_file():
        return None
    try:
        written = read_json(path)
    except DataError:
        return None  # not written by this class: build again
    if not isinstance(written, dict) or written.get("key") != key:
        return None
    return written["facts"] if all((folder.path / product).exists() for product in products) else None
