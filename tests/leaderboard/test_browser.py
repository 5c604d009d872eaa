"""The pages in a real browser: sorting, filters, state in the URL, downloads, plots, keyboard, access, no network."""

import base64
import csv
import io
import json
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import product
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs, urlsplit

import pytest

from admbench.leaderboard import build_site, read_runs

from .browsing import AXE, new_page
from .conftest import SITE_CAPTIONS, failed, score
from .written_results import write_results

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

READER = (Path(__file__).parent / "hyparquet.min.js").read_text().replace("var hyparquet=", "globalThis.hyparquet=", 1)


def methods(page):
    """The methods of the matrix in their order."""
    return page.eval_on_selector_all("table.matrix tbody tr", "rows => rows.map(row => row.dataset.method)")


def sort_by(page, name):
    page.locator("table.matrix").get_by_role("button", name=name, exact=True).click()


def choose(page, menu, *values):
    box = page.locator(f"details[data-menu='{menu}']")
    box.locator("summary").click()
    for value in values:
        box.get_by_label(value, exact=True).click()
    page.keyboard.press("Escape")


def downloaded_file(page, button):
    with page.expect_download() as found:
        page.locator(button).click()
    return Path(found.value.path())


def read_parquet(page, path):
    """The rows of a Parquet file, by a library that did not write it; whole numbers beyond a double's are not met."""
    page.evaluate(READER)
    return page.evaluate(
        """async (text) => {
          const file = Uint8Array.from(atob(text), (one) => one.charCodeAt(0)).buffer;
          const rows = await hyparquet.parquetReadObjects({ file });
          const plain = (value) => typeof value === "bigint" ? Number(value) : value ?? null;
          return rows.map((row) => Object.fromEntries(Object.entries(row).map(([key, value]) => [key, plain(value)])));
        }""",
        base64.b64encode(path.read_bytes()).decode(),
    )


def downloaded(page, button):
    return downloaded_file(page, button).read_text()


def test_the_matrix_says_what_the_table_without_scripts_says(site, page, browser):
    plain = new_page(browser, java_script_enabled=False)
    plain.goto(site.index.as_uri())
    page.goto(site.index.as_uri())
    read = r"rows => rows.map(row => [...row.cells].map(cell => cell.innerText.replace(/[^\w.,@\[\]-]+/g, '')))"
    without = plain.eval_on_selector_all("table.matrix tbody tr", read)
    with_scripts = page.eval_on_selector_all("table.matrix tbody tr", read)
    assert [row[:3] for row in without][:3] == [row[:3] for row in with_scripts][:3]
    assert [row[3:5] for row in without][:3] == [row[3:5] for row in with_scripts][:3]
    assert not plain.locator("#tools").is_visible()
    plain.close()


def test_columns_sort_best_first_and_missing_values_stay_last(site, page):
    page.goto(site.index.as_uri())
    usual = methods(page)
    assert usual == ["fp32", "naive@w8a8", "naive@w4a8", "naive@w2a4"]
    sort_by(page, "tiny-tango (lower is better)")
    assert methods(page) == ["naive@w8a8", "naive@w4a8", "fp32", "naive@w2a4"]
    assert page.locator("th[aria-sort=ascending]").inner_text().startswith("tiny-tango")
    sort_by(page, "tiny-tango (lower is better)")
    assert methods(page) == ["naive@w4a8", "naive@w8a8", "fp32", "naive@w2a4"]
    choose(page, "Columns", "Smaller by, than fp32")
    sort_by(page, "Smaller by (higher is better)")
    assert methods(page) == ["naive@w4a8", "naive@w8a8", "fp32", "naive@w2a4"]
    assert page.locator("th[aria-sort=descending]").count() == 1
    page.locator("#reset").click()
    assert methods(page) == usual
    for button in page.locator("table.matrix th button").all():
        button.click()
    assert sorted(methods(page)) == sorted(usual)


