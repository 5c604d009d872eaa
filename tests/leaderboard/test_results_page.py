"""The tables of a page are those of the records: what `bench table` says, between two lines of the page."""

from pathlib import Path

import pytest

from admbench.leaderboard import read_runs
from admbench.leaderboard.comparison import compare
from admbench.leaderboard.comparison_text import to_markdown
from admbench.leaderboard.results_page import against, main, replaced, section
from admbench.leaderboard.versus import Statement
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
