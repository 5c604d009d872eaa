"""The per-caption file: written, read, checked against its record, and refused where anything is wrong with it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save

from admbench.errors import DataError
from admbench.leaderboard import parse_record
from admbench.leaderboard.inference.closed_forms import squared_distance
from admbench.leaderboard.inference.contrasts import contrast, score_interval
from admbench.leaderboard.inference.influence import Influence
from admbench.leaderboard.inference.scores import KINDS, ScoreKind
from admbench.leaderboard.per_caption import (
    HEALTH,
    PER_CAPTION,
    CaptionScore,
    PerCaption,
    disagreements,
    read_per_caption,
    write_per_caption,
)
from admbench.leaderboard.record import Score

N = 24


def content(seed=0, n=N):
    rng = np.random.default_rng(seed)
    rows = np.arange(n)
    distance = squared_distance(*rng.normal(size=(2, n, 4)))
    some = rows[::2]
    return PerCaption(
        captions=tuple(f"foley-{k:03d}" for k in rows),
        clip_sha256=tuple(f"{k + seed:064x}" for k in rows),
        health={fault: rng.random(n) < 0.1 for fault in HEALTH},
        scores={
            "fd": CaptionScore(KINDS["fd"], rows, distance),
            "kl": CaptionScore.of_clips(KINDS["kl"], rows, rng.gamma(1.0, size=n)),
            "snr_vs_baseline": CaptionScore.of_clips(KINDS["snr"], some, rng.normal(size=len(some))),
            "my-own_score": CaptionScore(ScoreKind(higher_is_better=True, low=0.0), rows, distance),
        },
    )


@pytest.fixture
def written(tmp_path):
    write_per_caption(tmp_path / PER_CAPTION, content())
    return tmp_path / PER_CAPTION


def test_what_was_written_is_read(written):
    before, after = content(), read_per_caption(written.parent, written)
    assert after.captions == before.captions
    assert after.clip_sha256 == before.clip_sha256
    for fault in HEALTH:
        np.testing.assert_array_equal(after.health[fault], before.health[fault])
    assert set(after.scores) == set(before.scores)
    for key, score in before.scores.items():
        assert after.scores[key].kind == score.kind
        assert after.scores[key].influence.value == score.influence.value
        for name in ("first", "second", "pairs"):
            np.testing.assert_array_equal(
                getattr(after.scores[key].influence, name), getattr(score.influence, name), strict=True
            )
        np.testing.assert_array_equal(after.scores[key].rows, score.rows)
        assert (after.scores[key].clips is None) is (score.clips is None)


def test_a_file_of_format_1_is_read_forever():
    """As it was written then; it may not be made new."""
    folder = Path(__file__).parents[1] / "records"
    old = read_per_caption(folder, folder / "version-1-per-caption.safetensors")
    assert old.captions == tuple(f"foley-{k:03d}" for k in range(12))
    assert old.clip_sha256 == tuple(f"{k + 3:064x}" for k in range(12))
    assert {fault: int(marked.sum()) for fault, marked in old.health.items()} == {
        "silent": 1,
        "clipped": 1,
        "too_short": 0,
        "nan": 1,
    }
    assert old.format == 1
    found = {
        key: (one.influence.value, *score_interval(old.as_recorded(one.influence), one.kind))
        for key, one in old.scores.items()
    }
    assert found == {
        "fd": pytest.approx((0.6590646318747655, 0.041153153443060204, 10.554870104649753), rel=1e-9),
        "kl": pytest.approx((0.9064120799291864, 0.5871999949609512, 1.3991533816279902), rel=1e-9),
        "my-own_score": pytest.approx((0.6590646318747655, 0, 2.4869942605746576), rel=1e-9),
        "snr_vs_baseline": pytest.approx((-0.22273155915226006, -0.8216062594054079, 0.37614314110088776), rel=1e-9),
    }
    assert old.scores["snr_vs_baseline"].rows.tolist() == [0, 2, 4, 6, 8, 10]
    low, high = score_interval(old.scores["fd"].influence, old.scores["fd"].kind)
    assert low < found["fd"][1]  # what is concluded of it takes off half of what is counted twice
    assert high > found["fd"][2]


def test_an_interval_is_that_of_the_format_it_lies_beside():
    """Intervals of before are no disagreement beside a file of format 1, and one beside a file of format 2."""
    new = content()
    old = replace(new, format=1)
    for beside, other in ((new, old), (old, new)):
        scores = {
            key: Score(
                value=one.influence.value,
                ci95=list(score_interval(beside.as_recorded(one.influence), one.kind)),
                n=one.influence.n,
                higher_is_better=one.kind.higher_is_better,
            )
            for key, one in beside.scores.items()
        }
        assert not disagreements(beside, scores)
        assert any("ci95" in line for line in disagreements(other, scores))


def test_the_same_content_gives_the_same_bytes(written, tmp_path):
    write_per_caption(tmp_path / "again", content())
    assert (tmp_path / "again").read_bytes() == written.read_bytes()


def test_a_cosine_may_have_left_its_range_by_rounding(tmp_path):
    cosines = CaptionScore.of_clips(KINDS["clap_audio"], np.arange(N), np.full(N, 1 + 1e-7))
    write_per_caption(tmp_path / PER_CAPTION, replace(content(), scores={"clap_audio_vs_baseline": cosines}))
    own = read_per_caption(tmp_path, tmp_path / PER_CAPTION).scores["clap_audio_vs_baseline"]
    assert score_interval(own.influence, own.kind)[1] == 1.0


def test_it_is_small(tmp_path):
    write_per_caption(tmp_path / PER_CAPTION, content(n=1000))
    assert (tmp_path / PER_CAPTION).stat().st_size < 150_000


def test_two_cells_of_two_runs_are_compared_from_their_files_alone(tmp_path):
    for seed, run in enumerate(("one", "two")):
        write_per_caption(tmp_path / run / PER_CAPTION, content(seed))
    read = [read_per_caption(tmp_path / run, tmp_path / run / PER_CAPTION) for run in ("one", "two")]
    captions = read[0].captions
    kept = contrast(*(cell.influence("fd", captions) for cell in read))
    direct = contrast(*(content(seed).scores["fd"].influence for seed in range(2)))
    assert kept.interval() == direct.interval()


def test_scores_are_had_over_captions_in_any_order_and_means_over_some():
    own = content()
    captions = own.captions_of("snr_vs_baseline")
    assert captions == own.captions[::2]
    back = own.influence("fd", own.captions[::-1])
    np.testing.assert_array_equal(back.first, own.scores["fd"].influence.first[::-1])
    assert own.influence("kl", captions).value == pytest.approx(own.scores["kl"].clips[::2].mean())
    with pytest.raises(ValueError, match="says nothing of 12 of them"):
        own.influence("fd", captions)
    with pytest.raises(ValueError, match="not over 12 of the captions, such as foley-001"):
        own.influence("snr_vs_baseline", own.captions)
    with pytest.raises(ValueError, match="no cas per caption"):
        own.influence("cas", captions)


def test_the_worst_clips_come_first():
    own = content()
    worst = own.worst("kl", 3)
    assert [number for _, number in worst] == sorted(own.scores["kl"].clips, reverse=True)[:3]
    lowest = own.worst("snr_vs_baseline", 1)
    assert lowest[0][1] == own.scores["snr_vs_baseline"].clips.min()
    name, number = own.worst("fd", 1)[0]
    influence = own.scores["fd"].influence.first
    assert (own.captions.index(name), number) == (influence.argmax(), influence.max())


def with_scores(make_record, **changes):
    """Return the scores of a record that is made to agree with `content`, with changes to that of FD."""
    scores = {}
    own = content()
    template = make_record(n=N)["scores"]["fd"] | {"difference": None}
    for key in ("fd", "kl"):
        low, high = score_interval(own.scores[key].influence, KINDS[key])
        scores[key] = template | {"value": own.scores[key].influence.value, "ci95": [low, high], "n": N}
    scores["fd"] |= changes
    value = make_record(n=N)
    value["scores"] = scores
    return parse_record(value).scores


def of_two():
    own = content()
    return replace(own, scores={key: own.scores[key] for key in ("fd", "kl")})


def test_a_record_that_agrees_has_no_disagreements(make_record):
    assert disagreements(of_two(), with_scores(make_record)) == []


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"value": 500.0, "ci95": [400.0, 600.0]}, "scores.fd.value: 500, per caption"),
        ({"ci95": [0.0, 1e9]}, "scores.fd.ci95: [0, 1e+09], per caption"),
        ({"n": 20}, "scores.fd.n: 20, but 24 captions"),
        ({"value": None, "ci95": None, "reason": "none"}, "scores.fd: not in the record"),
    ],
)
def test_a_forged_record_disagrees_with_its_per_caption_results(make_record, changes, line):
    found = disagreements(of_two(), with_scores(make_record, **changes))
    assert found
    assert found[0].startswith(line)


def test_intervals_of_a_record_may_be_kept_in_their_range(make_record):
    rows = np.arange(N)
    rights = CaptionScore.of_clips(KINDS["cas"], rows, rows > 0)
    own = replace(content(), scores={"cas": rights})
    low, high = score_interval(rights.influence, KINDS["cas"])
    assert high == 1.0
    value = make_record(n=N)
    about = value["scores"]["fd"] | {"difference": None}
    for bound, version in ((high, 2), (1.04, 1)):  # intervals that leave the range are of before there were versions
        value["schema_version"] = version
        value["scores"] = {"cas": about | {"value": 23 / 24, "ci95": [low, bound], "higher_is_better": True}}
        assert disagreements(own, parse_record(value).scores) == []


# What a file may not be. Each change gets the tensors and the JSON of a good file.


def rewritten(path, change):
    """Write a good file again after `change(tensors, header)`; the header may become any text."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["per_caption"])
    tensors = dict(load(data))
    changed = change(tensors, header)
    text = changed if isinstance(changed, str) else json.dumps(header)
    path.write_bytes(save(tensors, {"per_caption": text}))


