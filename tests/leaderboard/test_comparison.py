"""Every method on every model as one table: what is beside what, in which order, what is said of missing numbers."""

import csv
import io
import json
import re

import pytest

from admbench.errors import UsageError
from admbench.leaderboard import read_runs
from admbench.leaderboard.comparison import compare, to_json
from admbench.leaderboard.comparison_text import to_markdown, to_tsv


@pytest.fixture
def records(make_run, make_record, make_failed, changed):
    """Two models, four methods at two numbers of bits; one cell failed and one does not say its seconds."""

    def timed(*arguments, seconds=4.0, **options):
        return changed(make_record(*arguments, **options), method__seconds=seconds)

    return read_runs(
        [
            make_run(
                [
                    timed("tiny-tango", "fp32", loss=0.0, seconds=0.1),
                    timed("tiny-tango", "naive@w4a8", loss=6.0),
                    timed("tiny-tango", "clever@w4a8[iterations=9]", loss=2.0, seconds=90.0),
                    timed("tiny-tango", "naive@w8a8", loss=0.5, seconds=None),
                    timed("tiny-audioldm", "fp32", loss=0.0, seconds=0.1),
                    timed("tiny-audioldm", "naive@w4a8", loss=5.0),
                    make_failed("tiny-audioldm", "clever@w4a8[iterations=9]", "out of memory | <b>"),
                ]
            )
        ]
    )


def test_lines_are_grouped_by_bits_and_the_nearest_to_full_precision_comes_first(records):
    (one,) = compare(records)
    assert (one.suite, one.n, one.sorted_by) == ("foley", 4, "fd_vs_baseline")
    assert [group.title for group in one.groups] == ["no bits", "W8A8", "W4A8"]
    assert [(line.model, line.method) for line in one.groups[2].lines] == [
        ("tiny-audioldm", "naive@w4a8"),
        ("tiny-audioldm", "clever@w4a8[iterations=9]"),
        ("tiny-tango", "clever@w4a8[iterations=9]"),
        ("tiny-tango", "naive@w4a8"),
    ]


def test_seconds_are_those_of_calibration_and_quantization(records):
    (one,) = compare(records)
    by_name = {(line.model, line.method): line for group in one.groups for line in group.lines}
    assert by_name["tiny-tango", "naive@w4a8"].seconds.value == 4.0 + 2.5
    assert by_name["tiny-tango", "fp32"].seconds.value == 0.1
    assert by_name["tiny-tango", "naive@w8a8"].seconds.value is None
    assert "does not say" in by_name["tiny-tango", "naive@w8a8"].seconds.reason


def test_a_higher_score_that_is_better_comes_first(records):
    (one,) = compare(records, ["clap"])
    assert one.sorted_by == "clap"
    tango = [line.method for line in one.groups[2].lines if line.model == "tiny-tango"]
    assert tango == ["clever@w4a8[iterations=9]", "naive@w4a8"]


def test_a_score_that_no_record_has_is_refused(records):
    with pytest.raises(UsageError, match=r'"fd_vs_baselin".*Did you mean "fd_vs_baseline"'):
        compare(records, ["fd_vs_baselin"])


def test_markdown_has_intervals_and_a_footnote_for_every_reason(records):
    text = to_markdown(compare(records, ["fd_vs_baseline", "fd"]))
    assert "Suite `foley`, n = 4 captions; judged by `tiny-tagger`; 95 % intervals over captions." in text
    assert "on A Processor 3000." in text
    assert "| `tiny-tango` | `clever@w4a8[iterations=9]` | 2.00 [1.50, 2.50] |" in text
    (failed,) = (line for line in text.splitlines() if line.startswith("| `tiny-audioldm` | `clever"))
    (mark,) = set(re.findall(r"\[\^\d+\]", failed))
    assert failed.count(mark) == 4
    assert f"{mark}: failed: out of memory \\| \\<b\\>" in text
    marks = set(re.findall(r"\[\^\d+\]", text))
    assert marks == set(re.findall(r"^(\[\^\d+\]): ", text, flags=re.MULTILINE))


def test_text_from_a_record_cannot_leave_its_cell(make_run, make_record, changed):
    value = changed(make_record(), model__name="x`|<script>\n| y")
    text = to_markdown(compare(read_runs([make_run([value])])))
    (row,) = (line for line in text.splitlines() if "script" in line)
    assert row.startswith("| `x'\\|<script> \\| y` | `naive@w4a8` |")
    assert len(re.findall(r"(?<!\\)\|", row)) == 8


def test_tab_separated_lines_hold_the_numbers_unrounded(records):
    rows = list(csv.DictReader(io.StringIO(to_tsv(compare(records))), delimiter="\t"))
    assert len(rows) == 7
    (naive,) = (row for row in rows if (row["model"], row["method"]) == ("tiny-tango", "naive@w4a8"))
    assert [float(naive[key]) for key in ("fd_vs_baseline", "fd_vs_baseline_low", "seconds")] == [6.0, 4.5, 6.5]
    (failed,) = (row for row in rows if "out of memory" in row["missing"])
    assert [failed[key] for key in ("fd_vs_baseline", "fd_vs_baseline_high", "seconds")] == ["", "", ""]


def test_json_has_null_with_a_reason(records):
    (value,) = json.loads(json.dumps(to_json(compare(records)), allow_nan=False))
    assert value["networks"]["fd_vs_baseline"]["name"] == "tiny-tagger"
    rows = [row for group in value["groups"] for row in group["rows"]]
    assert all((row["seconds"]["value"] is None) == bool(row["seconds"]["reason"]) for row in rows)


def test_scores_of_other_captions_stand_in_another_table(make_run, make_record):
    runs = [make_run([make_record(n=4)], name="few"), make_run([make_record(n=8)], name="many")]
    assert [one.n for one in compare(read_runs(runs))] == [8, 4]
