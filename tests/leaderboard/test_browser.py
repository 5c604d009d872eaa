"""The pages in a real browser: sorting, filtering, state in the URL, sound and spectrograms, nothing from a network."""

import shutil

import pytest

from admbench.leaderboard import build_site, read_runs

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
ORDER = (
    "rows => rows.filter(row => !row.hidden).map(row => row.querySelector('a').textContent + ' ' + row.dataset.model)"
)


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no chromium on the path")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def new_page(browser, **options):
    page = browser.new_page(viewport={"width": 1280, "height": 800}, **options)
    page.set_default_timeout(120_000)  # a busy machine is no failure
    return page


@pytest.fixture
def page(browser):
    """A page that fails its test on a script error, a refused resource, a dialog, or a request to a network."""
    page = new_page(browser)
    trouble: list[str] = []
    page.on("pageerror", lambda error: trouble.append(f"error: {error}"))
    page.on("console", lambda message: trouble.append(message.text) if message.type == "error" else None)
    page.on("dialog", lambda dialog: (trouble.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    page.on("request", lambda request: None if request.url.startswith("file:") else trouble.append(request.url))
    page.on(
        "requestfailed",  # leaving a page aborts the spectrograms that it is still loading
        lambda request: None if "ABORTED" in request.failure else trouble.append(f"{request.failure}: {request.url}"),
    )
    yield page
    page.close()
    assert trouble == []


def order(page):
    return page.eval_on_selector_all("table.board tbody tr", ORDER)


def header(page, name):
    return page.get_by_role("button", name=name, exact=True)


def test_columns_sort_both_ways_with_missing_values_last(site, page):
    page.goto(site.index.as_uri())
    ranked = order(page)
    assert [row.split()[0] for row in ranked[3:]] == ["fp32", "naive@w8a8", "naive@w4a8", "naive@w2a4"]
    header(page, "FD to fp32 (lower is better)").click()
    up, last = order(page), {"fp32", "naive@w2a4"}
    assert [row.split()[0] for row in up[:4]] == ["naive@w8a8"] * 2 + ["naive@w4a8"] * 2
    assert {row.split()[0] for row in up[4:]} == last
    assert page.locator("th[aria-sort=ascending]").inner_text().startswith("FD to fp32")
    header(page, "FD to fp32 (lower is better)").click()
    down = order(page)
    assert [row.split()[0] for row in down[:4]] == ["naive@w4a8"] * 2 + ["naive@w8a8"] * 2
    assert {row.split()[0] for row in down[4:]} == last
    assert page.locator("th[aria-sort=descending]").count() == 1
    page.get_by_role("button", name="Reset").click()
    assert order(page) == ranked
    assert page.locator("th[aria-sort=none]").count() == page.locator("thead button[data-sort]").count()


def test_sorting_by_rank_keeps_the_order_of_the_engine(site, page):
    page.goto(site.index.as_uri())
    page.get_by_label("Model").select_option("tiny-tango")
    header(page, "Rank").click()
    assert [row.split()[0] for row in order(page)] == ["naive@w8a8", "naive@w4a8", "fp32", "naive@w2a4"]
    assert page.locator("#told").inner_text().startswith("Of all cells naive@w8a8 stays nearest")


def test_every_column_sorts(site, page):
    page.goto(site.index.as_uri())
    for button in page.locator("button[data-sort]").all():
        button.click()
        assert len(order(page)) == 7
        assert button.locator("..").get_attribute("aria-sort") == "ascending"


def test_sorting_works_from_the_keyboard(site, page):
    page.goto(site.index.as_uri())
    header(page, "CLAP (higher is better)").focus()
    page.keyboard.press("Enter")
    assert page.locator("th[aria-sort=ascending]").inner_text().startswith("CLAP")


def test_the_state_of_the_page_is_in_its_url(site, page, browser):
    page.goto(site.index.as_uri())
    page.get_by_label("Model").select_option("tiny-tango")
    header(page, "Checkpoint (lower is better)").click()
    assert page.url.endswith("#sort=size&order=up&model=tiny-tango")
    shown = order(page)
    assert [row.split()[0] for row in shown] == ["naive@w4a8", "naive@w8a8", "fp32", "naive@w2a4"]
    assert page.locator("figure[data-model=tiny-audioldm]").is_hidden()
    again = new_page(browser)
    again.goto(page.url)
    assert order(again) == shown
    assert again.get_by_label("Model").input_value() == "tiny-tango"
    again.close()


def test_a_broken_hash_is_ignored(site, page):
    page.goto(site.index.as_uri() + "#sort=<script>&model=nobody&order=sideways")
    assert len(order(page)) == 7


def test_a_method_links_to_its_settings(site, page):
    page.goto(site.index.as_uri())
    page.locator("tbody th a").first.click()
    assert page.locator("details[open]").count() == 1
    assert "DDIMScheduler" in page.locator("details[open]").inner_text()


def test_one_model_is_heard_at_a_time(site, page):
    assert site.listening is not None
    page.goto(site.listening.as_uri())
    assert page.locator("section.group:visible").count() == 1
    page.get_by_label("Model").select_option(label="tiny-tango")
    assert page.locator("section.group:visible h2").inner_text() == "tiny-tango"
    page.reload()
    assert page.locator("section.group:visible h2").inner_text() == "tiny-tango"


def test_clips_and_spectrograms_load(site, page):
    page.goto(site.listening.as_uri())
    seconds = page.locator("audio:visible").first.evaluate(
        "audio => new Promise((resolve, reject) => { audio.onloadedmetadata = () => resolve(audio.duration);"
        " audio.onerror = () => reject(audio.error.message); audio.preload = 'auto'; audio.load(); })"
    )
    assert seconds == pytest.approx(0.5, abs=0.01)
    spectrogram = page.locator("img:visible").first
    spectrogram.scroll_into_view_if_needed()
    spectrogram.evaluate("image => image.decode()")
    assert spectrogram.evaluate("image => image.naturalWidth") > 200


@pytest.mark.parametrize("width", [360, 768, 1440])
def test_pages_fit_the_width_of_the_screen(site, page, width):
    page.set_viewport_size({"width": width, "height": 800})
    for path in (site.index, site.listening):
        page.goto(path.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_markup_in_a_record_does_not_run(make_run, make_record, changed, page, tmp_path):
    markup = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    value = changed(make_record(markup), suite__name=markup, method__config={markup: markup}, model__source=markup)
    site = build_site(read_runs([make_run([value], audio=True)]), tmp_path / "site", title=markup)
    for path in (site.index, site.listening):
        page.goto(path.as_uri())
        assert page.locator("h1, h2").first.is_visible()
    page.goto(site.index.as_uri())
    page.get_by_label("Model").select_option(markup)
    assert len(order(page)) == 1


def test_without_scripts_the_table_is_still_there(site, browser):
    page = new_page(browser, java_script_enabled=False)
    page.goto(site.index.as_uri())
    assert page.locator("table.board tbody tr").count() == 7
    assert not page.get_by_label("Model").is_visible()
    page.goto(site.listening.as_uri())
    assert page.locator("section.group").count() == 2
    page.close()
