"""The file of `bench stress`: what is read, what is refused, and what the board shows of it."""

import json

import pytest

from admbench.errors import DataError
from admbench.leaderboard.reading import read_runs
from admbench.leaderboard.site import build_site
from admbench.leaderboard.stress import read_stress
from admbench.taxonomy import DIFFICULTIES


@pytest.fixture
def stress(make_record):
    def outcome(lost, hard, verdict, claimed=False):
        return {"lost": lost, "hard": hard, "verdict": verdict, "claimed": claimed}

    held = [outcome(0.2, 19.0, "undone", True), outcome(9.0, 19.0, "eased"), None, outcome(0.1, 0.4, None, True)]
    broken = [outcome(12.0, 19.0, "lost", True), outcome(0.3, 19.0, "undone"), None, outcome(4.0, None, "lost")]
    return {
        "format": "admbench-stress",
        "schema_version": 1,
        "model": "tiny-dit",
        "weights_sha256": "0" * 64,
        "rows": [
            {"method": "smoothquant@w8a8", "untouched": 22.9, "outcomes": dict(zip(DIFFICULTIES, held, strict=True))},
            {"method": "<b>@w8a8", "untouched": 34.9, "outcomes": dict(zip(DIFFICULTIES, broken, strict=True))},
        ],
        "provenance": make_record()["provenance"],
    }


@pytest.fixture
def written(tmp_path):
    def write(content):
        (tmp_path / "stress.json").write_text(json.dumps(content))
        return tmp_path / "stress.json"

    return write


def test_the_board_says_which_claims_hold(stress, written, tmp_path, make_record, make_run):
    found = read_stress(written(stress))
    assert found.claims == [True, False]
    records = read_runs([make_run([make_record(spec="fp32"), make_record()])])
    site = build_site(records, tmp_path / "site", stress=[found])
    page = (site.root / "made.html").read_text()
    assert "Do methods handle what they claim to?" in page
    assert "1 of 2 claims hold" in page
    assert '12.0 lost <small class="bad">✗ not as claimed</small>' in page
    assert "0.1 not hard</td>" in page
    assert "&lt;b&gt;@w8a8" in page
    assert "<b>@w8a8" not in page
    site = build_site(records, tmp_path / "site")
    assert "claim to?" not in (site.root / "made.html").read_text()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda row: row["outcomes"]["channel outliers"].update(verdict="lost"), "verdict contradicts its decibels"),
        (lambda row: row["outcomes"]["channel outliers"].update(lost=1e9), "less than or equal to 1000"),
        (lambda row: row["outcomes"].pop("drifting ranges"), "outcomes: expected channel outliers"),
        (lambda row: row.update(more=1), "rows.0.more: Extra inputs"),
    ],
)
def test_a_file_that_says_otherwise_is_refused(change, message, stress, written):
    change(stress["rows"][0])
    with pytest.raises(DataError, match=message):
        read_stress(written(stress))
    with pytest.raises(DataError, match="expected a file of bench stress --json"):
        read_stress(written({"model": "tiny-dit", "rows": []}))
