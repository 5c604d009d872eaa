"""Votes of listeners: the seeded order, what an export must be, and what is made of many."""

import json

import pytest

from admbench.bench.cli.app import main
from admbench.errors import DataError
from admbench.leaderboard.boards import make_boards
from admbench.leaderboard.hearing import clips_of, hear, of_clips
from admbench.leaderboard.inference.listeners import clustered_interval
from admbench.leaderboard.reading import read_runs
from admbench.leaderboard.trials import order
from admbench.leaderboard.votes import Votes, merge, read_votes

from .votes_of_listeners import CAPTIONS, METHOD, export, session


@pytest.fixture
def write(tmp_path):
    def put(value, name="votes.json"):
        path = tmp_path / name
        path.write_text(json.dumps(value))
        return path

    return put


def merged(*exports):
    return merge([(f"{index}.json", Votes.model_validate(one)) for index, one in enumerate(exports)])


def test_every_caption_comes_once_before_one_comes_again_and_coins_are_fair():
    trials = order("0123456789abcdef" * 2, CAPTIONS, 600)
    for start in range(0, 600, 6):
        assert sorted(trial.caption for trial in trials[start : start + 6]) == CAPTIONS
    assert 250 < sum(trial.heads for trial in trials) < 350
    assert order("0123456789abcdef" * 2, CAPTIONS, 16) == trials[:16]
    assert order("1" * 32, CAPTIONS, 16) != trials[:16]


def test_an_export_is_read_and_its_hits_are_counted_from_the_trials(write):
    votes = read_votes(write(export(1, session(1, right=12), session(2, right=3, kind="preference"))))
    assert [one.hits for one in votes.sessions] == [12, 3]
    assert votes.sessions[0].p == pytest.approx(0.0384, abs=1e-4)
    assert votes.sessions[1].p == pytest.approx(0.0213, abs=1e-4)


def forged(**changes):
    return session(1) | changes


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (
            forged(result={"hits": 12, "count": 16, "p": 0.001}),
            "result: 12 of 16, p 0.001, but the trials give 12 of 16",
        ),
        (forged(result={"hits": 16, "count": 16, "p": 0.5**16}), "result: 16 of 16, .* give 12 of 16"),
        (forged(seed="f" * 32), "but the seed gives foley-00|result"),
        (forged(ended=None), "16 of 16 trials: a session ends"),
        (forged(trials=session(1)["trials"][:15]), "15 of 16 trials"),
        (forged(ended="2026-03-01T09:00:00+00:00"), "ended before it started"),
        (forged(started="yesterday"), "started: expected an ISO 8601 time"),
        (forged(captions=[*CAPTIONS[:5], CAPTIONS[0]]), "caption appears twice"),
        (forged(captions=["../../etc/passwd"]), "is no clip id"),
        (forged(planned=8), "planned: Input should be greater than or equal to 16"),
        (forged(kind="mushra"), "kind"),
        (forged(more=1), "more: Extra inputs"),
        (forged(model="m" * 201), "model: String should have at most 200"),
    ],
)
def test_a_forged_session_is_refused_by_its_key(write, one, said):
    path = write(export(1, one))
    with pytest.raises(DataError, match=said) as error:
        read_votes(path)
    assert str(error.value).startswith(f"{path}: sessions.0")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text", ["[]", "{", '{"format": "other"}', '{"a": NaN}', '{"a": 1, "a": 2}', '{"a": "\\u202e"}']
)
def test_what_is_no_export_is_refused(tmp_path, text):
    (tmp_path / "votes.json").write_text(text)
    with pytest.raises(DataError, match=r"votes\.json"):
        read_votes(tmp_path / "votes.json")


