"""The leaderboard of one run folder, built again only when something on it changed."""

from __future__ import annotations

from pathlib import Path

from admbench.bench.run.layout import RunLayout
from admbench.files import write_text_atomic
from admbench.hashing import sha256_file, sha256_json
from admbench.leaderboard.run_folder import VALIDATION_FILE
from admbench.versions import source_sha256


def publish_site(run: Path) -> Path:
    """Write `RUN/site` from the records of a run and return it; a page that shows these records already is kept.

    A record that is not valid is listed there with its reason.

    Raises:
        DataError: no record in the folder is valid.
    """
    from admbench.leaderboard.reading import gather
    from admbench.leaderboard.site import build_site

    layout = RunLayout(run)
    site, mark = layout.site, layout.site_key
    key = _content_key(layout)
    if (site / "index.html").is_file() and mark.is_file() and mark.read_text(encoding="ascii") == key:
        return site
    mark.unlink(missing_ok=True)
    gathered = gather([run])
    build_site(gathered.records, site, quarantined=gathered.quarantined)
    write_text_atomic(mark, key)
    return site


def _content_key(layout: RunLayout) -> str:
    """Hash everything that the page shows and the code that shows it; audio follows from a record's own provenance."""
    more = (layout.ladder, layout.run / VALIDATION_FILE)
    files = [*layout.records(), *(path for path in more if path.is_file())]
    shown = {path.relative_to(layout.run).as_posix(): sha256_file(path) for path in files}
    return sha256_json([shown, source_sha256("admbench.leaderboard")])
