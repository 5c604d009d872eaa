"""Feature extraction: each network at its own rate, lengths kept apart, clips that are not finite marked."""

import numpy as np
import pytest

from metrics.extract import extract_features

RNG = np.random.default_rng(0)


def extract(embedders, waveforms, captions=None, *, rate=8000, batch_size=2):
    ids = [f"clip-{row}" for row in range(len(waveforms))]
    return extract_features(ids, waveforms, rate, captions, embedders.tagger, embedders.clap, batch_size)


def clip(samples, level=0.1):
    return (level * RNG.normal(size=samples)).astype(np.float32)


def test_rows_follow_the_clips_whatever_their_lengths_and_the_batch_size(embedders):
    waveforms = [clip(8000), clip(4000), clip(8000), clip(8000), clip(4000)]
    features = extract(embedders, waveforms, ["a", "bb", "c", "d", "ee"])
    assert features.embedding[:, 2].tolist() == [8000, 4000, 8000, 8000, 4000]
    assert features.embedding[:, 1] == pytest.approx([np.sqrt(np.mean(one**2)) for one in waveforms], rel=1e-5)
    assert features.clap_text.tolist() == [[1, 0], [0, 1], [1, 0], [1, 0], [0, 1]]
    assert features.clap_audio.shape == (5, 2)
    np.testing.assert_array_equal(features.embedding, extract(embedders, waveforms, batch_size=5).embedding)


def test_each_network_hears_its_own_sample_rate(embedders):
    assert extract(embedders, [clip(16_000)], rate=16_000).embedding[0, 2] == 8000


def test_clips_of_one_length_and_different_rates_are_kept_apart(embedders):
    features = extract(embedders, [clip(8000), clip(8000), clip(8000)], rate=[8000, 16_000, 8000])
    assert features.embedding[:, 2].tolist() == [8000, 4000, 8000]
    with pytest.raises(ValueError, match="as many"):
        extract(embedders, [clip(100)], rate=[8000, 8000])


def test_a_clip_that_is_not_finite_is_marked_and_the_others_are_embedded(embedders):
    waveforms = [clip(100), np.full(100, np.nan, np.float32), clip(100)]
    features = extract(embedders, waveforms, ["a", "b", "c"])
    assert features.not_finite() == ("clip-1",)
    assert np.isfinite(features.logits[[0, 2]]).all()


def test_even_if_no_clip_is_finite(embedders):
    assert extract(embedders, [np.full(100, np.inf, np.float32)]).not_finite() == ("clip-0",)


def test_a_clip_without_caption_means_no_text_embeddings(embedders):
    assert extract(embedders, [clip(100), clip(100)], ["a", None]).clap_text is None
    assert extract(embedders, [clip(100)], None).clap_text is None


def test_numbers_of_ids_clips_and_captions_must_agree(embedders):
    with pytest.raises(ValueError, match="as many clips and captions as ids"):
        extract(embedders, [clip(100)], ["a", "b"])
    with pytest.raises(ValueError, match="no clips"):
        extract(embedders, [])
