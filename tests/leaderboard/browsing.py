"""Debian's Chromium for tests of pages, driven by Playwright."""

import shutil

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]

AXE = """axe.run({preload: false}).then(result => result.violations.map(
  one => [one.impact, one.id, one.nodes.map(node => node.html.slice(0, 150))]))"""


def new_page(browser, **options):
    page = browser.new_page(viewport={"width": 1280, "height": 800}, **options)
    page.set_default_timeout(30_000)  # a busy machine is no failure
    return page