def test_filters_and_columns_are_in_the_url_and_come_back_from_it(site, page, browser):
    page.goto(site.index.as_uri())
    choose(page, "Models", "tiny-tango")
    choose(page, "Bits", "W4A8", "W8A8")
    choose(page, "Columns", "Checked, how far", "Family")
    page.locator("#q").fill("naive")
    page.locator("#score").select_option("fd")
    sort_by(page, "MB (lower is better)")
    asked = parse_qs(urlsplit(page.url).query)
    assert asked["model"] == ["tiny-tango"]
    assert asked["width"] == ["W4A8", "W8A8"]
    assert (asked["q"], asked["score"], asked["sort"], asked["order"]) == (["naive"], ["fd"], ["size"], ["best"])
    assert asked["columns"] == ["bits,size,speedup,verdict,family"]
    shown, heads = methods(page), page.locator("table.matrix thead").inner_text()
    assert shown == ["naive@w4a8", "naive@w8a8"]
    assert "Family" in heads
    assert "Checked" not in heads
    assert "tiny-audioldm" not in heads
    again = new_page(browser)
    again.goto(page.url)
    assert methods(again) == shown
    assert again.locator("table.matrix thead").inner_text() == heads
    again.locator("#tradeoff").scroll_into_view_if_needed()
    again.locator("#tradeoff-panels figure").first.wait_for()
    assert again.locator("#tradeoff-panels figure:visible").count() == 1
    again.close()


def test_a_broken_query_is_ignored(site, page):
    page.goto(site.index.as_uri() + "?sort=<script>&model=nobody&order=sideways&columns=a,b&score=x&x=y")
    assert len(methods(page)) == 4


def test_downloads_are_exactly_what_is_shown(site, page):
    page.goto(site.index.as_uri() + "?model=tiny-tango&width=W4A8&width=W8A8")
    rows = json.loads(downloaded(page, "#json"))
    lines = list(csv.DictReader(io.StringIO(downloaded(page, "#csv"), newline="")))
    assert [row["method"] for row in rows] == [line["method"] for line in lines] == methods(page)
    assert {row["model"] for row in rows} == {"tiny-tango"}
    assert set(rows[0]) == set(lines[0]) >= {"value", "low", "high", "letters", "rank_low", "bits", "checked"}
    cell = page.locator("table.matrix tbody tr").first.locator("td.score")
    assert f"{rows[0]['value']:.2f}" in cell.inner_text()
    assert rows[0]["letters"] in cell.inner_text()
    assert read_parquet(page, downloaded_file(page, "#parquet")) == rows


def test_everything_is_one_file_of_each_kind(site, page):
    rows = json.loads(site.table_json.read_text())
    keys = dict.fromkeys(key for row in rows for key in row)
    assert read_parquet(page, site.table_parquet) == [{key: row.get(key) for key in keys} for row in rows]


