"""`bench table` as a command: what it leads with, its formats, and that page, table and gate say the same."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from admbench.bench.cli.app import main
from admbench.bench.cli.run_progress import print_summary
from admbench.bench.run.jobs import CellJob
from admbench.bench.run.layout import JobFolder
from admbench.bench.run.runner import CellResult
from admbench.leaderboard import SitePaths, build_site, read_runs
from admbench.leaderboard.gate import gate
from admbench.leaderboard.reading import LoadedRecord
from admbench.leaderboard.view import view_boards
from admbench.leaderboard.view_words import paragraph, short_verdict

from ..leaderboard.conftest import change, difference, record, write_run
from ..leaderboard.written_results import agree, write_results

N = 96
NOISE = {"fp32": 0.0, "naive@w8a8": 0.05, "ptq4adm@w4a8": 0.1, "awq@w4a8": 0.11, "naive@w4a8": 0.4}
"""How far cells are from full precision; the two in the middle are not told apart."""
MODELS = ("tiny-audioldm", "tiny-tango")


def of_record(model: str, spec: str) -> dict[str, object]:
    """A record; that of naive@w4a8 claims an interval to full precision so wide that it would tie with all."""
    value = record(model, spec, n=N, loss=20 * NOISE[spec])
    if spec != "naive@w4a8":
        return value
    return change(value, scores__fd__difference=difference(1.0, 60.0))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    records = [of_record(model, spec) for model in MODELS for spec in NOISE]
    folder = write_run(tmp_path_factory.mktemp("table") / "run", records)
    write_results(folder, NOISE, N)
    agree(folder)
    return folder


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["table", *arguments]) == 0
    return capsys.readouterr().out


def test_it_leads_with_what_can_be_told(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, str(run), "--versus", "naive")
    assert text.startswith("**At 4-bit weights ")
    assert "shown to beat rounding at the same nominal bits on both models" in text
    assert re.search(r"\| `tiny-tango` \| `ptq4adm@w4a8` \| better \| `naive@w4a8` \| 0\.\d+ times \[0", text)
    assert text.rstrip().endswith("| 96 |")


def test_formats_and_order(run: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "t.tsv"
    printed(capsys, str(run), "--format", "tsv", "--metrics", "fd", "--by", "clap", "--out", str(file))
    rows = list(csv.DictReader(io.StringIO(file.read_text()), delimiter="\t"))
    assert [row["method"] for row in rows if row["model"] == "tiny-tango"] == list(NOISE)
    assert {row["order_by"] for row in rows} == {"clap"}
    text = printed(capsys, str(run), "--format", "tsv", "--versus", "naive@w8a8")
    assert text.split("\n\n")[1].splitlines()[1].split("\t")[2] == "worse"
    value = json.loads(printed(capsys, str(run), "--format", "json", "--versus", "naive"))
    assert {one["word"] for one in value["versus"]} == {"better"}
    assert value["tables"][0]["sorted_by"] == "fd_vs_baseline"


def test_too_few_captions_are_a_warning_in_every_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = write_run(tmp_path / "few", [record(spec=spec, n=12) for spec in NOISE])
    write_results(few, NOISE, 12)
    agree(few)
    for format in ("markdown", "tsv", "json"):
        assert main(["table", str(few), "--format", format]) == 0
        assert "only 12 captions: below 96 intervals can be too short" in "".join(capsys.readouterr()), format


def test_a_score_that_no_record_has_is_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--metrics", "--by"):
        assert main(["table", str(run), option, "fdd"]) == 2
        assert 'no record has the score "fdd"' in capsys.readouterr().err


class Cells(HTMLParser):
    """The rows of a model's page: for each the text of its cells by their key."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[dict[str, str]] = []
        self._key: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        if tag == "tr" and "data-method" in found:
            self.rows.append({"model": str(found["data-group"]), "method": str(found["data-method"])})
        if tag == "td":
            self._key = found.get("data-key")

    def handle_endtag(self, tag: str) -> None:
        if tag == "td":
            self._key = None

    def handle_data(self, data: str) -> None:
        if self._key and self.rows and data.strip():
            self.rows[-1][self._key] = f"{self.rows[-1].get(self._key, '')} {' '.join(data.split())}".strip()


