"""Other tools' conventions: what a network hears, and how its outputs become numbers, as their code was read to do."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchaudio

from admbench.metrics.audio import Sound
from admbench.metrics.conventions import (
    AUDIOLDM_EVAL,
    AV_BENCHMARK,
    cosine_score,
    inception_score_of_ten,
    kl_of_sigmoids,
    kl_with_epsilon,
    shared_names,
)
from admbench.metrics.kl import kl_divergence

CLASSIFIER, PASST = AUDIOLDM_EVAL.slots[0], AV_BENCHMARK.slots[1]
RATE = 44_100


def stereo(seconds, offset=0.1):
    return (0.1 * np.random.default_rng(0).normal(size=(2, round(RATE * seconds))) + offset).astype(np.float32)


def logits(seed, n=23, classes=9):
    return (2 * np.random.default_rng(seed).normal(size=(n, classes))).astype(np.float32)


def test_audioldm_eval_hears_the_first_channel_without_its_mean_up_to_two_seconds():
    waveform = stereo(1.0)
    heard = AUDIOLDM_EVAL.waveform(Sound(waveform, RATE), 16_000, CLASSIFIER)
    first = torch.from_numpy(waveform[0])
    expected = torchaudio.functional.resample(first - first.mean(), RATE, 16_000).numpy()
    assert (heard.shape, heard.dtype) == ((32_000,), np.float32)
    np.testing.assert_array_equal(heard[:16_000], expected)
    assert not heard[16_000:].any()
    other = np.stack([waveform[0], 0 * waveform[1]])
    np.testing.assert_array_equal(AUDIOLDM_EVAL.waveform(Sound(other, RATE), 16_000, CLASSIFIER), heard)
    # the number of samples is the same at every rate: at 32 kHz it is one second
    assert AUDIOLDM_EVAL.waveform(Sound(waveform[:, :100], RATE), 32_000, CLASSIFIER).shape == (32_000,)
    assert len(AUDIOLDM_EVAL.waveform(Sound(stereo(3.0), RATE), 16_000, CLASSIFIER)) == 48_000


def test_av_benchmark_hears_the_mean_of_channels_without_its_mean_of_eight_seconds():
    waveform = stereo(9.0)
    heard = AV_BENCHMARK.waveform(Sound(waveform, RATE), 16_000, AV_BENCHMARK.slots[0])
    mono = torch.from_numpy(waveform).mean(dim=0)
    expected = torchaudio.transforms.Resample(RATE, 16_000)(mono - mono.mean()).numpy()[: 8 * 16_000]
    np.testing.assert_allclose(heard, expected, atol=1e-7)
    passt = AV_BENCHMARK.waveform(Sound(waveform, RATE), 32_000, PASST)
    assert passt.shape == (320_000,)
    assert passt[: 8 * 32_000].any()
    assert not passt[8 * 32_000 :].any()
    assert len(AV_BENCHMARK.waveform(Sound(stereo(0.5), RATE), 16_000, AV_BENCHMARK.slots[0])) == 8_000  # no padding


def test_divergences_are_torchs_with_their_epsilon():
    real, made = logits(1), logits(2)
    p, q = (torch.from_numpy(one).double() for one in (real, made))
    softmax = F.kl_div((q.softmax(1) + 1e-6).log(), p.softmax(1), reduction="sum") / len(p)
    assert kl_with_epsilon(real, made, 1e-6) == pytest.approx(float(softmax), rel=1e-12)
    sigmoid = F.kl_div((q.sigmoid() + 1e-6).log(), p.sigmoid(), reduction="sum") / len(p)
    assert kl_of_sigmoids(real, made, 1e-6) == pytest.approx(float(sigmoid), rel=1e-12)
    assert kl_with_epsilon(real, made, 0) == pytest.approx(kl_divergence(real, made).mean(), rel=1e-12)
    assert kl_with_epsilon(real, made, 1e-6) < kl_with_epsilon(real, made, 0)


def test_the_epsilon_makes_equal_clips_better_than_equal():
    real = logits(1)
    assert kl_with_epsilon(real, real, 1e-6) == pytest.approx(-9e-6, rel=1e-3)  # a millionth for each class
    assert kl_of_sigmoids([[np.log(0.2 / 0.8)]], [[np.log(0.9 / 0.1)]], 0) == pytest.approx(0.2 * np.log(0.2 / 0.9))


def test_ten_splits_are_of_names_in_order_shuffled_by_the_seed():
    matrix = logits(3, n=25)
    order = np.random.RandomState(2020).permutation(25)
    posteriors = torch.from_numpy(matrix[order]).double().softmax(1)
    scores = []
    for split in range(10):
        part = posteriors[split * 25 // 10 : (split + 1) * 25 // 10]
        scores.append(float((part * (part.log() - part.mean(0, keepdim=True).log())).sum(1).mean().exp()))
    assert inception_score_of_ten(matrix) == pytest.approx((np.mean(scores), np.std(scores)), rel=1e-12)
    with pytest.raises(ValueError, match="10 splits of 9 clips"):
        inception_score_of_ten(matrix[:9])


def test_folders_are_pairs_only_if_nearly_all_names_are_in_both():
    names = [f"clip-{row}" for row in range(200)]
    assert shared_names(names, names[1:], AUDIOLDM_EVAL) == names[1:]
    with pytest.raises(ValueError, match="198 names in common of 200 generated and 198 reference clips"):
        shared_names(names, names[2:], AUDIOLDM_EVAL)
    assert shared_names(names, names[150:], AV_BENCHMARK) == names[150:]
    with pytest.raises(ValueError, match="av-benchmark has no KL"):
        shared_names(names, ["other"], AV_BENCHMARK)


LAION, MICROSOFT = AV_BENCHMARK.slots[3:]


def test_laion_clap_hears_eight_seconds_and_microsofts_the_file_itself_channels_one_behind_the_other():
    waveform = stereo(2.0)
    heard = AV_BENCHMARK.waveform(Sound(waveform, RATE), 48_000, LAION)
    mono = torch.from_numpy(waveform).mean(dim=0)
    np.testing.assert_allclose(heard, torchaudio.transforms.Resample(RATE, 48_000)(mono - mono.mean()), atol=1e-7)
    assert len(AV_BENCHMARK.waveform(Sound(stereo(9.0), RATE), 48_000, LAION)) == 8 * 48_000
    own = AV_BENCHMARK.waveform(Sound(waveform, RATE), RATE, MICROSOFT)
    np.testing.assert_array_equal(own, waveform.reshape(-1))
    with pytest.raises(ValueError, match=r"8\.00 s, all channels one behind the other, of which the tool takes 7 s at"):
        AV_BENCHMARK.waveform(Sound(stereo(4.0), RATE), RATE, MICROSOFT)


def test_the_score_of_captions_is_torchs_mean_cosine():
    texts, clips = logits(1), logits(2)
    expected = torch.cosine_similarity(torch.from_numpy(texts), torch.from_numpy(clips), dim=-1).mean()
    assert cosine_score(texts, clips) == pytest.approx(float(expected), rel=1e-5)
