"""Feature extraction: each network at its own rate, lengths kept apart, clips that are not finite marked."""

import numpy as np
import pytest

from admbench.metrics.audio import Sound
from admbench.metrics.extract import extract_features
from admbench.metrics.extractors.base import load_extractor

RNG = np.random.default_rng(0)
ALL = [load_extractor(name) for name in ("embedding", "logits", "window_moments", "clap_audio", "clap_text")]


def extract(judges, waveforms, captions=None, *, rate=8000, batch_size=2):
    ids = [f"clip-{row}" for row in range(len(waveforms))]
    sounds = (Sound(waveform, rate) for waveform in waveforms)
    return extract_features(ids, sounds, captions, ALL, judges, batch_size)


def clip(samples, level=0.1):
    return (level * RNG.normal(size=samples)).astype(np.float32)


def test_rows_follow_the_clips_whatever_their_lengths_and_the_batch_size(judges):
    waveforms = [clip(16_000), clip(8000), clip(16_000), clip(16_000), clip(8000)]
    features = extract(judges, waveforms, ["a", "bb", "c", "d", "ee"])
    assert features["embedding"][:, 2].tolist() == [16_000, 8000, 16_000, 16_000, 8000]
    assert features["embedding"][:, 1] == pytest.approx([np.sqrt(np.mean(one**2)) for one in waveforms], rel=1e-5)
    assert features["clap_text"].tolist() == [[1, 0], [0, 1], [1, 0], [1, 0], [0, 1]]
    assert features["clap_audio"].shape == (5, 2)
    np.testing.assert_array_equal(features["embedding"], extract(judges, waveforms, batch_size=5)["embedding"])


def test_each_network_hears_its_own_sample_rate(judges):
    assert extract(judges, [clip(16_000)], rate=16_000)["embedding"][0, 2] == 8000


def test_a_clip_that_is_not_finite_is_marked_and_the_others_are_embedded(judges):
    waveforms = [clip(100), np.full(100, np.nan, np.float32), clip(100)]
    features = extract(judges, waveforms, ["a", "b", "c"])
    assert features.not_finite() == ("clip-1",)
    assert np.isfinite(features["logits"][[0, 2]]).all()


def test_even_if_no_clip_is_finite(judges):
    assert extract(judges, [np.full(100, np.inf, np.float32)]).not_finite() == ("clip-0",)


def test_a_clip_without_caption_means_no_text_embeddings(judges):
    assert "clap_text" not in extract(judges, [clip(100), clip(100)], ["a", None])
    assert "clap_text" not in extract(judges, [clip(100)], None)


def test_numbers_of_ids_clips_and_captions_must_agree(judges):
    with pytest.raises(ValueError, match="as many captions as ids"):
        extract(judges, [clip(100)], ["a", "b"])
    for sounds in ([], [Sound(clip(100), 8000)] * 3):
        with pytest.raises(ValueError, match="as many clips as ids"):
            extract_features(["one", "two"], sounds, None, ALL, judges)
    with pytest.raises(ValueError, match="no clips"):
        extract(judges, [])


def test_clips_of_several_rates_are_each_heard_at_the_networks(judges):
    sounds = [Sound(clip(rate), rate) for rate in (8000, 44_100, 8000, 48_000)]
    features = extract_features(list("abcd"), sounds, None, ALL, judges, 4)
    assert features["embedding"][:, 2].tolist() == [8000] * 4


def test_what_is_shorter_than_a_second_is_followed_by_silence(judges):
    short = np.full(2000, 0.5, np.float32)
    features = extract(judges, [short])
    assert features["embedding"][0, 2] == 8000
    assert features["embedding"][0, 1] == pytest.approx(0.25)  # a quarter of the energy density
    assert features["levels"][0] == pytest.approx([0.5, 0, 0.25])  # of the clip as it is


def test_no_more_than_a_batch_is_read_ahead(judges):
    read = []

    def sounds():
        for number in range(6):
            read.append(number)
            yield Sound(clip(8000), 8000)

    class Counting:
        sample_rate, embedding_dim = 8000, 3

        def embed_audio(self, waveforms):
            assert len(read) <= self.done + 2
            self.done += len(waveforms)
            return judges["tagger"].embed_audio(waveforms)

    tagger = Counting()
    tagger.done = 0
    extract_features(list("abcdef"), sounds(), None, [load_extractor("embedding")], {"tagger": tagger}, 2)
    assert tagger.done == 6