def put(name, value):
    return lambda tensors, header: tensors.__setitem__(name, value)


def edit(*keys, value):
    def change(tensors, header):
        target = header
        for key in keys[:-1]:
            target = target[key]
        target[keys[-1]] = value

    return change


FORGERIES = {
    "another version": (edit("schema_version", value=3), "schema_version"),
    "an id that is a path": (edit("captions", 0, value="../x"), "no clip id"),
    "a long id": (edit("captions", 0, value="x" * 129), "no clip id"),
    "an id twice": (edit("captions", 0, value="foley-001"), "'foley-001' appears twice"),
    "an id that is a number": (edit("captions", 0, value=7), "captions.0"),
    "no captions": (edit("captions", value=[]), "captions"),
    "fewer captions than rows": (lambda tensors, header: header["captions"].pop() and None, "unexpected type or shape"),
    "a score key": (edit("scores", "<script>", value=None), "scores.<script>"),
    "an unknown key": (edit("scores", "fd", "more", value=1), "scores.fd.more"),
    "FD below zero": (edit("scores", "fd", "value", value=-1.0), "outside of the score's own range"),
    "a value of 1e308": (edit("scores", "fd", "value", value=1e308), "scores.fd.value"),
    "a value that is no number": (edit("scores", "fd", "value", value="1"), "scores.fd.value"),
    "a mean that is not the clips'": (edit("scores", "kl", "value", value=9.0), "but the clips' mean is"),
    "no influences": (lambda tensors, header: tensors.pop("first.fd") is None, "no tensor first.fd"),
    "no hashes": (lambda tensors, header: tensors.pop("clip_sha256") is None, "no tensor clip_sha256"),
    "influences of fewer captions": (put("first.fd", np.zeros(N - 1)), "first.fd: unexpected type or shape"),
    "influences in float32": (put("first.fd", np.zeros(N, dtype=np.float32)), "is of type F32"),
    "influences as a matrix": (put("first.fd", np.zeros((N, 1))), "first.fd: unexpected type or shape"),
    "an influence that is NaN": (put("first.fd", np.full(N, np.nan)), "first.fd: not every number is finite"),
    "an infinite clip": (put("clips.kl", np.full(N, np.inf)), "clips.kl: not every number is finite"),
    "an influence of 1e200": (put("first.fd", np.full(N, 1e200)), "beyond 1e"),
    "a clip's KL below zero": (put("clips.kl", np.full(N, -1.0)), "outside of the score's range"),
    "a pair beyond the captions": (put(f"pairs.{N}", np.full((2 * N, 2), N, dtype=np.int32)), "beyond the 24"),
    "other numbers of pairs": (put(f"pairs.{N}", np.zeros((3, 2), dtype=np.int32)), "scores.fd: second-order part"),
    "too many pairs": (put(f"pairs.{N}", np.zeros((10_001, 2), dtype=np.int32)), "more than 10000"),
    "rows out of order": (put("rows.snr_vs_baseline", np.arange(12, dtype=np.int32)[::-1].copy()), "not ascending"),
    "rows beyond": (put("rows.snr_vs_baseline", np.arange(20, 32, dtype=np.int32)), "not ascending ones of 24"),
    "negative rows": (put("rows.snr_vs_baseline", np.arange(-1, 11, dtype=np.int32)), "not ascending"),
    "a score of two captions": (put("rows.kl", np.arange(2, dtype=np.int32)), "2 captions; at least 4"),
    "health that is no flag": (put("health.nan", np.full(N, 2, dtype=np.uint8)), "expected 0 or 1"),
    "a tensor more": (put("weights", np.zeros(3)), "unknown tensor 'weights'"),
    "a key twice": (lambda tensors, header: '{"schema_version": 1, "schema_version": 1}', "appears twice"),
    "NaN in JSON": (lambda tensors, header: '{"schema_version": NaN}', "NaN is not JSON"),
    "no JSON": (lambda tensors, header: "{", "not valid JSON"),
    "a list": (lambda tensors, header: "[]", "per_caption"),
    "nested too deeply": (lambda tensors, header: "[" * 100_000, "nested too deeply|not valid JSON"),
}


