"""How long a board of many records takes: reading, building, and the first view and a sort in a browser.

    python -m benchmarks.board --records 1000 [--runs FOLDER]

The records are made up (`admbench.leaderboard.many`), and stay in FOLDER, where a second call finds them. It prints the
seconds of each part, the peak memory of all processes, the site's size, and what building again takes and writes: when
nothing changed, and when one record did. With playwright and a Chromium on the path also the time until a
page of the browser is ready, and that of a sort. What is remembered of boards lies in a folder of its own, so that the
first build computes everything.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from admbench.bench.measurement.environment import cores
from admbench.files import directory_bytes
from admbench.leaderboard import SitePaths, build_site, gather
from admbench.leaderboard.many import write_many
from admbench.leaderboard.run_folder import RECORDS
from admbench.leaderboard.workers import workers

TITLE = "Made-up records"
SORTS = 5
"""Of which the median is said."""
_SORT = """(selector) => {
  const begun = performance.now();
  document.querySelector(selector).click();
  return new Promise((done) => requestAnimationFrame(() => setTimeout(() => done(performance.now() - begun))));
}"""
PAGES = (
    ("index.html", "table.matrix button[data-sort]", "table.matrix button[data-sort='size']"),
    ("cells.html", ".tabulator-row", ".tabulator-col[tabulator-field='fact.size']"),
)
"""Page, what is there when it can be read, what sorts it."""


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Print the seconds of a block, of the clock and of processors."""
    clock, own = time.perf_counter(), _processor_seconds()
    yield
    clock, own = time.perf_counter() - clock, _processor_seconds() - own
    print(f"{what:<28} {clock:8.1f} s, {own:8.1f} s of processors", flush=True)


def _processor_seconds() -> float:
    """Of this process and of those that it started, whether they have ended or not."""
    running = (Path(f"/proc/{child.pid}/stat") for child in multiprocessing.active_children())
    ticks = sum(sum(map(int, _after_name(file)[11:13])) for file in running if file.exists())
    return sum(os.times()[:4]) + ticks / os.sysconf("SC_CLK_TCK")


def _after_name(stat: Path) -> list[str]:
    """Return what proc(5) says of a process from its third field on; its name may hold blanks."""
    return stat.read_text().rpartition(")")[2].split()


def _peak_megabytes() -> float:
    """Of this process and of those that it started and that still run, each at its own largest."""
    running = ["self", *(child.pid for child in multiprocessing.active_children())]
    said = (Path(f"/proc/{one}/status").read_text().partition("VmHWM:")[2].split()[0] for one in running)
    return sum(int(kilobytes) for kilobytes in said) * 1024 / 1e6  # "kB" there are of 1024 bytes


def measure_build(runs: Path, records: int, site: Path) -> None:
    """Print the times of making, reading and building, of the first time and when little or nothing changed."""
    if not any(runs.glob("run-*")):
        with timed(f"making {records} records"):
            write_many(runs, records)
    known = sorted(runs.glob("run-*"))
    built = _build("first build", known, site)
    again = _build("again", known, site)
    print(f"{built.written} files; the second time {again.written} written, {again.kept} unchanged")
    with tempfile.TemporaryDirectory() as folder:
        more = _build("again, one record changed", [_changed(known[0], Path(folder)), *known[1:]], site)
    print(f"{more.written} written, {more.kept} unchanged")
    print(f"{directory_bytes(site) / 1e6:.0f} MB, index.html {(site / 'index.html').stat().st_size / 1e3:.0f} kB")


def _changed(run: Path, folder: Path) -> Path:
    """Copy a run, with one of its records as it were of another day."""
    copy = shutil.copytree(run, folder / run.name)
    path = min(copy.glob(RECORDS))
    record = json.loads(path.read_text())
    record["provenance"]["started"] = "2026-03-02T10:00:00+00:00"
    path.write_text(json.dumps(record), encoding="ascii")
    return copy


def _build(what: str, runs: list[Path], site: Path) -> SitePaths:
    with timed(what), workers(cores()):
        with timed("  reading"):
            gathered = gather(runs, processes=cores(), remembered=True)
        with timed("  building"):
            built = build_site(gathered.records, site, title=TITLE, processes=cores(), remembered=True)
        left_out, peak = len(gathered.quarantined), _peak_megabytes()
    print(f"{len(gathered.records)} records, {left_out} left out; {peak:.0f} MB at most, {cores()} cores")
    return built


def measure_browser(site: Path) -> None:
    """Print how long pages take until they can be read, and until a sort is drawn."""
    chromium = shutil.which("chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        chromium = None
    if chromium is None:
        print("browser: not measured; expected playwright and chromium on the path")
        return
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for name, ready, sorts in PAGES:
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            busy = _Busy(page)
            page.goto((site / name).as_uri(), wait_until="commit", timeout=120_000)
            page.wait_for_selector(ready, timeout=120_000)
            first: float = page.evaluate("performance.now()")
            own = busy.milliseconds()
            page.wait_for_load_state("load", timeout=120_000)
            times, owns = zip(*sorted(_sorting(page, sorts, busy) for _ in range(SORTS)), strict=True)
            print(f"{name:<28} {first / 1e3:8.2f} s to the first view, {own / 1e3:.2f} s of a processor")
            sort, sort_own = times[SORTS // 2], sorted(owns)[SORTS // 2]
            print(f"{'':<28} {sort:8.0f} ms a sort, {sort_own:.0f} ms of a processor")
            page.close()
        browser.close()


class _Busy:
    """The time that a page's main thread has computed, which a busy machine does not make longer."""

    def __init__(self, page: Any) -> None:
        self._session = page.context.new_cdp_session(page)
        self._session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def milliseconds(self) -> float:
        """Return it, since the page was opened."""
        found = self._session.send("Performance.getMetrics")["metrics"]
        return 1e3 * float(next(one["value"] for one in found if one["name"] == "TaskDuration"))


def _sorting(page: Any, selector: str, busy: _Busy) -> tuple[float, float]:
    before = busy.milliseconds()
    taken: float = page.evaluate(_SORT, selector)
    return taken, busy.milliseconds() - before


def main() -> None:
    """Measure; see the module."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--records", type=int, default=1000)
    parser.add_argument("--runs", type=Path, help="folder of made-up runs; a temporary one, if none is named")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ADMBENCH_CACHE"] = str(Path(folder) / "cache")
        site = Path(folder) / "site"
        measure_build(arguments.runs or Path(folder) / "runs", arguments.records, site)
        measure_browser(site)


if __name__ == "__main__":
    main()
