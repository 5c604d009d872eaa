"""The Frechet audio distance is that of all windows, and its removal of captions that of the windows left."""

import numpy as np
import pytest
import scipy.linalg

from admbench.metrics.extract import extract_features
from admbench.metrics.extractors.base import load_extractor
from admbench.metrics.fad import FrechetAudioDistance, frechet_audio_distance
from admbench.metrics.features import Features
from admbench.metrics.frechet import frechet_distance
from admbench.metrics.window_moments import mean_and_covariance, moments

DIM = 5


def windows(seed, n=12, count=7, shift=0.0):
    generator = np.random.default_rng(seed)
    mixing = generator.normal(size=(DIM, DIM))
    return (generator.normal(size=(n, count, DIM)) @ mixing + shift).astype(np.float32)


def of_windows(clips):
    """Features of clips of any numbers of windows."""
    rows = np.concatenate([moments(clip[None]) for clip in clips])
    means = np.stack([clip.mean(axis=0) for clip in clips])
    return Features(tuple(str(i) for i in range(len(clips))), {"embedding": means, "window_moments": rows})


def test_moments_give_mean_and_covariance_of_all_windows():
    clips = windows(0)
    mean, covariance = mean_and_covariance(moments(clips).astype(np.float64).sum(axis=0))
    flat = clips.reshape(-1, DIM).astype(np.float64)
    np.testing.assert_allclose(mean, flat.mean(axis=0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(covariance, np.cov(flat.T), rtol=1e-4, atol=1e-5)


def test_the_distance_is_that_of_the_formula():
    first, second = (windows(seed, shift=seed).reshape(-1, DIM).astype(np.float64) for seed in (1, 2))
    s1, s2 = np.cov(first.T), np.cov(second.T)
    expected = np.square(first.mean(axis=0) - second.mean(axis=0)).sum() + np.trace(
        s1 + s2 - 2 * scipy.linalg.sqrtm(s1 @ s2).real
    )
    metric = FrechetAudioDistance()
    made = metric.compute(of_windows(windows(1, shift=1)), of_windows(windows(2, shift=2)))
    assert made == pytest.approx(expected, rel=1e-5)
    assert made == pytest.approx(frechet_distance(first, second), rel=1e-5)


def test_equal_clips_are_at_no_distance():
    total = moments(windows(1)).astype(np.float64).sum(axis=0)
    assert frechet_audio_distance(total, total) == 0.0


def test_clips_of_any_length_count_by_their_windows():
    short, long = windows(3, n=6, count=2), windows(4, n=6, count=9)
    mixed = of_windows([*short, *long])
    flat = np.concatenate([short.reshape(-1, DIM), long.reshape(-1, DIM)])
    other = windows(5)
    expected = frechet_distance(flat, other.reshape(-1, DIM))
    assert FrechetAudioDistance().compute(mixed, of_windows(other)) == pytest.approx(expected, rel=1e-4)


def test_without_captions_it_is_the_distance_of_the_others():
    first, second = of_windows(windows(1)), of_windows(windows(2))
    metric = FrechetAudioDistance()
    subsets = np.array([[0, 3], [4, 5], [11, 1]])
    statistic = metric.statistic(first, second)
    assert statistic.n == 12
    for value, rows in zip(statistic.without(subsets), subsets, strict=True):
        kept = np.delete(np.arange(12), rows)
        assert value == pytest.approx(metric.compute(first.take(kept), second.take(kept)), rel=1e-6)


def test_one_window_in_all_has_no_distance():
    with pytest.raises(ValueError, match="1 windows; expected two or more"):
        mean_and_covariance(moments(windows(0, n=1, count=1)).astype(np.float64).sum(axis=0))


class Windowed:
    """An embedder of the two halves of a clip."""

    name, sample_rate, embedding_dim, sha256 = "halves", 8000, 2, "0" * 64

    def embed_audio(self, waveforms):
        from admbench.metrics.embedders.base import AudioFeatures

        halves = waveforms.reshape(len(waveforms), 2, -1)
        windows = np.stack([halves.mean(axis=2), halves.std(axis=2)], axis=2)
        return AudioFeatures(embedding=windows.mean(axis=1), logits=None, windows=windows)


def test_extraction_keeps_the_moments_of_windows_of_clips_of_any_length():
    from admbench.metrics.audio import Sound

    generator = np.random.default_rng(0)
    sounds = [Sound(generator.normal(size=n).astype(np.float32), 8000) for n in (8000, 8000, 16_000)]
    extractors = [load_extractor(name) for name in ("embedding", "logits", "window_moments")]
    features = extract_features(["a", "b", "c"], sounds, None, extractors, {"tagger": Windowed()})
    assert features["window_moments"].shape == (3, 1 + 2 + 3)
    np.testing.assert_array_equal(features["window_moments"][:, 0], [2, 2, 2])
    assert "logits" not in features