@pytest.mark.parametrize(("change", "message"), FORGERIES.values(), ids=FORGERIES)
def test_a_file_that_is_wrong_is_refused_in_one_line_that_names_it(written, change, message):
    rewritten(written, change)
    with pytest.raises(DataError, match=message) as raised:
        read_per_caption(written.parent, written)
    assert str(raised.value).startswith(f"{written}: ")
    assert len(str(raised.value).splitlines()) == 1
    assert len(str(raised.value)) < len(str(written)) + 400


def damaged(data):
    header = int.from_bytes(data[:8], "little")
    yield "empty", b""
    yield "half", data[: len(data) // 2]
    yield "no header", data[8 + header :]
    yield "a header of 2^62 bytes", (2**62).to_bytes(8, "little") + data[8:]
    yield "a picture", b"\x89PNG\r\n" * 100
    yield "text", b"{}"
    yield "more behind it", data + b"\0" * 8
    yield "no metadata", save({"clip_sha256": np.zeros((N, 32), dtype=np.uint8)})
    yield "other metadata", save({}, {"format": "np"})


def test_a_damaged_file_is_refused_in_one_line_that_names_it(written):
    data = written.read_bytes()
    for name, other in damaged(data):
        written.write_bytes(other)
        with pytest.raises(DataError) as raised:
            read_per_caption(written.parent, written)
        assert str(raised.value).startswith(f"{written}: "), name
        assert len(str(raised.value).splitlines()) == 1, name


def test_links_missing_and_large_files_are_refused(written, tmp_path, monkeypatch):
    link = tmp_path / "run" / PER_CAPTION
    link.parent.mkdir()
    link.symlink_to(written)
    with pytest.raises(DataError, match="symbolic link"):
        read_per_caption(link.parent, link)
    with pytest.raises(DataError, match="cannot be read"):
        read_per_caption(tmp_path, tmp_path / "nothing")
    monkeypatch.setattr("admbench.leaderboard.per_caption.MAX_BYTES", 1000)
    with pytest.raises(DataError, match="larger than the limit"):
        read_per_caption(written.parent, written)


def test_what_does_not_belong_together_is_not_written(tmp_path):
    own = content()
    with pytest.raises(ValueError, match="23 hashes for 24 captions"):
        replace(own, clip_sha256=own.clip_sha256[1:])
    with pytest.raises(ValueError, match="appears twice"):
        replace(own, captions=("a",) * N)
    with pytest.raises(ValueError, match="health"):
        replace(own, health={})
    with pytest.raises(ValueError, match="24 influences for 3 captions"):
        replace(own, scores={"fd": replace(own.scores["fd"], rows=np.arange(3))})
    score = own.scores["fd"].influence
    other = Influence(score.value, score.first, score.second, score.pairs[::-1].copy())
    mixed = replace(own, scores=own.scores | {"kad": CaptionScore(KINDS["kad"], np.arange(N), other)})
    with pytest.raises(ValueError, match="other pairs"):
        write_per_caption(tmp_path / PER_CAPTION, mixed)
    assert not (tmp_path / PER_CAPTION).exists()
