"""The built site: what is on it, what it refuses, and that nothing in a record becomes markup."""

import csv
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from admbench.errors import DataError, UsageError
from admbench.leaderboard import build_site, gather, read_runs
from admbench.leaderboard.clips import Sound
from admbench.leaderboard.site.spectrogram import mel_decibels, mel_frequencies

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


def test_the_table_shows_scores_intervals_ranks_verdicts_and_reasons(site):
    text = " ".join(Tags(site.index.read_text()).text.split())
    for shown in (
        "Of all cells naive@w8a8 stays nearest to full precision on all 2 models, told apart from all others.",
        "Caution: only 12 captions: below 96 intervals can be too short.",
        "2 models, 4 methods: 6 cells done, 1 failed",
        "foley (test), 12 captions",
        "tiny-tagger (03030303) for FD, KL, IS",
        "A Processor 3000, 2 threads",
        "this is full precision",
        "naive@w4a8tiny-tango 2 b",
        "cannot be told n = ",
        "rank 1",
        "of full precision's fd",
        "reference ‖ generated",
        "2.84 MB",
        "87.3 %",
        "\N{EN DASH} simulated",
        "failed out of memory",
    ):
        assert shown in text, shown


def test_the_banner_names_small_judges_and_only_them(site, make_run, make_record, changed, tmp_path):
    assert "Small judges" in site.index.read_text()
    scores = {key: score | {"backbone": "panns-cnn14-16k"} for key, score in make_record()["scores"].items()}
    run = make_run([changed(make_record(), scores=scores)], "large")
    assert "Small judges" not in build_site(read_runs([run]), tmp_path / "large-site").index.read_text()


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
    links = [attributes["href"] for tag, attributes in Tags(site.index.read_text()).tags if tag == "a"]
    records = [link for link in links if link.startswith("records/")]
    assert len(records) == 7
    assert {json.loads((site.root / link).read_text())["method"]["spec"] for link in records} == {
        "fp32",
        "naive@w8a8",
        "naive@w4a8",
        "naive@w2a4",
    }


def test_the_listening_page_puts_the_baseline_beside_each_method(site):
    assert site.listening is not None
    tags = Tags(site.listening.read_text()).tags
    sources = [attributes["src"] for tag, attributes in tags if tag == "audio"]
    # 3 of 12 captions; per model the reference, fp32 and two methods, and none for the failed cell
    assert len(sources) == 3 * 2 * 4
    assert all((site.root / source).is_file() for source in sources)
    assert all(attributes["preload"] == "none" for tag, attributes in tags if tag == "audio")
    spectrograms = [attributes["src"] for tag, attributes in tags if tag == "img"]
    assert all(Image.open(site.root / spectrogram).format == "PNG" for spectrogram in spectrograms)
    assert "failed: out of memory" in site.listening.read_text()


def test_a_baseline_that_is_no_cell_is_still_heard(make_run, make_record, tmp_path):
    run = make_run([make_record()], audio=True)
    cell = next(run.glob("cells/*/*"))
    (run / "baselines" / "tiny-tango").mkdir(parents=True)
    (run / "baselines" / "tiny-tango" / "captions.json").write_text((cell / "captions.json").read_text())
    (cell / "audio").rename(run / "baselines" / "tiny-tango" / "audio")
    page = build_site(read_runs([run]), tmp_path / "site").listening.read_text()
    assert "baseline.wav" not in page
    assert "/baseline/foley-000.wav" in page


def test_only_recordings_of_the_same_captions_are_references(make_run, make_record, tmp_path):
    run = make_run([make_record()], audio=True)
    page = build_site(read_runs([run]), tmp_path / "same").listening.read_text()
    assert page.count("real audio</small>") == 4
    captions = run / "reference" / "foley" / "captions.json"
    captions.write_text(captions.read_text().replace("test tone", "barking dog"))
    page = build_site(read_runs([run]), tmp_path / "other").listening.read_text()
    assert "real audio</small>" not in page


def test_a_model_without_any_audio_is_not_in_the_selector(make_run, make_record, make_failed, tmp_path):
    run = make_run([make_record("works"), make_failed("breaks")], audio=True)
    page = build_site(read_runs([run]), tmp_path / "site").listening.read_text()
    assert re.findall(r"<option[^>]*>(.*?)</option>", page) == ["works"]