def test_a_link_leads_to_a_row_and_to_a_part(site, page):
    page.goto(site.index.as_uri())
    page.locator("tr[data-method='naive@w4a8'] .permalink").focus()
    page.keyboard.press("Enter")
    assert page.locator("tr.pointed").get_attribute("data-method") == "naive@w4a8"
    page.goto(page.url + "&x=bits" if "?" in page.url else page.url.replace("#", "?x=bits#"))
    assert page.locator("tr.pointed").get_attribute("data-method") == "naive@w4a8"
    page.locator("#across-title .permalink").click()
    assert urlsplit(page.url).fragment == "across-title"
    assert page.locator("tr.pointed").count() == 0
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator("#copy").click()
    page.get_by_role("button", name="copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == page.url


def test_everything_can_be_done_from_the_keyboard(site, page):
    page.goto(site.index.as_uri())
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.get_by_role("button", name="Bits (lower is better)").focus()
    page.keyboard.press("Enter")
    assert page.locator("th[aria-sort=ascending]").inner_text().startswith("Bits")
    assert page.evaluate("document.activeElement.dataset.sort") == "bits"
    page.locator("details[data-menu=Models] summary").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    assert "model=tiny-audioldm" in page.url
    assert page.evaluate("document.activeElement.value") == "tiny-audioldm"
    page.keyboard.press("Escape")
    assert page.locator("details[open]").count() == 0
    page.locator(".badge").first.focus()
    assert page.locator(".reason:visible").inner_text().startswith("With fewer than 96 captions")
    page.locator("#tradeoff").scroll_into_view_if_needed()
    page.locator("#tradeoff-panels .plot").first.focus()
    page.keyboard.press("ArrowRight")
    page.get_by_text("rank 1", exact=False).first.wait_for()


def test_plots_name_every_point_and_have_a_table(site, page):
    page.goto(site.index.as_uri())
    panels = page.locator("#tradeoff-panels figure")
    page.locator("#tradeoff").scroll_into_view_if_needed()
    panels.last.wait_for()
    assert panels.count() == 2
    assert "naive@w4a8" in panels.first.locator("svg").text_content()
    rows = page.locator("#tradeoff-table tbody tr")
    assert rows.count() == 4
    assert rows.first.locator("td").last.text_content() == "yes"
    page.locator("#axis-x").select_option("operations")
    assert rows.count() == 1
    assert rows.first.locator("td").nth(1).text_content() == "2.50"
    page.locator("#axis-x").select_option("bits")
    page.locator("#axis-y").select_option("clap")
    assert parse_qs(urlsplit(page.url).query) == {"x": ["bits"], "y": ["clap"]}
    assert "CLAP" in panels.first.locator("svg").text_content()
    assert page.locator("#tradeoff-table thead").text_content().startswith("MethodModelBitsCLAP")
    (cell,) = site.root.glob("cells/tiny-tango-naive-w8a8-*.html")
    page.goto(cell.as_uri())
    assert "onednn-int8-linear" in page.locator("#roofline-plot svg").text_content()
    assert page.locator("#roofline-table tbody tr").count() == 3
    page.goto(next(site.root.glob("models/tiny-tango.html")).as_uri())
    assert page.locator("#widths-plot svg").is_visible()
    assert page.locator("#widths-table tbody tr").count() == 2
    assert page.locator("#steps").is_hidden()


def test_where_names_find_no_room_a_key_and_the_table_say_them(make_run, make_record, tmp_path, page):
    """Of thirty points in one place, on a phone."""
    specs = [f"method-of-a-name-{k}@w4a8" for k in range(30)]
    run = make_run([make_record(spec=spec, n=SITE_CAPTIONS) for spec in specs])
    built = build_site(read_runs([run]), tmp_path / "site")
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(built.index.as_uri() + "?x=size&y=fd")
    plot = page.locator("#tradeoff-panels .plot")
    page.locator("#tradeoff").scroll_into_view_if_needed()
    plot.locator("svg").wait_for()
    labelled = set(plot.locator("svg text").all_text_contents()) & set(specs)
    assert 0 < len(labelled) < len(specs)
    page.locator("#tradeoff .alternative summary").click()
    names = page.locator("#tradeoff-table tbody th").all_inner_texts()
    assert sorted(names) == sorted(specs)
    plot.focus()
    for name in names:  # the points come in the order of the table
        page.keyboard.press("ArrowRight")
        plot.locator("svg text", has_text=name).first.wait_for(state="attached")


def test_latents_by_timestep_and_errors_by_class_of_layers_are_drawn_and_their_tables_say_the_same(
    make_run, make_record, tmp_path, page
):
    full, one, other = (make_record(spec=spec) for spec in ("fp32", "naive@w8a8", "svdquant@w4a8"))
    for record, loss in ((one, 0.0), (other, 6.0)):
        steps = [{"timestep": time, "db": 40.0 - loss - place} for place, time in enumerate((961, 481, 1))]
        latents = score(38.0 - loss, 1.0, 4, against="baseline", higher_is_better=True, steps=steps)
        record["scores"]["latent_sqnr_vs_baseline"] = latents
        record["method"]["layers"] = [
            {"name": f"down.{k}.attn.to_q", "kind": "linear", "weight_bits": 4, "weight_sqnr_db": 20.0 - loss + k}
            for k in range(3)
        ]
    other["scores"]["latent_sqnr_vs_baseline"]["steps"].pop(1)
    built = build_site(read_runs([make_run([full, one, other])]), tmp_path / "site")
    page.goto((built.root / "models" / "tiny-tango.html").as_uri())
    assert page.locator("#steps-plot svg").is_visible()
    cells = page.eval_on_selector_all("#steps-table tr", "rows => rows.map(r => [...r.cells].map(c => c.textContent))")
    assert cells == [
        ["Timestep", "naive@w8a8, dB", "svdquant@w4a8, dB"],
        ["961", "40.0", "34.0"],
        ["481", "39.0", "\u2013"],
        ["1", "38.0", "32.0"],
    ]
    assert page.locator("#layers-plot svg").is_visible()
    assert "21.0 dB (3 of 4 bits)" in page.locator("#layers-table").text_content()


def test_a_method_at_one_width_has_no_plot_of_widths(make_run, make_record, tmp_path, page):
    records = [make_record(model, spec) for model in ("tiny-tango", "tiny-audioldm") for spec in ("fp32", "naive@w4a8")]
    records[-1]["size"]["effective_bits_per_weight"] += 0.05
    built = build_site(read_runs([make_run(records)]), tmp_path / "site")
    page.goto(next(built.root.glob("methods/naive-w4a8*.html")).as_uri())
    assert page.locator("#widths").is_hidden()


def test_what_each_component_stands_is_a_plot_beside_its_table(make_run, make_record, changed, page, tmp_path):
    cells = [("naive@w8a8", "vae"), ("naive@w8a8", "text_encoder"), ("naive@w4a8", "vae")]
    sizes = {"size__components": None, "size__pipeline": None}
    runs = [
        make_run([changed(make_record(spec=spec), method__components=[one], **sizes)], f"run-{place}")
        for place, (spec, one) in enumerate(cells)
    ]
    site = build_site(read_runs(runs), tmp_path / "site")
    (model,) = site.root.glob("models/*.html")
    page.goto(model.as_uri())
    plot = page.locator("#components-plot")
    plot.locator("svg").wait_for()
    assert {"vae", "text_encoder", "naive@w4a8"} <= set(plot.locator("svg text").all_text_contents())
    plot.focus()
    page.keyboard.press("ArrowRight")
    page.get_by_text("vae, naive@w4a8").wait_for()


def test_all_cells_sort_best_first_and_filter(site, page):
    page.goto((site.root / "cells.html").as_uri())
    rows = page.locator(".tabulator-row")
    assert rows.count() == 7
    page.locator(".tabulator-col[tabulator-field='fact.reduction']").focus()
    page.keyboard.press("Enter")
    assert rows.first.inner_text().startswith("naive@w4a8")
    page.locator(".tabulator-col[tabulator-field='fact.bits'] input").fill("< 6")
    page.keyboard.press("Enter")
    page.get_by_text("2 of 7 cells").wait_for()
    assert {row["method"] for row in json.loads(downloaded(page, "#json"))} == {"naive@w4a8"}
    assert parse_qs(urlsplit(page.url).query) == {"1.sort": ["fact.reduction:desc"], "1.fact.bits": ["< 6"]}
    page.reload()
    page.get_by_text("2 of 7 cells").wait_for()
    assert page.locator(".tabulator-col[aria-sort=descending]").get_attribute("tabulator-field") == "fact.reduction"
    rows.first.get_by_role("link").click()
    assert page.locator("h1").inner_text().startswith("naive@w4a8 on tiny-")


def test_a_time_that_was_taken_beside_other_work_is_marked_among_all_cells(make_run, make_record, page, tmp_path):
    step, full = ({"median": ms, "p10": ms, "p90": ms, "values": [ms]} for ms in (20.0, 30.0))
    timed = {"kernel": "onednn", "step_ms": step, "baseline_step_ms": full, "speedup": 1.5}
    records = [make_record(spec=spec) for spec in ("naive@w4a8", "naive@w8a8")]
    for value, load in zip(records, (1.0, 0.0), strict=True):
        value["latency"] = {**timed, "other_load": load}
        value["method"]["simulated"] = False
    site = build_site(read_runs([make_run(records)]), tmp_path / "site")
    page.goto((site.root / "cells.html").as_uri())
    speeds = page.locator(".tabulator-cell[tabulator-field='fact.speedup']").all_inner_texts()
    assert sorted(speeds) == ["1.50", "\N{WARNING SIGN} 1.50"]
    assert {"busy"}.isdisjoint(json.loads(downloaded(page, "#json"))[0])


@pytest.mark.parametrize("width", [360, 768, 1440])
def test_pages_fit_the_width_of_the_screen(site, page, width):
    page.set_viewport_size({"width": width, "height": 800})
    for path in one_of_each(site):
        page.goto(path.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path.name
        if width < 400:  # nor does a part of a page scroll sideways on a phone, its tables among them
            page.evaluate("for (const folded of document.querySelectorAll('details')) folded.open = true")
            assert not page.evaluate(SIDEWAYS), path.name


SIDEWAYS = """[...document.querySelectorAll("body *")].filter(
  one => one.scrollWidth > one.clientWidth + 1 && ["auto", "scroll"].includes(getComputedStyle(one).overflowX)
).map(one => one.className)"""
BELOW = ("cells", "models", "methods", "listen")


def one_of_each(site):
    """The pages at the root, and one of each kind below."""
    below = [next(path for path in site.pages if path.parent.name == kind) for kind in BELOW]
    return [*site.root.glob("*.html"), *below]


def test_every_score_and_fact_of_a_models_cells_is_shown_or_offered(make_run, make_record, tmp_path, page):
    """On pages of models and methods a tick box shows all; whether ticked or not, nothing lies beside the screen."""
    specs = ["fp32", "ptq4adm@w4a8[calibration=mixup-prompt,preset=paper]", "naive@w4a8"]
    records = [make_record(spec=spec, n=SITE_CAPTIONS, loss=float(k)) for k, spec in enumerate(specs)]
    for record in records:
        own = record["scores"]["fd"] | {"value": 123.4, "ci95": [100.1, 222.2], "difference": None}
        record["scores"] |= {f"fd[judge-{k}]": own for k in range(5)}
        record["environment"]["cpu"] = "A Processor of Many Words 3000 with 128 Cores"
    records.append(failed(spec="hqq@w2a16", reason="out of memory, " * 39 + "again", n=SITE_CAPTIONS))
    run = make_run(records)
    write_results(run, dict.fromkeys(specs, 0.1) | {"fp32": 0.0}, SITE_CAPTIONS)
    built = build_site(read_runs([run]), tmp_path / "site")
    pages = [built.root / "models" / "tiny-tango.html", *built.root.glob("methods/ptq4adm*.html")]
    for width, path in product((390, 1280, 1440), pages):
        page.set_viewport_size({"width": width, "height": 800})
        page.goto(path.as_uri())
        row = page.locator("tr[data-method^=ptq4adm]")
        labels = row.locator("td").evaluate_all("cells => cells.map(cell => cell.dataset.label)")
        assert {"Rank", "FD to fp32", "CLAP", "FD [judge-4]", "Bits", "Peak memory", "Machine"} <= set(labels)
        shown = row.locator("td:visible").evaluate_all("cells => cells.map(cell => cell.dataset.label)")
        assert shown == ["Rank", "FD to fp32", "FD", "CLAP", "Bits", "MB", "Speed", "No worse", "Checked"]
        assert not page.evaluate(SIDEWAYS), path.name
        page.get_by_label(f"all {len(labels) - 1} scores and facts of each cell").check()
        assert row.locator("td:visible").count() == len(labels)
        named = "cell => getComputedStyle(cell, '::before').content"
        assert row.locator("td").last.evaluate(named) == '"Machine"'
        assert not page.evaluate(SIDEWAYS), path.name


def test_no_line_breaks_a_methods_name(site, page):
    """In the answer on the front page, and in the sentences of a model."""
    for width, path in product((360, 390, 1280), (site.index, site.root / "models" / "tiny-tango.html")):
        page.set_viewport_size({"width": width, "height": 800})
        page.goto(path.as_uri())
        names = page.locator(":is(.lead, .told) b")
        assert {"naive@w4a8", "naive@w8a8"} >= set(names.all_inner_texts()) != set()
        assert set(names.evaluate_all("names => names.map(name => name.getClientRects().length)")) == {1}


def test_headings_and_methods_stay_in_view(site, page):
    page.set_viewport_size({"width": 760, "height": 240})
    page.goto(site.index.as_uri())
    right, down, heading, method = page.locator(".scroll:has(> .matrix)").evaluate(
        """box => {
          box.scrollTo(150, 120);
          const place = (one, side) =>
            box.querySelector(one).getBoundingClientRect()[side] - box.getBoundingClientRect()[side];
          return [
            box.scrollLeft, box.scrollTop,
            place("thead th:last-child", "top"), place("tbody tr:last-child > :first-child", "left"),
          ];
        }"""
    )
    assert min(right, down) > 50
    assert max(abs(heading), abs(method)) < 2


def test_on_a_phone_a_method_is_a_card(site, page):
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(site.index.as_uri())
    first, second = (page.locator("table.matrix tbody tr").nth(place).bounding_box() for place in (1, 2))
    assert first["height"] > 150
    assert second["y"] > first["y"] + first["height"]
    assert page.locator("table.matrix thead").is_hidden()
    page.get_by_label("Sort").select_option(label="Bits")
    assert page.locator("table.matrix tbody tr").first.get_attribute("data-method") == "naive@w4a8"
    assert parse_qs(urlsplit(page.url).query) == {"sort": ["bits"], "order": ["best"]}
    (model,) = site.root.glob("models/tiny-tango.html")
    page.goto(model.as_uri())
    card = page.locator("table.board tbody tr").nth(1)
    shown, further = card.locator("td[data-label=MB]"), card.locator("td[data-label='Smaller by']")
    assert shown.is_visible()
    assert further.count() == 1
    assert further.is_hidden()
    page.get_by_label("facts of each cell").check()
    assert further.is_visible()
    page.goto((site.root / "cells.html").as_uri())
    rest = page.get_by_role("row").get_by_text("Smaller by")
    assert not any(one.is_visible() for one in rest.all())
    page.get_by_role("button", name="The rest of").first.press("Enter")
    assert sum(one.is_visible() for one in rest.all()) == 1


EVERY_PAGE = pytest.mark.slow(120)
SCREENS = [*product(("light", "dark"), (1280, 390))]


@pytest.mark.parametrize(
    ("scheme", "width", "pages"),
    [("dark", 1280, "one of each"), *(pytest.param(*screen, "all", marks=EVERY_PAGE) for screen in SCREENS)],
)
def test_pages_have_no_serious_fault_of_access(site, page, scheme, width, pages):
    axe = pytest.importorskip("axe_playwright_python.base", reason="axe-playwright-python is not installed")
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 800})
    for path in site.pages if pages == "all" else one_of_each(site):
        page.goto(path.as_uri())
        page.evaluate("for (const folded of document.querySelectorAll('main details')) folded.open = true")
        for button in page.get_by_role("button", name="The rest of").all()[:1]:
            button.click()
        page.evaluate(axe.AXE_SCRIPT)
        found = page.evaluate(AXE)
        assert [one for one in found if one[0] in ("serious", "critical")] == [], path.name


