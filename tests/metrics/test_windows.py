"""CLAP windows: ten seconds each, all of the clip, nothing random."""

import numpy as np

from admbench.metrics.embedders.windows import WINDOW, embed_windows, windows

RNG = np.random.default_rng(0)


def clip(samples, n=1):
    return (0.1 * RNG.normal(size=(n, samples))).astype(np.float32)


def test_ten_seconds_are_one_window_as_they_are():
    waveform = clip(WINDOW)
    np.testing.assert_array_equal(windows(waveform), waveform[:, None])


def test_a_short_clip_is_repeated_as_often_as_it_fits_then_silence():
    waveform = clip(WINDOW // 3 - 5)
    window = windows(waveform)[0, 0]
    np.testing.assert_array_equal(window[: waveform.size * 3], np.tile(waveform[0], 3))
    assert window.size == WINDOW
    assert not window[waveform.size * 3 :].any()


def test_the_windows_of_a_long_clip_cover_it_and_the_last_ends_with_it():
    waveform = clip(2 * WINDOW + 100, n=2)
    cut = windows(waveform)
    assert cut.shape == (2, 3, WINDOW)
    np.testing.assert_array_equal(cut[:, 0], waveform[:, :WINDOW])
    np.testing.assert_array_equal(cut[:, 1], waveform[:, WINDOW : 2 * WINDOW])
    np.testing.assert_array_equal(cut[:, 2], waveform[:, -WINDOW:])
    assert windows(clip(2 * WINDOW)).shape == (1, 2, WINDOW)


def test_a_clip_is_the_direction_of_the_mean_of_its_windows():
    waveform = np.concatenate([np.full((1, WINDOW), 0.5), np.full((1, WINDOW), 3.0)], axis=1).astype(np.float32)
    seen = []

    def embed(of_clip):
        seen.extend(of_clip[:, 0])
        return np.float32([[1, 0], [0, 1]])

    np.testing.assert_allclose(embed_windows(waveform, embed), [[np.sqrt(0.5), np.sqrt(0.5)]], rtol=1e-6)
    np.testing.assert_allclose(seen, [0.5, 1.0], atol=1 / 32767)  # beyond full scale is clipped, the rest 16 bits