def on_page(site: SitePaths, model: str) -> Iterator[tuple[str, str, str, str, str]]:
    for row in Cells((site.root / "models" / f"{model}.html").read_text()).rows:
        spec = row["method"]
        rank, letters = ("-", "-") if spec == "fp32" else row["rank"].split()
        word = next((one for one in ("no worse", "worse", "cannot be told") if one in row["fd"]), "")
        yield row["model"], spec, rank, letters, word


def in_data(site: SitePaths) -> Iterator[tuple[str, str, str, str, str]]:
    """What the front page's script reads, model by model, each in the order of its rank intervals and values."""
    (path,) = site.root.glob("data/front-*.js")
    (quoted,) = re.findall(r"JSON\.parse\('(.*)'\);", path.read_text())
    packed = json.loads(re.sub(r"\\(.)", r"\1", quoted))
    (one,) = packed["boards"]
    keys = [choice["key"] for choice in one["scores"]]
    order, judged = keys.index(one["score"]), keys.index("fd")
    cells = [(cell[0], cell[1], [place or [None] for place in cell[5]]) for cell in one["cells"]]
    for model, method, scores in sorted(cells, key=lambda cell: (cell[0], cell[2][order][0] or -1)):
        _, _, _, first, last, letters, *_ = [*scores[order], *[None] * 9]
        rank = "-" if first is None else f"{first}" if first == last else f"{first}-{last}"
        word = packed["texts"][[*scores[judged], *[None] * 9][6] or 0]
        name = one["methods"][method]["name"]
        yield one["models"][model]["name"], name, rank, packed["texts"][letters] if letters else "-", word


def in_table(run: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[tuple[str, str, str, str, str]]:
    value = json.loads(printed(capsys, str(run), "--format", "json"))
    for table in value["tables"][0]["models"]:
        for row in table["rows"]:
            first, last = row["rank"] or ("-", "-")
            word = row["verdicts"]["fd"]["word"] if row["verdicts"] else ""
            rank = f"{first}" if first == last else f"{first}-{last}"
            yield table["model"], row["method"], rank, row["letters"] or "-", word


def test_page_table_and_gate_have_one_order_one_set_of_letters_and_one_verdict(
    run: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    site = build_site(read_runs([run]), tmp_path / "site")
    page = [row for model in MODELS for row in on_page(site, model)]
    assert page == list(in_table(run, capsys)) == list(in_data(site))
    places = [("fp32", "-", "-"), ("naive@w8a8", "1", "a"), ("naive@w4a8", "4", "c")]
    for model in MODELS:
        own = [row[1:4] for row in page if row[0] == model]
        assert [*own[:2], own[4]] == places
        assert {row[1:] for row in own[2:4]} == {("2-3", "b")}
    gated = [
        (
            cell.model,
            cell.method,
            cell.standing.rank if cell.standing else "-",
            cell.standing.letters if cell.standing else "-",
            "" if cell.method == "fp32" else cell.verdicts["fd"].word,
        )
        for cell in gate(read_runs([run])).cells
    ]
    assert gated == page
    text = printed(capsys, str(run))
    ordered = re.compile(r"\| `[^`]+` \| [\d-]+ \| [a-z]+ \|")
    lines = [line.split(" | ")[:3] for line in text.splitlines() if ordered.match(line)]
    assert [(line[0].strip("| `"), *line[1:]) for line in lines] == [row[1:4] for row in page if row[1] != "fp32"]


def test_the_last_lines_of_a_run_are_the_conclusion_then_a_short_table(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def result(loaded: LoadedRecord, reason: str | None = None) -> CellResult:
        job = SimpleNamespace(target=JobFolder(loaded.cell), model=loaded.record.model.name)
        return CellResult(cast("CellJob", job), reason, 1.0, False)

    records = read_runs([run])
    failed = result(replace(records[0], path=run / "nothing" / "result.json"), "out of memory")
    print_summary([*map(result, records), failed])
    first, *rows = capsys.readouterr().out.splitlines()
    (view,) = view_boards(records)
    assert first == paragraph(view)
    order = [(model.name, own.spec) for model in view.models for own in model.rows]
    assert [tuple(row.split("\t")[:2]) for row in rows] == order
    nearest = rows[1].split("\t")
    assert nearest[1:4] == ["naive@w8a8", "1", "a"]
    assert nearest[6] == short_verdict(view.models[0].rows[1].verdicts["fd"])
    assert rows[0].split("\t")[2:4] == ["-", "- this is full precision"]
    print_summary([failed])
    assert capsys.readouterr().out == ""
