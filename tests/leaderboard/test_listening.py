"""The listening pages: which captions and clips are on them, that no sample is lost, and what their data says."""

import base64
import io
import json
import re
import wave

import numpy as np
import pytest
import soundfile

from admbench.leaderboard import build_site, read_runs
from admbench.leaderboard.clips import Clip, Pcm, evenly
from admbench.leaderboard.site.listening import choose_captions
from admbench.leaderboard.site.listening_clips import describe
from admbench.leaderboard.site.listening_data import ListeningData
from admbench.leaderboard.votes import Votes, merge

from .votes_of_listeners import export, session


def data_of(site):
    """The data of each page, by its model."""
    found = {}
    for page in sorted((site.root / "listen").glob("*.html")):
        (script,) = [path for path in site.root.glob("data/listening-*.js") if path.name in page.read_text()]
        (quoted,) = re.findall(r"\[\"listening\"\]=JSON\.parse\('(.*)'\);", script.read_text())
        value = ListeningData.model_validate_json(re.sub(r"\\(.)", r"\1", quoted))
        found[value.model] = value
    return found


def sound_of(site, sha256):
    text = (site.root / "clips" / f"{sha256}.js").read_text()
    encoded = json.loads(text.partition("]=")[2].rstrip(";\n"))
    return soundfile.read(io.BytesIO(base64.b64decode(encoded)), dtype="int16", always_2d=True)


def test_a_page_puts_recording_and_full_precision_beside_each_method(site):
    pages = data_of(site)
    assert set(pages) == {"tiny-audioldm", "tiny-tango"}
    page = pages["tiny-tango"]
    kinds = [(source.label, source.kind) for source in page.sources]
    assert kinds[:2] == [("reference", "reference"), ("fp32", "baseline")]
    assert {label for label, kind in kinds if kind == "method"} == {"naive@w8a8", "naive@w4a8", "naive@w2a4"}
    assert page.full == 1
    failed = [label for label, _ in kinds].index("naive@w2a4")
    assert {caption.clips[failed].missing for caption in page.captions} == {"failed: out of memory"}
    assert (len(page.captions), page.n) == (3, 12)


def test_clips_keep_every_sample_and_both_channels(make_run, make_record, tmp_path):
    run = make_run([make_record(spec="fp32", loss=0.0)], audio=True)
    path = next(run.glob("cells/*/*/audio/foley-000.wav"))
    stereo = np.random.default_rng(0).integers(-32768, 32767, (8000, 2)).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(stereo.tobytes())
    site = build_site(read_runs([run]), tmp_path / "site")
    page = data_of(site)["tiny-tango"]
    clip = page.captions[0].clips[page.full]
    samples, rate = sound_of(site, clip.sha256)
    assert (rate, clip.channels, clip.seconds) == (16_000, 2, 0.5)
    np.testing.assert_array_equal(samples, stereo)
    assert clip.peak == pytest.approx(1.0, abs=1e-3)


def test_a_clip_is_written_once_for_all_models(site):
    clips = {clip.sha256 for page in data_of(site).values() for caption in page.captions for clip in caption.clips}
    assert {path.stem for path in (site.root / "clips").iterdir()} == clips - {None}


def test_captions_are_taken_evenly_and_the_worst_of_each_method_in_turn():
    clips = [Clip(id=f"c{number:02d}", caption="a sound") for number in range(20)]
    even = [clip.id for clip in evenly(clips, 3)]
    assert even == ["c03", "c10", "c16"]
    chosen = choose_captions(clips, [["c10", "c05", "c06"], ["c07", "c05"]], 6)
    assert [clip.id for clip, _ in chosen] == ["c03", "c05", "c06", "c07", "c10", "c16"]
    assert [clip.id for clip, why in chosen if why == "worst"] == ["c05", "c06", "c07"]
    assert [clip.id for clip, _ in choose_captions(clips, [], 3)] == even
    assert len(choose_captions(clips, [["c01"]], 50)) == 20


def test_scores_of_clips_are_those_of_the_per_caption_results(site):
    page = data_of(site)["tiny-tango"]
    assert page.worst_by in {score.key for score in page.scores}
    assert {score.key: score.per for score in page.scores}["fd_vs_baseline"] == "set"
    method = [source.label for source in page.sources].index("naive@w4a8")
    assert all(page.worst_by in caption.clips[method].scores for caption in page.captions)
    assert {caption.chosen for caption in page.captions} == {"even", "worst"}


