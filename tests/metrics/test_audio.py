"""Audio in: one way of reading, and every fault counted."""

import numpy as np
import pytest
import soundfile

from admbench.errors import DataError
from admbench.metrics.audio import Health, faults_of, levels, load_audio, read_audio

RATE = 16_000


def tone(seconds=1.0, frequency=440.0, rate=RATE, amplitude=0.5):
    return (amplitude * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def test_channels_are_averaged(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.stack([tone(), 0 * tone()], axis=1), RATE, subtype="FLOAT")
    np.testing.assert_allclose(load_audio(tmp_path / "a.wav", RATE), tone() / 2, atol=1e-7)


def test_a_file_at_the_right_rate_is_returned_sample_by_sample(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(), RATE, subtype="PCM_16")
    samples = load_audio(tmp_path / "a.wav", RATE)
    assert samples.dtype == np.float32
    assert samples.shape == (RATE,)
    np.testing.assert_allclose(samples, tone(), atol=1 / 32768)


@pytest.mark.parametrize("rate", [44_100, 48_000, 8_000])
def test_resampling_keeps_a_tone_and_its_length(tmp_path, rate):
    soundfile.write(tmp_path / "a.wav", tone(rate=rate), rate, subtype="FLOAT")
    samples = load_audio(tmp_path / "a.wav", RATE)
    assert len(samples) == RATE
    middle = slice(RATE // 10, -RATE // 10)
    assert np.std(samples[middle] - tone()[middle]) < 1e-3 * np.std(tone())


def test_resampling_removes_what_would_alias(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(frequency=15_000, rate=48_000), 48_000, subtype="FLOAT")
    assert np.std(load_audio(tmp_path / "a.wav", RATE)[RATE // 10 : -RATE // 10]) < 1e-4


@pytest.mark.parametrize(
    ("name", "subtype"),
    [("a.wav", "PCM_16"), ("a.wav", "PCM_24"), ("a.wav", "DOUBLE"), ("a.flac", "PCM_24"), ("a.aiff", "PCM_16")],
)
@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_any_format_rate_and_number_of_channels_is_read_as_it_is(tmp_path, name, subtype, rate):
    stereo = np.stack([tone(0.3, rate=rate), tone(0.3, 660, rate=rate)], axis=1)
    soundfile.write(tmp_path / name, stereo, rate, subtype=subtype)
    sound = read_audio(tmp_path / name)
    assert (sound.sample_rate, sound.samples.shape) == (rate, (round(0.3 * rate),))
    np.testing.assert_allclose(sound.samples, stereo.mean(axis=1), atol=2**-15)


def test_what_cancels_between_channels_is_silence_and_counted(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.stack([tone(), -tone()], axis=1), RATE)
    sound = read_audio(tmp_path / "a.wav")
    assert faults_of([levels(sound.samples, sound.sample_rate)])["silent"].tolist() == [True]


def test_unusable_files_are_errors_that_name_them(tmp_path):
    (tmp_path / "text.wav").write_text("not audio")
    (tmp_path / "nothing.wav").write_bytes(b"")
    soundfile.write(tmp_path / "whole.flac", tone(), RATE)
    (tmp_path / "cut.flac").write_bytes((tmp_path / "whole.flac").read_bytes()[:20])
    soundfile.write(tmp_path / "infinite.wav", np.float32([0, np.inf, 0]), RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "empty.wav", np.zeros(0, np.float32), RATE)
    soundfile.write(tmp_path / "nan.wav", np.float32([0, np.nan, 0]), RATE, subtype="FLOAT")
    for name, reason in [
        ("text.wav", "not a readable audio file"),
        ("nothing.wav", "not a readable audio file"),
        ("cut.flac", "not a readable audio file"),
        ("infinite.wav", "not every sample is a finite number"),
        ("empty.wav", "no samples"),
        ("nan.wav", "not every sample is a finite number"),
        ("absent.wav", "no such file"),
    ]:
        with pytest.raises(DataError, match=f"{name}: {reason}"):
            load_audio(tmp_path / name, RATE)


def test_each_fault_is_counted():
    quiet = tone(amplitude=10 ** (-57 / 20))  # 3 dB below its peak is its root mean square: right at -60 dBFS
    clips = {
        "fine": tone(),
        "silent": np.zeros(RATE, np.float32),
        "almost silent": quiet * 0.99,
        "quiet": quiet * 1.02,
        "clipped": np.clip(tone(amplitude=2), -1, 1),
        "full scale, not clipped": tone(amplitude=0.998),
        "short": tone(0.9),
        "silent and short": np.zeros(10, np.float32),
        "empty": np.zeros(0, np.float32),
        "not a number": np.where(np.arange(RATE) == 5, np.nan, tone()),
        "infinite": np.where(np.arange(RATE) == 5, np.inf, tone()),
    }
    expected = Health(clips=11, silent=4, clipped=1, too_short=3, nan=2)
    assert expected.to_json() == {"clips": 11, "silent": 4, "clipped": 1, "too_short": 3, "nan": 2}
    flags = faults_of([levels(clip, RATE) for clip in clips.values()])
    assert Health.of(flags) == expected
    named = {fault: [name for name, bad in zip(clips, own, strict=True) if bad] for fault, own in flags.items()}
    assert named == {
        "silent": ["silent", "almost silent", "silent and short", "empty"],
        "clipped": ["clipped"],
        "too_short": ["short", "silent and short", "empty"],
        "nan": ["not a number", "infinite"],
    }


def test_a_clip_is_short_of_what_was_asked_for():
    clips = np.stack([tone(2.5), tone(2.5)])
    made = [levels(clip, RATE) for clip in clips]
    assert not faults_of(made, seconds=2.56)["too_short"].any()
    assert faults_of(made, seconds=10)["too_short"].all()
