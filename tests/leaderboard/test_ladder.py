"""The sanity ladder's file."""

import json

import pytest

from admbench.errors import DataError
from admbench.leaderboard import read_ladder, validate


def estimate(value, half):
    return {"value": value, "ci95": [value - half, value + half], "reason": None}


NOT_SEEN = {"relation": "<", "difference": estimate(0.2, 0.5), "holds": True}


@pytest.fixture
def ladder(make_record):
    def level(name, fd, step):
        scores = {"fd": estimate(fd, 1.0), "kl": estimate(fd / 20, 0.05), "clap": estimate(0.5 - fd / 600, 0.02)}
        return {"name": name, "method": None, "n": 4, "scores": scores, "step": step}

    def step(relation, value, half):
        return {"relation": relation, "difference": estimate(value, half), "holds": True}

    return {
        "schema_version": 1,
        "models": [
            {
                "model": "tiny-tango",
                "suite": make_record()["suite"],
                "rungs": [
                    level("real vs real", 5.0, None),
                    level("fp32", 21.0, step("<", 16.0, 3.0)),
                    level("bf16", 21.2, step("~", 0.2, 1.0)),
                ],
                "agreement": {"kl": 1.0, "clap": 0.9, "threshold": 0.7, "holds": True},
            }
        ],
        "provenance": make_record()["provenance"],
    }


def test_a_ladder_is_read_and_judged(tmp_path, ladder):
    assert read_ladder(tmp_path) is None
    (tmp_path / "ladder.json").write_text(json.dumps(ladder))
    found = read_ladder(tmp_path)
    assert found is not None
    assert found.models[0].holds


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("rungs", 1, "step", "holds"), False, "fp32: step.holds contradicts"),
        (("rungs", 2, "step", "relation"), "<", "bf16: step.holds contradicts"),
        (("rungs", 2, "nearness"), NOT_SEEN, "bf16: nearness.holds contradicts"),
        (("rungs", 1, "step"), None, "fp32: every level but the first needs a step"),
        (("rungs", 1, "step", "difference", "ci95"), None, "ci95 is needed"),
        (("agreement", "kl"), 0.2, "agreement.holds contradicts"),
        (("rungs", 0, "n"), 0, r"models.0.rungs.0.n: Input should be greater"),
    ],
)
def test_a_ladder_that_contradicts_itself_is_refused(tmp_path, ladder, path, value, message):
    target = ladder["models"][0]
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    (tmp_path / "ladder.json").write_text(json.dumps(ladder))
    with pytest.raises(DataError, match=message):
        read_ladder(tmp_path)


def test_the_site_shows_the_ladder(make_run, make_record, ladder, tmp_path):
    from admbench.leaderboard import build_site, read_runs

    run = make_run([make_record()])

    def made(folder):
        return (build_site(read_runs([run]), tmp_path / folder).root / "made.html").read_text()

    without = made("without")
    assert "<code>bench ladder</code>" in without
    (run / "ladder.json").write_text(json.dumps(ladder))
    page = made("with")
    assert "real vs real" in page
    assert "✓ holds" in page
    assert "<code>bench ladder</code>" not in page
    assert "only 4 captions: below 96 intervals can be too short" in page


def test_validate_names_a_ladder_that_contradicts_itself(make_run, make_record, ladder):
    run = make_run([make_record()])
    (run / "ladder.json").write_text(json.dumps(ladder))
    assert [one for one in validate([run]) if one.problems] == []
    ladder["models"][0]["rungs"][1]["step"]["holds"] = False
    (run / "ladder.json").write_text(json.dumps(ladder))
    (found,) = (one for one in validate([run]) if one.problems)
    (line,) = found.problems
    assert found.path == run / "ladder.json"
    assert line == f"{found.path}: tiny-tango: fp32: step.holds contradicts the interval of its difference"
