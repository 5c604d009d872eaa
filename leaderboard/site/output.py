"""The folder of a site: its pages, and beside them scripts, styles and data, each named by the hash of its content.

A page opens from the file system, where a browser refuses to fetch: data is a script that sets a value of `boardData`.
No page holds a script or a style of its own, and its policy allows none. What is invisible in a text is written out by
`finalize`, wherever a template shows it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from admbench.leaderboard.site.folder import Folder
from admbench.plain_text import visible_lines

POLICY = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; img-src 'self' file:; media-src 'self' file:; "
    "style-src 'self' file:; script-src 'self' file:"
)
"""Content security policy of every page: this folder's own files and nothing else."""
_PACKAGE = "admbench.leaderboard.site"


class Output:
    """A site that is being written.

    Args:
        folder: where it goes.
        shared: what every template may read.
    """

    def __init__(self, folder: Folder, shared: dict[str, Any]) -> None:
        self._folder, self._shared = folder, shared
        self._written: dict[str, str] = {}
        self._environment = jinja2.Environment(
            loader=jinja2.PackageLoader(_PACKAGE),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            finalize=_seen,
        )
        self._environment.globals.update(shared, policy=Markup(POLICY), asset=self.asset)

    def share(self) -> Shared:
        """Return what another process writes into the same site with."""
        return Shared(self._folder.elsewhere(), self._shared)

    def counted(self, counts: tuple[int, int]) -> None:
        """Count the files that another process wrote, and those that it kept."""
        self._folder.written += counts[0]
        self._folder.kept += counts[1]

    def take_counts(self) -> tuple[int, int]:
        """Files written and kept since this was last asked."""
        found = self._folder.written, self._folder.kept
        self._folder.written = self._folder.kept = 0
        return found

    def asset(self, name: str) -> str:
        """Write a file of this package, `static/front.js`, once, and return its path from the root of the site."""
        if name not in self._written:
            data = (files(_PACKAGE) / name).read_bytes()
            self._written[name] = self._write("assets", Path(name).name, data)
        return self._written[name]

    def data(self, name: str, value: Any) -> str:
        """Write a JSON value as a script that sets `boardData.NAME`, and return its path from the root of the site."""
        text = json.dumps(value, separators=(",", ":"), allow_nan=False)
        # browsers read megabytes of JSON in half the time that they read them as a script
        quoted = text.replace("\\", "\\\\").replace("'", "\\'")
        script = f"\"use strict\";(globalThis.boardData??={{}})[{json.dumps(name)}]=JSON.parse('{quoted}');\n"
        return self._write("data", f"{name}.js", script.encode("ascii"))

    def page(self, path: str, template: str, **context: Any) -> None:
        """Write a page from a template; in it `up` leads to the root of the site."""
        up = "../" * path.count("/")
        text = self._environment.get_template(template).render(up=up, here=path, **context)
        self.write(path, text)

    def write(self, path: str, text: str) -> None:
        """Write a text file; folders are made."""
        self._folder.write(path, text.encode())

    def write_bytes(self, path: str, data: bytes) -> None:
        """Write a file; folders are made."""
        self._folder.write(path, data)

    def _write(self, folder: str, name: str, data: bytes) -> str:
        stem, dot, ending = name.partition(".")
        path = f"{folder}/{stem}-{hashlib.sha256(data).hexdigest()[:10]}{dot}{ending}"
        self._folder.write(path, data)
        return path


@dataclass(frozen=True)
class Shared:
    """A site that another process is writing too."""

    folder: Folder
    values: dict[str, Any]
    """That every template may read."""

    def output(self) -> Output:
        """Return the output into this site, of which a process has one: templates are compiled once."""
        if self.folder.root not in _OUTPUTS:
            _OUTPUTS.clear()
            _OUTPUTS[self.folder.root] = Output(self.folder, self.values)
        return _OUTPUTS[self.folder.root]


_OUTPUTS: dict[Path, Output] = {}
"""By the folder of the site; the last alone."""


def _seen(value: Any) -> Any:
    """Write out what is invisible in a text that a template shows; markup of the templates themselves is kept."""
    return visible_lines(value) if type(value) is str else value