def test_without_audio_there_is_no_listening_page(make_run, make_record, tmp_path):
    site = build_site(read_runs([make_run([make_record()])]), tmp_path / "site")
    assert site.listening is None
    assert not (site.root / "listen.html").exists()
    assert "listen.html" not in site.index.read_text()


def test_two_boards_say_why_they_are_two(make_run, make_record, tmp_path):
    run = make_run([make_record(n=4), make_record("other", n=8)])
    page = build_site(read_runs([run]), tmp_path / "site").index.read_text()
    assert "There are 2 tables because their scores must not be compared" in page
    assert page.count('<table class="board">') == 2


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
    for page in (site.index, site.listening):
        found = Tags(page.read_text())
        assert [tag for tag, _ in found.tags].count("script") == 1
        assert not any(name.startswith("on") for _, attributes in found.tags for name in attributes)
        assert all(attributes["src"] != "x" for tag, attributes in found.tags if tag == "img")
        assert HOSTILE in found.text
        assert "49" not in found.text


def test_pages_reach_for_nothing_outside_of_their_folder(site):
    for page in (site.index, site.listening):
        text = page.read_text()
        for tag, attributes in Tags(text).tags:
            for name in ("src", "href"):
                target = (attributes.get(name) or "").split("#")[0]
                assert not re.match(r"[a-z]+:|/", target), (tag, target)
                assert not target or (site.root / target).is_file(), (tag, target)
        assert not re.search(r"https?://|@import|url\(", text)
        assert "default-src 'none'" in text


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


def test_a_build_that_fails_leaves_the_old_site(make_run, make_record, tmp_path, monkeypatch):
    run = make_run([make_record()], audio=True)
    out = tmp_path / "site"
    build_site(read_runs([run]), out)
    before = (out / "index.html").read_text()

    def no_space(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr("admbench.leaderboard.site.build._write_data", no_space)
    with pytest.raises(OSError, match="No space"):
        build_site(read_runs([run]), out)
    assert (out / "index.html").read_text() == before
    assert {path.name for path in tmp_path.iterdir()} == {"run", "site"}


def test_a_clip_that_is_no_audio_costs_itself_alone(make_run, make_record, tmp_path):
    run = make_run([make_record()], audio=True)
    next(run.glob("cells/*/*/audio/*.wav")).write_bytes(b"no audio")
    page = build_site(read_runs([run]), tmp_path / "site").listening.read_text()
    assert "not a PCM WAV file" in page
    assert str(tmp_path) not in page


def test_what_cannot_be_shown_is_listed_with_its_reason(make_run, make_record, tmp_path):
    run = make_run([make_record(), make_record(spec="fp32", loss=0)])
    (run / "ladder.json").write_text("{}")
    (run / "cells" / "tiny-tango" / "fp32" / "result.json").write_text('{"a": <script>}')
    gathered = gather([run])
    site = build_site(gathered.records, tmp_path / "site", quarantined=gathered.quarantined)
    text = " ".join(Tags(site.index.read_text()).text.split())
    assert "tiny-tango/fp32: not valid JSON" in text
    assert "run/ladder.json: schema_version: Field required" in text
    assert str(tmp_path) not in text


def test_the_same_records_make_the_same_site(make_run, make_record, tmp_path):
    records = read_runs([make_run([make_record()], audio=True)])
    first, second = build_site(records, tmp_path / "a"), build_site(records, tmp_path / "b")
    files = sorted(path.relative_to(first.root) for path in first.root.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(second.root) for path in second.root.rglob("*") if path.is_file())
    assert all((first.root / file).read_bytes() == (second.root / file).read_bytes() for file in files)


def test_a_tone_is_bright_at_its_frequency():
    rate = 16_000
    for frequency in (250.0, 1000.0, 5000.0):
        tone = np.sin(2 * np.pi * frequency * np.arange(rate) / rate).astype(np.float32)
        spectrogram = mel_decibels(Sound(tone, rate))
        loudest = mel_frequencies(rate)[spectrogram.mean(axis=1).argmax()]
        assert abs(loudest - frequency) < 0.1 * frequency + 30


@pytest.mark.parametrize("samples", [1, 50, 16_000, 700_000])
def test_clips_of_any_length_have_a_spectrogram(samples):
    spectrogram = mel_decibels(Sound(np.zeros(samples, np.float32), 16_000))
    assert spectrogram.shape[0] == 96
    assert 1 <= spectrogram.shape[1] <= 300
    assert np.isfinite(spectrogram).all()
