"""The tables of a page are those of the records: what `bench table` says, between two lines of the page."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from admbench.leaderboard import read_runs
from admbench.leaderboard.comparison import compare
from admbench.leaderboard.comparison_text import to_markdown
from admbench.leaderboard.results_page import against, main, replaced, section
from admbench.leaderboard.versus import Statement
from admbench.methods import registry
from tests.leaderboard.written_results import agree, write_results

PAGE = "# Results\n\n<!-- methods: begin -->\nof before\n<!-- methods: end -->\n\nWhat follows stays.\n"
SPECS = {"fp32": 0.0, "naive@w4a8": 0.5, "gptq@w4a8": 0.1}


@pytest.fixture
def run(make_run, make_record) -> Path:
    folder = make_run([make_record(spec=spec, n=96) for spec in SPECS])
    write_results(folder, SPECS)
    agree(folder)
    return folder


def test_a_section_is_what_the_records_give_and_the_rest_stays(run, tmp_path):
    page = tmp_path / "results.md"
    page.write_text(PAGE)
    assert main([str(page), f"methods={run}"]) == 0
    text = page.read_text()
    assert text.startswith("# Results\n\n<!-- methods: begin -->\n\nMade from 3 records (schema ")
    assert text.endswith("<!-- methods: end -->\n\nWhat follows stays.\n")
    assert "of before" not in text
    table = to_markdown(compare(read_runs([run]))).replace("[^", "[^methods-")
    assert table.strip() in text
    assert "| `tiny-tango` | `gptq@w4a8` | better | `naive@w4a8` |" in text
    assert "| `gptq@w4a8` | `naive@w4a8` | `tiny-tango` |" in text
    again = page.read_text()
    assert main([str(page), f"methods={run}"]) == 0
    assert page.read_text() == again


def test_models_are_listed_by_what_is_said_of_them():
    numbers = ("ratio", 0.5, 0.4, 0.6, 96, None)
    said = {"a": "better", "b": "not told apart", "c": "better"}
    statements = [Statement(model, "m@w4a8", "naive@w4a8", "fd", word, *numbers) for model, word in said.items()]
    assert against(statements).splitlines()[2] == "| `m@w4a8` | `naive@w4a8` | `a`, `c` | `b` |"


@pytest.mark.parametrize("page", ["", "<!-- a: begin -->", "<!-- a: end --><!-- a: begin -->", PAGE.replace("end", "")])
def test_a_page_without_the_section_is_refused_in_one_line(page, run, tmp_path, capsys):
    file = tmp_path / "page.md"
    file.write_text(page)
    assert main([str(file), f"a={run}"]) == 2
    assert 'the page has no section "a"' in capsys.readouterr().err
    assert main([str(file), str(run)]) == 2
    assert "expected NAME=RUN" in capsys.readouterr().err
    assert file.read_text() == page


def test_a_section_holds_no_mark_of_another(run):
    first, second = (section(name, read_runs([run])) for name in ("one", "two"))
    assert "[^one-1]: " in first
    assert "[^one-" not in second
    assert replaced("<!-- x: begin -->\n<!-- x: end -->", "x", first).count("[^one-1]: ") == 1


def test_in_short_it_is_the_conclusion_and_one_table_of_methods_by_models(make_run, make_record, tmp_path):
    models = ("tiny-tango", "tiny-audioldm")
    folder = make_run([make_record(model=model, spec=spec, n=96) for model in models for spec in SPECS])
    write_results(folder, SPECS)
    agree(folder)
    page = tmp_path / "README.md"
    page.write_text(PAGE)
    assert main(["--short", str(page), f"methods={folder}"]) == 0
    lines = page.read_text().splitlines()
    comparison = compare(read_runs([folder]))[0]
    table = [line for line in lines if line.startswith("|")]
    assert table[0] == (
        "| method | version | bits a weight, with scales | "
        + " | ".join(f"`{one.model}`" for one in comparison.models)
        + " |"
    )
    assert [row.split(" | ")[0].strip("| `") for row in table[2:]] == ["gptq@w4a8", "naive@w4a8"]  # nearest first
    for one in comparison.models:
        for line in one.lines[1:]:
            own, place = line.scores["fd_vs_baseline"], line.standing
            row = next(row for row in table if row.startswith(f"| `{line.method}` | 1 | "))
            cell = row.strip("| ").split(" | ")[3 + comparison.models.index(one)]
            assert f"{own.value:.2f} [{own.low:.2f}, {own.high:.2f}], {place.letters}, rank {place.rank}" in cell
            assert cell.endswith(line.verdicts["fd"].word)
    assert "> At 4-bit weights gptq@w4a8" in page.read_text().replace("\\", "")
    assert "Made from 6 records" in page.read_text()


def test_by_bits_it_is_a_table_for_each_pair_of_bits_and_a_picture_of_all(make_run, make_record, tmp_path):
    specs = SPECS | {"naive@w4a16": 0.3, "naive@q4_0": 0.2, "naive@w8a8": 0.05}
    models = ("tiny-tango", "tiny-dit[outliers]")
    records = [make_record(model=model, spec=spec, n=96) for model in models for spec in specs]
    for one in records:
        if one["method"]["spec"] == "naive@q4_0":
            one["method"]["bits"] = {"weight": 4, "activation": 16}
    folder = make_run(records)
    write_results(folder, specs)
    agree(folder)
    page, picture = tmp_path / "results.md", tmp_path / "results.svg"
    page.write_text(PAGE)
    assert main(["--by-bits", "--picture", str(picture), str(page), f"methods={folder}"]) == 0
    text = page.read_text()
    parts = re.split(r"\*\*Weights of (.*?)\*\*", text)
    named = [re.findall(r"^\| `([^`]+)` \| 1 \|", part, re.MULTILINE) for part in parts[2::2]]
    assert dict(zip(parts[1::2], map(set, named), strict=True)) == {
        "8 bits, inputs of 8 bits": {"naive@w8a8"},
        "4 bits, inputs of 8 bits": {"naive@w4a8", "gptq@w4a8"},
        "4 bits, inputs as they are": {"naive@w4a16", "naive@q4_0"},
    }
    assert "`tiny-dit[outliers]` |" in text
    assert "| `naive@q4_0` | `naive@w4a16` |" in text  # a format is held against integers, not they against it
    assert main(["--by-bits", "--by", "clap", str(page), f"methods={folder}"]) == 0
    assert "Against `naive` at the same bits, by `clap`:" in page.read_text()
    root = ElementTree.fromstring(picture.read_text())
    titles = [one.text or "" for one in root.iter("{http://www.w3.org/2000/svg}title")]
    assert sorted(title.partition(":")[0] for title in titles) == sorted(
        f"{spec}, {model}" for spec in specs if spec != "fp32" for model in models
    )


def versions_shown(page: str) -> set[tuple[str, str]]:
    """Return method and version of each row of the tables of a page that have both columns."""
    found, columns = set(), []
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip("| ").split(" | ")] if line.startswith("|") else []
        if not cells:
            columns = []
        elif {"method", "version"} <= set(cells):
            columns = cells
        elif columns and not set(cells[0]) <= {"-", ":"}:
            spec, version = (cells[columns.index(name)].strip("`") for name in ("method", "version"))
            found.add((re.split(r"[@\[]", spec)[0], version))
    return found


@pytest.mark.parametrize("name", ["README.md", "docs/results.md", "docs/results_dit.md"])
def test_a_page_names_the_methods_whose_numbers_are_of_an_earlier_version(name):
    page = (Path(__file__).parents[2] / name).read_text(encoding="utf-8")
    shown = versions_shown(page)
    assert len(shown) > 2
    earlier = {method for method, version in shown if version != registry.get(method).version}
    said = re.search(r"\*\*Methods that have changed since\.\*\* (.*?)\n\n", page, re.DOTALL)
    named = set(re.findall(r"`([a-z0-9-]+)`", said[1].split("What is of the version")[0])) if said else set()
    assert earlier <= named