def test_sessions_come_once_and_go_on_where_they_were():
    begun, ended = session(1, done=5), session(1)
    for pair in ((begun, ended), (ended, begun), (ended, ended)):
        [(_, found)] = merged(*(export(1, one) for one in pair))
        assert found.ended is not None
    with pytest.raises(DataError, match="with other content"):
        merged(export(1, session(1)), export(2, session(1)))
    with pytest.raises(DataError, match="with other content"):
        merged(export(1, session(1, right=12)), export(1, session(1, right=9)))
    with pytest.raises(DataError, match="has the seed of session"):
        merged(export(1, session(1)), export(2, session(1) | {"id": "c" * 32}))


def test_listeners_are_clusters_and_methods_are_many_tests():
    exports = [export(k, session(10 + k, right=hits)) for k, hits in enumerate((12, 9, 15))]
    exports.append(export(9, session(30, right=8, method="ptq4adm@w4a8"), session(31, done=3)))
    heard, other = hear(merged(*exports))
    assert (heard.method, heard.hits, heard.trials, heard.listeners, heard.given_up) == ("naive@w4a8", 36, 48, 3, 1)
    assert heard.ci95 == clustered_interval([12, 9, 15], [16] * 3)
    assert heard.verdict == "heard"
    assert heard.p == pytest.approx(2 * 0.000362, rel=0.01)
    assert (other.listeners, other.verdict) == (1, "cannot be told")


def test_not_heard_is_a_claim_that_needs_many_trials():
    [few] = hear(merged(export(1, session(1, right=8))))
    assert few.verdict == "cannot be told"
    [many] = hear(merged(*(export(k, session(k, right=24 + k % 2, planned=48)) for k in range(12))))
    assert many.ci95[1] < 0.75
    assert many.verdict == "not heard"


def test_a_preference_is_read_from_the_interval():
    for hits, verdict in ((3, "full precision preferred"), (8, "cannot be told"), (14, "preferred")):
        [one] = hear(merged(*(export(k, session(k, right=hits, kind="preference")) for k in range(8))))
        assert one.verdict == verdict
        assert one.p is None


def test_votes_on_other_clips_than_those_of_the_records_are_left_out(make_run, make_record):
    run = make_run([make_record(spec="fp32", loss=0.0), make_record()], audio=True)
    known = clips_of(make_boards(read_runs([run])))
    assert len(known["tiny-tango", "naive@w4a8"]) == 4
    assert known["tiny-tango", ""] == known["tiny-tango", "fp32"]
    votes = merged(export(1, session(1)), export(2, session(2, method="gptq@w4a8")))
    kept, left_out = of_clips(votes, known)
    assert kept == []
    assert left_out[0].endswith("its clips are not those of naive@w4a8 on tiny-tango")
    assert left_out[1].endswith("no clips of gptq@w4a8 on tiny-tango to hold it against")
    full, method = min(known["tiny-tango", ""]), min(known["tiny-tango", "naive@w4a8"])
    own = session(1)
    own["trials"] = [one | {"full_sha256": full, "method_sha256": method} for one in own["trials"]]
    assert of_clips(merged(export(1, own)), known) == (merged(export(1, own)), [])
    assert METHOD not in known["tiny-tango", "naive@w4a8"]


def test_the_command_puts_exports_together(write, tmp_path, capsys):
    first, second = write(export(1, session(1)), "1.json"), write(export(2, session(2, right=14)), "2.json")
    assert main(["votes", str(first), str(second), "--out", str(tmp_path / "heard.json")]) == 0
    line, *_ = capsys.readouterr().out.splitlines()
    assert line.split("\t")[:5] == ["tiny-tango", "ABX", "naive@w4a8", "26 of 32 right", "81 %"]
    [row] = json.loads((tmp_path / "heard.json").read_text())["heard"]
    assert (row["hits"], row["trials"], row["verdict"]) == (26, 32, "heard")
    bad = write(export(1, forged(result={"hits": 16, "count": 16, "p": 0.0})), "bad.json")
    assert main(["votes", str(bad)]) == 2
    assert capsys.readouterr().err.startswith(f"error: {bad}: sessions.0: result")