def test_a_clip_that_the_page_cannot_play_says_why():
    silent = describe(Pcm(np.zeros((16_000, 1), np.int16), 16_000, "a" * 64), {})
    assert (silent.sha256, silent.loudness, silent.peak) == ("a" * 64, None, 0.0)
    assert "3 channels" in describe(Pcm(np.zeros((10, 3), np.int16), 16_000, "a" * 64), {}).missing
    long = describe(Pcm(np.zeros((61_000, 1), np.int16), 1000, "a" * 64), {})
    assert (long.sha256, long.missing) == (None, "61 s long; the page plays 60 s at most")


def test_a_baseline_that_is_no_cell_is_still_heard(make_run, make_record, tmp_path):
    run = make_run([make_record()], audio=True)
    cell = next(run.glob("cells/*/*"))
    (run / "baselines" / "tiny-tango").mkdir(parents=True)
    (run / "baselines" / "tiny-tango" / "captions.json").write_text((cell / "captions.json").read_text())
    (cell / "audio").rename(run / "baselines" / "tiny-tango" / "audio")
    page = data_of(build_site(read_runs([run]), tmp_path / "site"))["tiny-tango"]
    full, method = page.captions[0].clips[1:]
    assert page.sources[1].kind == "baseline"
    assert full.sha256 is not None
    assert method.missing == "no audio in the run folder"


def test_only_recordings_of_the_same_captions_are_references(make_run, make_record, tmp_path):
    run = make_run([make_record()], audio=True)
    page = data_of(build_site(read_runs([run]), tmp_path / "same"))["tiny-tango"]
    assert [caption.clips[0].sha256 is not None for caption in page.captions] == [True] * 4
    captions = run / "reference" / "foley" / "captions.json"
    captions.write_text(captions.read_text().replace("number 1", "of a barking dog"))
    page = data_of(build_site(read_runs([run]), tmp_path / "one-other"))["tiny-tango"]
    assert [caption.clips[0].missing for caption in page.captions].count("no recording for this caption") == 1
    captions.write_text(captions.read_text().replace("test tone", "barking dog"))
    page = data_of(build_site(read_runs([run]), tmp_path / "other"))["tiny-tango"]
    assert [source.kind for source in page.sources] == ["method"]


def test_a_model_without_any_audio_has_no_page(make_run, make_record, make_failed, tmp_path):
    run = make_run([make_record("works"), make_failed("breaks")], audio=True)
    assert set(data_of(build_site(read_runs([run]), tmp_path / "site"))) == {"works"}


def test_a_clip_that_is_no_audio_costs_itself_alone(make_run, make_record, tmp_path):
    run = make_run([make_record()], audio=True)
    next(run.glob("cells/*/*/audio/*.wav")).write_bytes(b"no audio")
    page = data_of(build_site(read_runs([run]), tmp_path / "site"))["tiny-tango"]
    found = [clip.missing for caption in page.captions for clip in caption.clips if clip.missing]
    assert len(found) == 1
    assert "not a PCM WAV file" in found[0]
    assert str(tmp_path) not in found[0]


def test_votes_on_the_records_clips_are_on_the_board_and_others_are_listed(make_run, make_record, tmp_path):
    run = make_run([make_record(spec="fp32", loss=0.0), make_record()], audio=True)
    page = data_of(build_site(read_runs([run]), tmp_path / "before"))["tiny-tango"]
    full, method = page.captions[0].clips[page.full], page.captions[0].clips[page.full + 1]
    own, other = session(1, right=14), session(2)
    own["trials"] = [one | {"full_sha256": full.sha256, "method_sha256": method.sha256} for one in own["trials"]]
    votes = merge([("votes.json", Votes.model_validate(export(1, own, other)))])
    site = build_site(read_runs([run]), tmp_path / "site", votes=votes)
    for path in (site.index, site.listening):
        assert "14 of 16 right" in path.read_text()
        assert "heard (one listener)" in path.read_text()
    assert f"session {other['id']}: its clips are not those of naive@w4a8" in site.listening.read_text()
