"""One list of audio suffixes: what is scored may be a reference, and the other way round."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from admbench.audio_files import AUDIO_SUFFIXES, is_audio_file
from admbench.bench.scoring.captions import give_captions
from admbench.bench.scoring.clips import read_clips, write_wav
from admbench.bench.suites import load_suite
from admbench.bench.suites.spec import CaptionFileSpec
from admbench.metrics.audio import read_audio

RATE = 16_000
TONE = 0.3 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
SUBTYPES = {".opus": {"format": "OGG", "subtype": "OPUS"}, ".aif": {"format": "AIFF"}, ".wave": {"format": "WAV"}}
"""Of the suffixes that soundfile does not know by themselves."""


@pytest.fixture(params=[*AUDIO_SUFFIXES, ".WAV"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder with one clip of a format."""
    file = tmp_path / "clips" / f"tone{request.param}"
    file.parent.mkdir()
    soundfile.write(file, TONE, RATE, **SUBTYPES.get(request.param, {}))
    return file.parent


def test_a_clip_of_every_suffix_is_scored(folder: Path) -> None:
    (clip,) = read_clips(folder)
    assert clip.id == "tone"
    sound = read_audio(clip.path).at(RATE)
    assert np.sqrt(np.square(sound).mean()) == pytest.approx(0.3 / np.sqrt(2), rel=0.05)


@pytest.mark.parametrize("reference", ["tone", "with its suffix"])
def test_a_clip_of_every_suffix_is_a_reference(folder: Path, reference: str, tmp_path: Path) -> None:
    name = next(folder.iterdir()).name if reference == "with its suffix" else reference
    (tmp_path / "captions.csv").write_text(f"caption,id,reference\na tone,one,{name}\n")
    suite = load_suite(CaptionFileSpec(file=tmp_path / "captions.csv", audio=folder))
    audio = suite.reference_audio(suite.items[0])
    assert audio is not None
    assert np.sqrt(np.square(audio).mean()) == pytest.approx(0.3 / np.sqrt(2), rel=0.05)


def test_clotho_names_files_of_every_suffix(folder: Path, tmp_path: Path) -> None:
    name = next(folder.iterdir()).name
    captions = ",".join(f"caption_{number}" for number in range(1, 6))
    (tmp_path / "clotho.csv").write_text(f"file_name,{captions}\n{name},a,b,c,d,e\n")
    suite = load_suite(CaptionFileSpec(file=tmp_path / "clotho.csv", audio=folder))
    assert suite.items[0].reference == name


def test_captions_are_found_by_the_name_of_a_file_of_every_suffix(folder: Path, tmp_path: Path) -> None:
    name = next(folder.iterdir()).name
    (tmp_path / "captions.csv").write_text(f"id,caption\n{name},a tone\n")
    found = give_captions({"generated": read_clips(folder)}, str(tmp_path / "captions.csv"))
    assert [clip.caption for clip in found.clips["generated"]] == ["a tone"]


def test_other_files_are_no_audio(tmp_path: Path) -> None:
    assert not any(is_audio_file(name) for name in ("tone.txt", "wav", "tone.wav.part", ""))


def test_stereo_comes_back_from_the_disk_with_its_channels(tmp_path: Path) -> None:
    left, right = 0.5 * np.sin(np.arange(800) / 9).astype(np.float32), np.linspace(-1, 0.9, 800, dtype=np.float32)
    write_wav(tmp_path / "wide.wav", np.stack([left, right]), 8_000)
    sound = read_audio(tmp_path / "wide.wav")
    assert (sound.sample_rate, sound.waveform.shape) == (8_000, (2, 800))
    np.testing.assert_allclose(sound.waveform, [left, right], atol=2**-16)
    np.testing.assert_allclose(sound.samples, (left + right) / 2, atol=2**-15)
    write_wav(tmp_path / "mono.wav", left, 8_000)
    assert read_audio(tmp_path / "mono.wav").waveform.shape == (800,)
