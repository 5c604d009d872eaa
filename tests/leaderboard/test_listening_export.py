"""Tests for webMUSHRA and BeaqleJS: their configs, clips that are alike, the anchor, and what is refused."""

import json
import wave

import numpy as np
import pytest
import yaml

from admbench.bench.cli.app import main
from admbench.leaderboard.clips import Clip
from admbench.leaderboard.listening_export import ANCHOR, REFERENCE, Item, with_anchor

CAPTION = "a dog <b>barks</b>"


def read(path):
    with wave.open(str(path)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
        return samples.reshape(-1, file.getnchannels()), file.getframerate()


@pytest.fixture
def run(make_run, make_record, tone):
    """Four captions; one has a clip less, one a clip that is shorter."""
    run = make_run([make_record(spec="fp32", loss=0.0), make_record(), make_record(spec="naive@w8a8")], audio=True)
    for captions in run.glob("**/captions.json"):
        entries = json.loads(captions.read_text())
        captions.write_text(json.dumps([{**one, "caption": CAPTION} for one in entries]))
    cell = next(run.glob("cells/*/naive-w4a8-*"))
    (cell / "audio" / "foley-001.wav").unlink()
    tone(cell / "audio" / "foley-002.wav", 440.0, seconds=0.4)
    return run


def exported(run, out, *flags):
    assert main(["listen", "export", str(run), "--out", str(out), "--quiet", *flags]) == 0
    return out


def test_webmushra_gets_a_page_a_caption_with_reference_methods_and_anchor(run, tmp_path, capsys):
    out = exported(run, tmp_path / "test", "--captions", "2")
    assert (
        capsys.readouterr().out
        == f"test: {out}/configs/tiny-tango-mushra-{out_hash(out)}.yaml, 2 captions, 2 methods\n"
    )
    config = yaml.safe_load(next(out.glob("configs/*.yaml")).read_text())
    welcome, [random, *pages], finish = config["pages"]
    assert (welcome["type"], random, finish["type"]) == ("generic", "random", "finish")
    conditions = json.loads((out / "conditions.json").read_text())["conditions"]
    for page in pages:
        assert page["type"] == "mushra"
        assert page["strict"] is True
        assert page["content"] == "a dog &lt;b&gt;barks&lt;/b&gt;"
        assert {conditions.get(name, name) for name in page["stimuli"]} == {
            "naive@w4a8",
            "naive@w8a8",
            "anchor-3500-hz",
        }
        clips = [read(out / path) for path in (page["reference"], *page["stimuli"].values())]
        assert len({(samples.shape, rate) for samples, rate in clips}) == 1
    assert [page["id"] for page in pages] == ["foley-000", "foley-003"]


def out_hash(out):
    return next(out.glob("configs/*.yaml")).stem.rpartition("-")[2]


def test_a_caption_without_a_clip_is_left_out_and_a_short_clip_is_padded(run, tmp_path):
    out = exported(run, tmp_path / "test")
    captions = json.loads((out / "conditions.json").read_text())["captions"]
    assert sorted(captions) == ["foley-000", "foley-002", "foley-003"]
    [padded] = out.glob("configs/resources/*/foley-002/naive-w4a8-*.wav")
    samples, _ = read(padded)
    assert len(samples) == 8000
    assert samples[6300:6400].any()
    assert not samples[6400:].any()


def test_the_anchor_has_nothing_above_its_edge():
    rng = np.random.default_rng(0)
    noise = (3000 * rng.standard_normal((32_000, 2))).astype(np.int16)
    item = with_anchor(Item(Clip(id="a", caption="noise"), {REFERENCE: noise}, 16_000))
    assert item.sounds[ANCHOR].shape == noise.shape
    ends = np.hanning(32_000)
    spectra = [np.abs(np.fft.rfft(ends * item.sounds[name][:, 1])) ** 2 for name in (ANCHOR, REFERENCE)]
    hertz = np.fft.rfftfreq(32_000, 1 / 16_000)
    bands = (hertz < 3400, hertz > 4000)
    level = [10 * np.log10(np.mean(spectra[0][band]) / np.mean(spectra[1][band])) for band in bands]
    assert level[0] == pytest.approx(0, abs=0.1)
    assert level[1] < -50
    low = Item(Clip(id="a", caption="noise"), {REFERENCE: noise}, 8000)
    assert with_anchor(low) is low


def beaqle(out):
    text = next(out.glob("config/*.js")).read_text()
    assert text.startswith("var TestConfig = ")
    return json.loads(text.removeprefix("var TestConfig = ").rstrip().rstrip(";"))


def test_beaqlejs_gets_sets_with_a_hidden_reference_or_pairs(run, tmp_path):
    sets = beaqle(exported(run, tmp_path / "mushra", "--format", "beaqlejs"))["Testsets"]
    assert len(sets) == 3
    assert sets[0]["Files"]["Reference"] == sets[0]["Files"]["hidden-reference"]
    assert len(sets[0]["Files"]) == 5
    out = exported(run, tmp_path / "abx", "--format", "beaqlejs", "--test", "abx", "--methods", "naive@w4a8")
    pairs = beaqle(out)["Testsets"]
    assert [set(one["Files"]) for one in pairs] == [{"A", "B"}] * 3
    assert len({one["TestID"] for one in pairs}) == 3
    assert all((out / path).is_file() for one in pairs for path in one["Files"].values())
    assert "AbxTest" in (out / "README.txt").read_text()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--format", "webmusra"], '--format "webmusra" is unknown. Did you mean "webmushra"?'),
        (["--test", "preference"], "webmushra has no test of preference"),
        (["--methods", "naive@w4a9"], 'no clips of "naive@w4a9" on tiny-tango. Did you mean "naive@w4a8"?'),
        (["--model", "tiny-tengo"], "expected one of tiny-tango"),
    ],
)
def test_what_cannot_be_made_is_said_in_a_line(run, tmp_path, capsys, flags, said):
    assert main(["listen", "export", str(run), "--out", str(tmp_path / "test"), *flags]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "test").exists()


def test_a_folder_with_something_in_it_is_not_touched(run, tmp_path, capsys):
    (tmp_path / "thesis.tex").write_text("...")
    assert main(["listen", "export", str(run), "--out", str(tmp_path)]) == 2
    assert "is not empty" in capsys.readouterr().err