def test_what_is_printed_is_the_table_and_the_plots_and_not_the_tools(site, page):
    page.set_viewport_size({"width": 390, "height": 300})
    page.goto(site.index.as_uri())
    assert page.locator("#tradeoff-panels svg").count() == 0, "they are far below"
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("#tradeoff-panels figure:has(svg)").count() == 2
    page.emulate_media(media="print")
    assert page.locator("table.matrix").is_visible()
    assert page.locator("#tools").is_hidden()


def test_a_site_is_served_from_any_path(site, browser):
    handler = partial(SimpleHTTPRequestHandler, directory=str(site.root.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/{site.root.name}/"
        page, trouble = new_page(browser), []
        page.on("console", lambda message: trouble.append(message.text) if message.type == "error" else None)
        page.on("request", lambda one: None if one.url.startswith((address, "blob:")) else trouble.append(one.url))
        page.goto(address)
        assert methods(page)[0] == "fp32"
        page.locator("table.matrix tbody th a").first.click()
        page.wait_for_url("**/methods/*")
        page.close()
        server.shutdown()
    assert trouble == []


def test_markup_in_a_record_does_not_run(make_run, make_record, changed, page, tmp_path):
    markup = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    value = changed(make_record(markup), suite__name=markup, method__config={markup: markup}, model__source=markup)
    site = build_site(read_runs([make_run([value], audio=True)]), tmp_path / "site", title=markup)
    for path in site.pages:
        page.goto(path.as_uri())
        assert page.locator("h1, h2").first.is_visible()
    page.goto(site.index.as_uri())
    page.locator("table.matrix button[data-sort^='model:']").click()
    assert methods(page) == ["naive@w4a8"]
