"""What the site adds to docs/: pages at the repository's top, links that lead out of docs/, and the package's layout.

Loaded by mkdocs as a hook, see mkdocs.yml.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path, PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "build" / "docs-sources"
FROM_TOP = {"index.md": "README.md", "contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}
"""Page of the site -> file at the top of the repository."""
ROOMS = ("bench", "methods", "metrics", "leaderboard")
_CODE_OR_LINK = re.compile(
    r"^```.*?^```|^    [^\n]*$|(?<=\]\()(?![a-z]+:|#)(?P<path>[^)#\s]+)(?P<anchor>#[^)\s]*)?(?=\))",
    re.MULTILINE | re.DOTALL,
)


@event_priority(100)  # before mkdocstrings looks for its sources
def on_config(config: MkDocsConfig) -> None:
    """Lay the package out as it is imported: the four folders are subpackages of `admbench`."""
    shutil.rmtree(SOURCES, ignore_errors=True)
    package = SOURCES / "admbench"
    package.mkdir(parents=True)
    for file in (ROOT / "admbench").glob("*.py"):
        (package / file.name).symlink_to(file)
    for room in ROOMS:
        (package / room).symlink_to(ROOT / room)


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the pages that lie at the top of the repository."""
    for page, file in FROM_TOP.items():
        files.append(File.generated(config, page, content=(ROOT / file).read_text(encoding="utf-8")))


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links to pages of the site there, and links to other files of the repository to its host.

    Raises:
        FileNotFoundError: a link leads nowhere.
    """
    here = PurePosixPath(page.file.src_uri)
    source = PurePosixPath(FROM_TOP.get(here.as_posix(), f"docs/{here}"))

    def lead(match: re.Match[str]) -> str:
        if match["path"] is None:
            return match[0]  # code
        target = PurePosixPath(os.path.normpath(source.parent / match["path"]))
        if not (ROOT / target).exists():
            raise FileNotFoundError(f"{source} links to {target}")
        anchor = match["anchor"] or ""
        own = next((uri for uri, file in FROM_TOP.items() if file == target.as_posix()), None)
        if own is None and target.parts[0] == "docs":
            own = target.relative_to("docs").as_posix()
        if own is None or files.get_file_from_path(own) is None:
            kind = "tree" if (ROOT / target).is_dir() else "blob"
            return f"{config.repo_url}/{kind}/main/{target}{anchor}"
        return os.path.relpath(own, here.parent) + anchor

    return _CODE_OR_LINK.sub(lead, markdown)
