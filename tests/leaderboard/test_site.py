"""The built site: what is on it, what it refuses, and that nothing in a record becomes markup."""

import csv
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest

from admbench.errors import DataError, UsageError
from admbench.leaderboard import build_site, gather, read_runs
from admbench.leaderboard.record import Record
from admbench.leaderboard.site.folder import MARKER, Folder
from admbench.leaderboard.site.markup import tree
from admbench.leaderboard.site.method_docs import DOCUMENTATION
from admbench.leaderboard.site.pages import again

from .conftest import HASH, ROOFLINE

HOSTILE = """<script>alert(1)</script>"'><img src=x onerror=alert(1)>{{ 7*7 }}</style></title>"""


class Tags(HTMLParser):
    """Every tag with its attributes, and the text outside of scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        if self.lasttag not in ("script", "style"):
            self.text += data


def words(path):
    """The text of a page, on one line."""
    return " ".join(Tags(path.read_text()).text.split())


def cell_pages(site):
    return sorted((site.root / "cells").glob("*.html"))


def test_the_front_page_says_what_can_be_told_with_intervals_letters_ranks_and_reasons(site):
    text = words(site.index)
    for shown in (
        "Of all cells naive@w8a8 stays nearest to full precision on both models (told apart from all others).",
        "Caution: only 12 captions: below 96 intervals can be too short.",
        "2 models, 4 methods: 6 cells done, 1 failed",
        "rank 1",
        "cannot be told",
        "this is full precision",
        "2.84",
    ):
        assert shown in text, shown
    (table,) = re.findall(r'<table class="matrix".*?</table>', site.index.read_text(), re.S)
    rows = [" ".join(Tags(row).text.split()) for row in re.split("<tr[^>]*>", table)[2:]]
    assert [row.split()[0] for row in rows] == ["fp32", "naive@w8a8", "naive@w4a8", "naive@w2a4"]
    assert re.search(r"0\.\d+b \[.*\], rank 2", rows[2])
    assert "failed" not in rows[2]
    assert "out of memory" in rows[3]
    assert "not run" in rows[3]


def test_pages_behind_the_front_page_say_the_rest(site):
    made, model = words(site.root / "made.html"), words(site.root / "models" / "tiny-tango.html")
    for shown in (
        "foley (test), 12 captions",
        "tiny-tagger (03030303) for FD, KL, IS",
        "A Processor 3000, 2 threads",
        "reference ‖ generated",
        "DDIMScheduler, 25 steps, guidance 3, seed 0",
    ):
        assert shown in made, shown
    for shown in ("Apache-2.0", "5,600,000", HASH["weights"], "naive@w4a8 2 b", "87.3 %", "failed out of memory"):
        assert shown in model, shown
    (cell,) = (site.root / "cells").glob("tiny-tango-naive-w4a8-*.html")
    text = words(cell)
    for shown in (
        "of full precision's fd",
        "No worse than fp32?",
        "bench run --models tiny-tango",
        "simulated",
    ):
        assert shown in text, shown
    (method,) = (site.root / "methods").glob("naive-w4a8-*.html")
    for shown in ("weights go to the nearest code", "Round every weight and every layer input to the nearest of"):
        assert shown in words(method)


def test_too_few_captions_are_a_caution_on_every_page_with_a_conclusion(site):
    concluding = [site.index, site.root / "cells.html"]
    concluding += [path for path in cell_pages(site) if "No worse than fp32?" in words(path)]
    concluding += [path for folder in ("models", "methods") for path in (site.root / folder).glob("*.html")]
    assert len(concluding) > 6
    without = [path for path in concluding if "Caution: only 12 captions: below 96" not in words(path)]
    assert without == []


def test_badges_say_with_a_reason_what_to_know_before(site, make_run, make_record, changed, tmp_path):
    text = words(site.index)
    for shown in ("⚠ 12 captions; 96 wanted", "⚠ small judges", "0 of 6 re-scored", "sanity ladder: not run"):
        assert shown in text, shown
    page = site.index.read_text()
    described = re.findall(r'aria-describedby="(badge-\d+)"', page)
    assert described == re.findall(r'role="tooltip" id="(badge-\d+)"', page) != []
    scores = {key: score | {"backbone": "panns-cnn14-16k"} for key, score in make_record()["scores"].items()}
    paper = {"citation": "A paper, 2026", "url": None, "read": "abstract"}
    value = changed(make_record(), scores=scores, method__paper=paper, method__track="fine-tuned")
    value = changed(value, model__random_weights=True)
    text = words(build_site(read_runs([make_run([value], "large")]), tmp_path / "large-site").index)
    assert "small judges" not in text
    for shown in (
        "judged by panns-cnn14-16k",
        "reconstructed from an abstract",
        "fine-tuned methods",
        "random weights",
    ):
        assert shown in text, shown


def test_a_time_beside_other_work_is_marked_wherever_it_stands(make_run, make_record, changed, tmp_path):
    def timed(spec, load):
        step = {"median": 20.0, "p10": 19.0, "p90": 21.0, "values": [19.0, 20.0, 21.0]}
        full = {"median": 30.0, "p10": 29.0, "p90": 31.0, "values": [29.0, 30.0, 31.0]}
        latency = {"kernel": "onednn", "step_ms": step, "baseline_step_ms": full, "speedup": 1.5, "other_load": load}
        return changed(make_record(spec=spec), latency=latency, method__simulated=False)

    site = build_site(read_runs([make_run([timed("naive@w8a8", 0.1), timed("naive@w4a8", 1.3)])]), tmp_path / "site")
    (alone,), (busy,) = (list((site.root / "cells").glob(f"tiny-tango-naive-{bits}a8-*")) for bits in ("w8", "w4"))
    assert "1.50\N{MULTIPLICATION SIGN} onednn: 20 ms a step, fp32 30 ms" in words(alone)
    assert "other work" not in words(alone)
    assert "other work on 1.3 cores ran beside it" in words(busy)
    assert "timed on a busy machine" in words(site.index)
    assert "times fp32's" in words(site.index)


def test_memory_to_generate_stands_apart_from_calibration_and_full_precision_has_a_time(
    make_run, make_record, changed, tmp_path
):
    step = {"median": 30.0, "p10": 29.0, "p90": 31.0, "values": [29.0, 30.0, 31.0]}
    full = {"kernel": None, "reason": "no layer is quantized", "baseline_step_ms": step}
    memory = {"peak_bytes": 3_000_000_000, "quantization_bytes": 3_000_000_000, "generation_bytes": 812_000_000}
    records = [
        changed(make_record(), memory=memory),
        changed(make_record(spec="fp32", loss=0), latency=full, method__layers=[], method__simulated=False),
    ]
    site = build_site(read_runs([make_run(records)]), tmp_path / "site")
    pages = {page.name: words(page) for page in cell_pages(site)}
    (own,) = (text for name, text in pages.items() if "fp32" in name)
    (quantized,) = (text for text in pages.values() if text != own)
    assert "Memory to generate and score812 MB" in quantized
    assert "Peak memory of its process3000 MB" in quantized
    assert "fp32 step median, beside it30 ms" in own


@pytest.mark.parametrize(("key", "value"), [("bytes_per_second", "fast"), ("layers", [{"ms": -1}]), ("layers", 3)])
def test_a_roofline_that_is_none_is_not_drawn(make_run, make_record, changed, tmp_path, key, value):
    record = changed(
        make_record(), latency={"kernel": None, "reason": "simulated", "roofline": {**ROOFLINE, key: value}}
    )
    site = build_site(read_runs([make_run([record])]), tmp_path / "site")
    assert "roofline-plot" not in cell_pages(site)[0].read_text()


def test_the_front_page_of_a_large_board_is_bounded(site, tmp_path, monkeypatch):
    for name, most in (("MOST_ROWS", 2), ("MOST_MODELS", 1), ("MOST_ACROSS", 1)):
        monkeypatch.setattr(f"admbench.leaderboard.site.build.{name}", most)
    page = build_site(read_runs([site.root.parent / "run"]), tmp_path / "site").index.read_text()
    matrix, tradeoff, *across = re.findall(r"<tbody>(.*?)</tbody>", page, re.S)
    assert [len(re.findall("<tr", one)) for one in (matrix, *across)] == [2, 1]
    assert len(re.findall("<tr", tradeoff)) <= 2
    assert "and 1 more" in across[0]
    assert "4 methods on 2 models" in page


def test_downloads_hold_the_same_rows(site):
    rows = json.loads(site.table_json.read_text())
    with site.table_csv.open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(rows) == len(lines) == 7
    assert [row["method"] for row in rows] == [line["method"] for line in lines]
    assert float(lines[0]["fd"]) == rows[0]["fd"]
    failed = next(line for line in lines if line["status"] == "failed")
    assert (failed["fd"], failed["fd_reason"]) == ("", "the cell failed")


def test_every_record_can_be_downloaded_as_it_was(site):
    records = [
        link.removeprefix("../")
        for page in cell_pages(site)
        for link in re.findall(r'href="([^"]*records/[^"]*)"', page.read_text())
    ]
    assert len(set(records)) == 7
    assert {json.loads((site.root / link).read_text())["method"]["spec"] for link in records} == {
        "fp32",
        "naive@w8a8",
        "naive@w4a8",
        "naive@w2a4",
    }


def test_without_audio_there_is_no_listening_page(make_run, make_record, tmp_path):
    site = build_site(read_runs([make_run([make_record()])]), tmp_path / "site")
    assert site.listening is None
    assert not (site.root / "listen.html").exists()
    assert "listen.html" not in site.index.read_text()


def test_two_boards_say_why_they_are_two(make_run, make_record, tmp_path):
    run = make_run([make_record(n=4), make_record("other", n=8)])
    page = build_site(read_runs([run]), tmp_path / "site").index.read_text()
    assert "There are 2 tables because their scores must not be compared" in page
    assert page.count('<table class="matrix"') == 2


def test_the_older_run_of_a_cell_is_named(make_run, make_record, changed, tmp_path):
    newer = changed(make_record(), provenance__started="2026-04-01T00:00:00+00:00")
    runs = [make_run([make_record()], "run-of-march"), make_run([newer], "run-of-april")]
    text = Tags(build_site(read_runs(runs), tmp_path / "site").index.read_text()).text
    assert "tiny-tango naive@w4a8 in run-of-march" in " ".join(text.split())


def hostile_strings(value, key=""):
    """Replace every free string of a record by markup."""
    if isinstance(value, dict):
        return {name: hostile_strings(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [hostile_strings(item, key) for item in value]
    fixed = {"status", "against", "started", "commit", "weights_sha256", "sha256", "backbone_sha256", "spec", "name"}
    fixed |= {"track", "family"}
    return HOSTILE if isinstance(value, str) and key not in fixed and value != "simulated" else value


def test_nothing_in_a_record_becomes_markup(make_run, make_record, make_failed, changed, tmp_path):
    value = hostile_strings(make_record(spec=f"naive@w4a8[{HOSTILE}=1]"))
    value = changed(
        value, model__name=f"m{HOSTILE}", suite__name=f"s{HOSTILE}", method__config={HOSTILE: [HOSTILE, {HOSTILE: 1}]}
    )
    value["environment"]["packages"] = {HOSTILE: HOSTILE}
    value["latency"]["kernel"] = None
    value["size"]["components"] = None
    failed = changed(make_failed(reason=HOSTILE), suite__name=f"s{HOSTILE}", suite__n=4)
    run = make_run([value, failed], audio=True)
    for captions in run.glob("**/captions.json"):
        entries = json.loads(captions.read_text())
        captions.write_text(json.dumps([entry | {"caption": HOSTILE} for entry in entries]))
    site = build_site(read_runs([run]), tmp_path / "site", title=HOSTILE)
    assert len(site.pages) > 6
    for page in site.pages:
        found = Tags(page.read_text())
        scripts = [attributes for tag, attributes in found.tags if tag == "script"]
        assert all(re.fullmatch(r"(\.\./)?(data|assets|clips)/[\w.-]+\.js", one["src"]) for one in scripts), scripts
        assert not any(tag == "style" or "style" in attributes for tag, attributes in found.tags)
        assert not any(name.startswith("on") for _, attributes in found.tags for name in attributes)
        assert all(attributes["src"] != "x" for tag, attributes in found.tags if tag == "img")
        assert "<script>alert" in found.text
        assert "49" not in re.sub(r"[0-9a-f]{8,}", "", found.text).replace("49,", "")
    for data in site.root.glob("data/*.js"):
        assert data.read_text().isascii()


def test_pages_reach_for_nothing_outside_of_their_folder(site):
    assert {page.parent.name for page in site.pages} == {"site", "cells", "models", "methods", "listen"}
    for page in site.pages:
        text = page.read_text()
        for tag, attributes in Tags(text).tags:
            for name in ("src", "href"):
                target = re.split("[?#]", attributes.get(name) or "")[0]
                if tag == "a" and target.startswith(DOCUMENTATION):
                    continue  # followed by a click alone
                assert not re.match(r"[a-z]+:|/", target), (tag, target)
                assert not target or (page.parent / target).is_file(), (page, tag, target)
        assert not re.search(r"https?://|@import|url\(", text.replace(DOCUMENTATION, ""))
        assert "default-src 'none'" in text
        assert "unsafe" not in text


def test_a_page_of_a_paper_is_linked_and_not_loaded(make_run, make_record, changed, tmp_path):
    paper = {"citation": "Frantar et al., GPTQ, 2023", "url": "https://arxiv.org/abs/2210.17323"}
    site = build_site(read_runs([make_run([changed(make_record(), method__paper=paper)])]), tmp_path / "site")
    (page,) = (site.root / "methods").glob("*.html")
    links = [a for tag, a in Tags(page.read_text()).tags if tag == "a" and a["href"].startswith("http")]
    assert [link["href"] for link in links] == [paper["url"], f"{DOCUMENTATION}methods.html#naive"]
    assert {link["rel"] for link in links} == {"noopener noreferrer"}


def test_scripts_and_data_are_named_by_their_content(site):
    names = [path.name for folder in ("assets", "data") for path in (site.root / folder).iterdir()]
    assert names
    for path in (path for folder in ("assets", "data") for path in (site.root / folder).iterdir()):
        (digest,) = re.findall(r"-([0-9a-f]{10})\.", path.name)
        assert hashlib.sha256(path.read_bytes()).hexdigest().startswith(digest)
    assert (site.index.stat().st_size) < 300_000


def test_what_is_invisible_or_piles_up_is_written_out(make_run, make_record, tmp_path):
    run = make_run([make_record()], audio=True)
    hidden = "a\u200b\u00ad\u2060\u200f b" + "o" + "\u0301" * 60
    for captions in run.glob("**/captions.json"):
        entries = json.loads(captions.read_text())
        captions.write_text(json.dumps([entry | {"caption": hidden} for entry in entries]))
    site = build_site(read_runs([run]), tmp_path / "site", title="t\U000e0041\u034fitle")
    assert r"t\U000e0041\u034fitle" in site.index.read_text()
    (page,) = (site.root / "listen").iterdir()
    assert r"a\u200b\u00ad\u2060\u200f b" in page.read_text()
    text = "".join(page.read_text() for page in site.pages)
    assert not re.search("[\u200b\u00ad\u2060\u200f\u034f\U000e0041]|\u0301{4}", text)


def test_a_long_record_makes_no_long_page(make_run, make_record, changed, tmp_path):
    config = {f"option-{number}": "x" * 400 for number in range(90)}
    value = changed(make_record(spec=f"naive@w4a8[{'x' * 400}=1]"), method__config=config)
    site = build_site(read_runs([make_run([value])]), tmp_path / "site")
    assert max(page.stat().st_size for page in site.pages) < 100_000
    (cell,) = cell_pages(site)
    assert "30 more in the record" in words(cell)
    assert "(400 characters in all)" in words(cell)


def test_a_score_called_as_a_column_takes_no_place_of_it(make_run, make_record, changed, tmp_path):
    value = make_record()
    names = ("rank", "board", "rank_low", "letters", "order_by", "state", "model", "fd_low")
    value["scores"] |= {name: value["scores"]["fd"] | {"value": 25 + place / 8} for place, name in enumerate(names)}
    site = build_site(read_runs([make_run([value])]), tmp_path / "site")
    (row,) = json.loads(site.table_json.read_text())
    assert (row["board"], row["model"], row["order_by"]) == (
        "foley (test), 4 captions, 02020202",
        "tiny-tango",
        "fd_vs_baseline",
    )
    assert row["rank_low"] is None
    assert [row[f"score.{name}"] for name in names] == [25 + place / 8 for place in range(len(names))]


def test_formulas_are_quoted_in_the_csv(make_run, make_failed, tmp_path):
    run = make_run([make_failed(reason="=HYPERLINK(1)")])
    with build_site(read_runs([run]), tmp_path / "site").table_csv.open(newline="") as file:
        assert next(csv.DictReader(file))["reason"] == "'=HYPERLINK(1)"


def test_a_site_is_replaced_and_anything_else_is_not(make_run, make_record, tmp_path):
    records = read_runs([make_run([make_record()])])
    out = tmp_path / "site"
    build_site(records, out)
    (out / "left-over.html").write_text("old")
    build_site(records, out)
    assert not (out / "left-over.html").exists()
    other = tmp_path / "precious"
    other.mkdir()
    (other / "thesis.tex").write_text("...")
    with pytest.raises(UsageError, match="holds something else than a site"):
        build_site(records, other)
    with pytest.raises(UsageError, match="is a file"):
        build_site(records, other / "thesis.tex")
    with pytest.raises(DataError, match="no records"):
        build_site([], tmp_path / "new")


def test_what_is_unchanged_is_not_written_again(make_run, make_record, tmp_path):
    def build(records, name):
        return build_site(read_runs([make_run(records, name, audio=True)]), tmp_path / "site")

    old, new = make_record(), make_record(spec="naive@w8a8")
    first = build([old, new], "a")
    before = {path: path.stat() for path in first.root.rglob("*") if path.is_file()}
    again = build([old, new], "a-second-time")
    assert (first.kept, first.written) == (0, len(before))
    assert any(path.parent.name == "clips" for path in before)
    named = {path.relative_to(first.root).parts[0] for path in before if path.stat().st_ino != before[path].st_ino}
    assert again.kept > 0.5 * len(before)
    assert named <= {"index.html", "cells", "feed.atom", "feed.json"}  # what names the run's folder


def test_a_clip_of_another_format_is_made_anew_and_a_link_is_not_followed(tmp_path):
    previous, secret = tmp_path / "old", tmp_path / "secret"
    Folder(previous).write("clips/a.js", b"old")
    secret.write_bytes(b"1")
    (previous / "data.js").symlink_to(secret)
    kept, new = Folder(tmp_path / "kept", previous), Folder(tmp_path / "new", previous)
    kept.write("data.js", b"1")
    kept.write("data.js", b"1")
    with pytest.raises(FileExistsError, match=r"data\.js is two files"):
        kept.write("data.js", b"2")
    assert not (tmp_path / "kept" / "data.js").is_symlink()
    assert kept.keep("clips/a.js")
    kept.write("clips/a.js", b"old")
    (previous / MARKER).unlink()  # its other names keep what they hold
    (previous / MARKER).write_text("an older one")
    assert not Folder(tmp_path / "newer", previous).keep("clips/a.js")
    assert new.keep("clips/a.js")


def test_a_build_that_fails_leaves_the_old_site(make_run, make_record, tmp_path, monkeypatch):
    run = make_run([make_record()], audio=True)
    out = tmp_path / "site"
    build_site(read_runs([run]), out)
    before = (out / "index.html").read_text()

    def no_space(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr("admbench.leaderboard.site.build.downloads.write_data", no_space)
    with pytest.raises(OSError, match="No space"):
        build_site(read_runs([run]), out)
    assert (out / "index.html").read_text() == before
    assert {path.name for path in tmp_path.iterdir()} == {"run", "site"}


def test_what_cannot_be_shown_is_listed_with_its_reason(make_run, make_record, tmp_path):
    run = make_run([make_record(), make_record(spec="fp32", loss=0)])
    (run / "ladder.json").write_text("{}")
    (run / "cells" / "tiny-tango" / "fp32" / "result.json").write_text('{"a": <script>}')
    gathered = gather([run])
    site = build_site(gathered.records, tmp_path / "site", quarantined=gathered.quarantined)
    text = words(site.root / "quarantine.html")
    assert "1 file left out" not in words(site.index)
    assert "2 files left out" in words(site.index)
    assert "tiny-tango/fp32: not valid JSON" in text
    assert "run/ladder.json: schema_version: Field required" in text
    assert str(tmp_path) not in text


def test_the_same_records_make_the_same_site(make_run, make_record, tmp_path):
    records = read_runs([make_run([make_record()], audio=True)])
    first, second = build_site(records, tmp_path / "a"), build_site(records, tmp_path / "b")
    files = sorted(path.relative_to(first.root) for path in first.root.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(second.root) for path in second.root.rglob("*") if path.is_file())
    assert all((first.root / file).read_bytes() == (second.root / file).read_bytes() for file in files)


def test_a_part_of_a_record_with_many_entries_is_folded_and_whole():
    packages = {f"package_{k}": f"1.{k}" for k in range(9)}
    shown = str(tree({"packages": packages, "few": {"a": 1}}))
    assert shown.count("<details>") == 1
    assert "<summary>9 entries</summary>" in shown
    assert all(f"<dd>{version}</dd>" in shown for version in packages.values())
    assert "package_<wbr>8" in shown


def test_the_command_that_makes_a_cell_again_says_components_draws_and_batches(make_record):
    value = make_record()
    value["method"] |= {"components": ["text_encoder", "vae"], "repeat": 2}
    command = again(Record.model_validate(value)).split()
    for option, wanted in (("--components", "text_encoder,vae"), ("--repeats", "3"), ("--batch-size", "8")):
        assert command[command.index(option) + 1] == wanted
    plain = again(Record.model_validate(make_record()))
    assert "--components" not in plain
    assert "--repeats" not in plain
