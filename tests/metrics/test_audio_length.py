"""A file that was cut off is no shorter clip: what its header says is held against what is there."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from admbench.errors import DataError
from admbench.metrics.audio import MOST_SAMPLES, read_audio
from admbench.metrics.audio_length import cut_off, says_its_length

RATE = 48_000
FORMATS = {
    "a.wav": {},
    "float.wav": {"subtype": "FLOAT"},
    "rf64.wav": {"format": "RF64"},
    "a.aiff": {},
    "a.flac": {},
    "a.ogg": {},
    "a.opus": {"format": "OGG", "subtype": "OPUS"},
    "a.mp3": {},
}


@pytest.fixture(params=FORMATS)
def whole(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Three seconds of noise in a format."""
    noise = 0.1 * np.random.default_rng(0).normal(size=(3 * RATE, 2))
    soundfile.write(tmp_path / request.param, noise, RATE, **FORMATS[request.param])
    return tmp_path / request.param


def cut(file: Path, share: float) -> Path:
    data = file.read_bytes()
    file.write_bytes(data[: int(share * len(data))])
    return file


def test_a_whole_file_is_read_whole(whole: Path) -> None:
    assert cut_off(whole) is None
    assert read_audio(whole).waveform.shape == (2, 3 * RATE)


@pytest.mark.parametrize("share", [1 / 3, 0.9])
def test_a_file_that_was_cut_is_an_error_however_long_it_still_is(whole: Path, share: float) -> None:
    with pytest.raises(DataError, match=f"{whole.name}: (cut off: |not a readable audio file)"):
        read_audio(cut(whole, share))


@pytest.mark.parametrize("stated", [0, 0xFFFFFFFF])
def test_a_writer_to_a_pipe_says_no_length(stated: int, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(RATE), RATE)
    data = bytearray((tmp_path / "a.wav").read_bytes())
    place = data.index(b"data") + 4
    data[place : place + 4] = struct.pack("<I", stated)
    (tmp_path / "a.wav").write_bytes(data)
    assert cut_off(tmp_path / "a.wav") is None


def test_an_mp3_file_without_an_info_frame_does_not_say_how_long_it_is(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.mp3", np.zeros(RATE), RATE)
    data = (tmp_path / "a.mp3").read_bytes()
    assert says_its_length(tmp_path / "a.mp3")
    (tmp_path / "a.mp3").write_bytes(data.replace(b"Info", b"none").replace(b"Xing", b"none"))
    assert not says_its_length(tmp_path / "a.mp3")


def test_what_says_that_it_lasts_for_hours_is_not_read(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", np.zeros(RATE), RATE)
    data = bytearray((tmp_path / "a.flac").read_bytes())
    data[21:26] = bytes([data[21] | 0x0F, 0xFF, 0xFF, 0xFF, 0xFF])  # total samples in STREAMINFO, 36 bits
    (tmp_path / "a.flac").write_bytes(data)
    with pytest.raises(DataError, match=rf"a\.flac: says that it is \d+\.\d hours long; .* {MOST_SAMPLES} samples"):
        read_audio(tmp_path / "a.flac")


@pytest.mark.parametrize("content", [b"", b"RIFF", b"RIFF\0\0\0\0WAVE", b"OggS", b"ID3", b"FORM\0\0\0\0AIFF"])
def test_a_header_alone_is_no_audio(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.wav: "):
        read_audio(tmp_path / "a.wav")


@pytest.mark.parametrize("name", ["caf\udce9.wav", "no such folder/a.wav"])
def test_names_that_are_no_utf8_are_read_and_missing_files_named(name: str, tmp_path: Path) -> None:
    if "/" in name:
        with pytest.raises(DataError, match="no such file"):
            read_audio(tmp_path / name)
        return
    soundfile.write(tmp_path / "a.wav", np.full(8, 0.5), RATE)
    (tmp_path / "a.wav").rename(tmp_path / name)
    assert len(read_audio(tmp_path / name).samples) == 8


@pytest.mark.parametrize("name", ["a.wav", "rf64.wav", "a.aiff"])
def test_a_file_that_ends_anywhere_in_its_header_is_one_error(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    soundfile.write(file, np.zeros(9), RATE, **FORMATS[name])
    whole = file.read_bytes()
    for length in range(len(whole) - 18):
        file.write_bytes(whole[:length])
        with pytest.raises(DataError, match=name):
            read_audio(file)


def test_a_file_of_nothing_but_empty_chunks_is_not_walked_through(tmp_path: Path) -> None:
    file = tmp_path / "a.wav"
    file.write_bytes(b"RIFF\xff\xff\xff\x7fWAVE")
    with open(file, "ab") as opened:
        opened.truncate(2**30)
    assert cut_off(file) is None
