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

from .written_results import write_results

N = 16
NOISE = {"fp32": 0.0, "naive@w8a8": 0.05, "clever@w4a8[iterations=9]": 0.1, "naive@w4a8": 0.4}


@pytest.fixture
def records(make_run, make_record, make_failed, changed):
    """Two models, four methods at two numbers of bits; one cell failed and one does not say its seconds."""

    def timed(*arguments, seconds=4.0, **options):
        return changed(make_record(*arguments, n=N, **options), method__seconds=seconds)

    run = make_run(
        [
            timed("tiny-tango", "fp32", loss=0.0, seconds=0.1),
            timed("tiny-tango", "naive@w4a8", loss=6.0),
            timed("tiny-tango", "clever@w4a8[iterations=9]", loss=2.0, seconds=90.0),
            timed("tiny-tango", "naive@w8a8", loss=0.5, seconds=None),
            timed("tiny-audioldm", "fp32", loss=0.0, seconds=0.1),
            timed("tiny-audioldm", "naive@w4a8", loss=5.0),
            make_failed("tiny-audioldm", "clever@w4a8[iterations=9]", "out of memory | <b>", n=N),
        ]
    )
    write_results(run, NOISE, N)
    return read_runs([run])


def table_of(comparison, model):
    return next(table for table in comparison.models if table.model == model)


def test_there_is_a_table_per_model_in_the_order_of_the_board(records):
    (one,) = compare(records)
    assert (one.suite, one.n, one.sorted_by) == ("foley", N, "fd_vs_baseline")
    assert one.metrics == ["fd_vs_baseline", "fd", "clap"] or one.metrics[0] == "fd_vs_baseline"
    assert [line.method for line in table_of(one, "tiny-tango").lines] == list(NOISE)
    assert [line.method for line in table_of(one, "tiny-audioldm").lines] == [
        "fp32",
        "naive@w4a8",
        "clever@w4a8[iterations=9]",
    ]
    first = table_of(one, "tiny-tango").lines[1]
    assert (first.standing.rank, first.standing.letters) == ("1", "a")
    assert first.scores["fd_vs_baseline"].value == first.standing.value


def test_what_can_be_told_and_the_caution_stand_in_front(records):
    (one,) = compare(records)
    assert one.cautions == [f"only {N} captions: below 96 intervals can be too short"]
    front = to_markdown([one]).split("\n")[0]
    assert all(sentence.split("@")[0] in front for sentence in one.sentences)
    assert "Caution: only 16 captions" in front


def test_seconds_are_those_of_calibration_and_quantization(records):
    (one,) = compare(records)
    by_name = {(table.model, line.method): line for table in one.models for line in table.lines}
    assert by_name["tiny-tango", "naive@w4a8"].seconds.value == 4.0 + 2.5
    assert by_name["tiny-tango", "fp32"].seconds.value == 0.1
    assert by_name["tiny-tango", "naive@w8a8"].seconds.value is None
    assert "does not say" in by_name["tiny-tango", "naive@w8a8"].seconds.reason


def test_the_score_of_the_order_is_named_and_stands_first(records):
    (one,) = compare(records, ["fd"], by="clap")
    assert (one.sorted_by, one.metrics) == ("clap", ["clap", "fd"])
    tango = [line.method for line in table_of(one, "tiny-tango").lines]
    assert tango == list(NOISE)  # full precision has the highest CLAP of all


def test_a_score_that_no_record_has_is_refused(records):
    with pytest.raises(UsageError, match=r'"fd_vs_baselin".*Did you mean "fd_vs_baseline"'):
        compare(records, ["fd_vs_baselin"])
    with pytest.raises(UsageError, match=r'"fd_vs_baselin".*Did you mean "fd_vs_baseline"'):
        compare(records, by="fd_vs_baselin")


def test_markdown_has_intervals_words_and_a_footnote_for_every_reason(records):
    text = to_markdown(compare(records, ["fd_vs_baseline", "fd"]))
    assert "Suite `foley`, n = 16 captions; judged by `tiny-tagger`; 95 % intervals over captions." in text
    assert "on A Processor 3000." in text
    assert re.search(r"\| `naive@w4a8` \| 3 \| c \| 0\.7\d+ \[.*\] \|.*\| worse: `fd`; cannot be told: `fd_vs_b", text)
    (failed,) = (line for line in text.splitlines() if line.startswith("| `clever") and "| - |" in line)
    assert set(re.findall(r"\[\^\d+\]", failed)) == {"[^3]"}
    assert failed.count("[^3]") == 6  # letters, two scores, bits, bytes, seconds
    assert "[^3]: failed: out of memory \\| \\<b\\>" in text
    marks = set(re.findall(r"\[\^\d+\]", text))
    assert marks == set(re.findall(r"^(\[\^\d+\]): ", text, flags=re.MULTILINE))


def test_text_from_a_record_cannot_leave_its_cell(make_run, make_record, changed):
    """Of a record of an older schema, which could hold line breaks."""
    value = changed(make_record(spec="naive@w4a8[x=`|<script>\n| y]"), model__name="x`|<script>\n| y", schema_version=2)
    text = to_markdown(compare(read_runs([make_run([value])])))
    (row,) = (line for line in text.splitlines() if line.startswith("| `naive"))
    assert row.startswith("| `naive@w4a8[x='\\|<script> \\| y]` |")
    assert len(re.findall(r"(?<!\\)\|", row)) == 13
    assert "`x'\\|<script> \\| y`: nothing can be ordered." in text


def test_tab_separated_lines_hold_the_numbers_unrounded(records):
    rows = list(csv.DictReader(io.StringIO(to_tsv(compare(records))), delimiter="\t"))
    assert len(rows) == 7
    (naive,) = (row for row in rows if (row["model"], row["method"]) == ("tiny-tango", "naive@w4a8"))
    (one,) = compare(records)
    place = table_of(one, "tiny-tango").lines[3].standing
    assert [float(naive[key]) for key in ("fd_vs_baseline", "fd_vs_baseline_low")] == [place.value, place.low]
    assert [naive[key] for key in ("rank_low", "rank_high", "letters", "order_by", "seconds")] == [
        "3",
        "3",
        "c",
        "fd_vs_baseline",
        "6.5",
    ]
    assert naive["clap_verdict"] == "worse"
    (failed,) = (row for row in rows if "out of memory" in row["missing"])
    assert [failed[key] for key in ("fd_vs_baseline", "fd_vs_baseline_high", "seconds")] == ["", "", ""]


def test_json_has_null_with_a_reason(records):
    (value,) = json.loads(json.dumps(to_json(compare(records)), allow_nan=False))
    assert value["networks"]["fd_vs_baseline"]["name"] == "tiny-tagger"
    rows = [row for table in value["models"] for row in table["rows"]]
    assert all((row["rank"] is None) == bool(row["not_ordered"]) for row in rows)
    assert all((row["seconds"]["value"] is None) == bool(row["seconds"]["reason"]) for row in rows)


def test_scores_of_other_captions_stand_in_another_table(make_run, make_record):
    runs = [make_run([make_record(n=4)], name="few"), make_run([make_record(n=8)], name="many")]
    assert [one.n for one in compare(read_runs(runs))] == [8, 4]
