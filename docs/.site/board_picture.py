"""Make docs/board.png, the picture of the front page in the README, from a site.

    python docs/.site/board_picture.py runs/default/site

It needs playwright and a Chromium on the path, as the tests of pages do.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

OUT = Path(__file__).parents[1] / "board.png"
WIDTH, MARGIN = 1440, 12
"""In pixels of the page; the picture has as many."""


def main(site: Path) -> None:
    """Take the front page of a site, from its top to the end of the matrix."""
    with sync_playwright() as driver:
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": 1000}, color_scheme="light")
        page.goto((site / "index.html").resolve().as_uri())
        page.wait_for_selector("table.matrix button")
        box = page.locator("table.matrix").first.bounding_box()
        if box is None:
            raise SystemExit(f"{site}: its front page shows no matrix")
        page.screenshot(path=OUT, clip={"x": 0, "y": 0, "width": WIDTH, "height": box["y"] + box["height"] + MARGIN})
        browser.close()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("expected one argument, the folder of a site")
    main(Path(sys.argv[1]))
