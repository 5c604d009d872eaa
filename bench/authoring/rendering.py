"""Folders of text made from templates."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from admbench.errors import UsageError
from admbench.files import atomic_directory, write_text_atomic


def write_folder(out: Path, package: str, files: Mapping[str, str], facts: Mapping[str, str]) -> list[Path]:
    """Render templates into a new or an empty folder, whole or not at all; return the files.

    Args:
        out: the folder.
        package: what the templates lie in, in its folder `template`.
        files: path in the folder -> template, without `.jinja`. `{name}` in either stands for a fact.
        facts: what the templates name.

    Raises:
        UsageError: the folder holds something.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out}: expected a new or an empty folder")
    templates = Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
    folder = resources.files(package) / "template"
    written = []
    with atomic_directory(out) as made:
        for file, template in files.items():
            place = Path(file.format(**facts))
            text = (folder / f"{template.format(**facts)}.jinja").read_text(encoding="utf-8")
            write_text_atomic(made / place, templates.from_string(text).render(facts))
            written.append(out / place)
    return written
