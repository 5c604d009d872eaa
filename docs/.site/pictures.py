"""Take a picture of every page of a site, on a desktop and a phone, light and dark, to look at before it is published.

    python docs/.site/pictures.py runs/default/site build/pictures

Writes FOLDER/PAGE-SCREEN-SCHEME.png, and FOLDER/index.html with all of them beside each other. Prints what the browser
complained of and serious faults of access by axe, a line each; the exit code is 1 if there is any. It needs playwright,
axe-playwright-python and a Chromium on the path, as the tests of pages do.
"""

from __future__ import annotations

import shutil
import sys
from html import escape
from itertools import product
from pathlib import Path
from urllib.parse import quote

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page, sync_playwright

SCREENS = {"desktop": (1440, 900), "phone": (390, 844)}
"""Pixels of the page: width, height of the screen. A picture is as high as its page."""
SCHEMES = ("light", "dark")
TALLEST = 16_000
"""Pixels; Chromium takes no higher picture."""
MOST_WAITS = 100
"""Tenths of a second, for plots."""
FAULTS = """axe.run({preload: false}).then(({violations}) => violations
  .filter(({impact}) => ["serious", "critical"].includes(impact))
  .map(({id, nodes}) => `${id}: ${nodes[0].html.slice(0, 150)}`))"""
DRAWN = "[...document.querySelectorAll('.plot')].every(one => !one.checkVisibility() || one.querySelector('svg'))"


def main(site: Path, folder: Path) -> int:
    """Take the pictures and return how many complaints and faults there are."""
    pages = sorted(path.relative_to(site) for path in site.rglob("*.html"))
    if not pages:
        raise SystemExit(f"{site}: expected the folder of a site, with pages in it")
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    with sync_playwright() as driver:
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for (screen, (width, height)), scheme in product(SCREENS.items(), SCHEMES):
            page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
            complaints: list[str] = []
            page.on(
                "console",
                lambda message, told=complaints: told.append(message.text) if message.type == "error" else None,
            )
            page.on("pageerror", lambda error, told=complaints: told.append(str(error)))
            for path in pages:
                complaints += take(page, site / path, folder / picture(path, screen, scheme))
                for complaint in complaints:
                    print(f"{path}, {screen}, {scheme}: {complaint}")
                count += len(complaints)
                complaints.clear()
            page.close()
        browser.close()
    (folder / "index.html").write_text(sheet(pages), encoding="utf-8")
    return count


def take(page: Page, path: Path, out: Path) -> list[str]:
    """Take the picture of one page; return its plots that are not drawn and its serious faults of access."""
    page.goto(path.resolve().as_uri())
    page.evaluate("dispatchEvent(new Event('beforeprint'))")  # plots that are not in view are drawn too
    for _ in range(MOST_WAITS):  # wait_for_function would need a policy that allows eval
        if page.evaluate(DRAWN):
            break
        page.wait_for_timeout(100)
    undrawn = [] if page.evaluate(DRAWN) else ["a plot is not drawn"]
    width, height = page.evaluate("[innerWidth, document.documentElement.scrollHeight]")
    page.screenshot(path=out, full_page=True, clip={"x": 0, "y": 0, "width": width, "height": min(height, TALLEST)})
    page.evaluate(AXE_SCRIPT)
    found: list[str] = page.evaluate(FAULTS)
    return undrawn + found


def picture(path: Path, screen: str, scheme: str) -> str:
    """Return the name of the picture of one page.

    >>> picture(Path("models/tiny-tango.html"), "phone", "dark")
    'models-tiny-tango-phone-dark.png'
    """
    return f"{'-'.join(path.with_suffix('').parts)}-{screen}-{scheme}.png"


def sheet(pages: list[Path]) -> str:
    """Return a page with the pictures of each page in a row."""
    parts = ["<!DOCTYPE html>", "<meta charset=utf-8>", "<title>Pictures of a site</title>"]
    for path in pages:
        parts.append(f"<h2>{escape(str(path))}</h2>")
        names = [quote(picture(path, screen, scheme)) for screen, scheme in product(SCREENS, SCHEMES)]
        parts += [f'<a href="{name}"><img src="{name}" height="600" loading="lazy"></a>' for name in names]
    return "\n".join([*parts, ""])


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit("expected two arguments, the folder of a site and one for the pictures")
    sys.exit(1 if main(Path(sys.argv[1]), Path(sys.argv[2])) else 0)
