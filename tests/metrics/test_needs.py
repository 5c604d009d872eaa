"""What has to be computed of which clips: what asked scores read, and nothing that none of them does."""

from __future__ import annotations

import numpy as np
import pytest

from admbench.errors import PluginError, UsageError
from admbench.metrics import BUILTIN, registry
from admbench.metrics import extractors as extractor_registry
from admbench.metrics.audio import Sound
from admbench.metrics.base import Metric
from admbench.metrics.extract import extract_features
from admbench.metrics.extractors.base import AudioExtractor, load_extractor
from admbench.metrics.intervals import Mean
from admbench.metrics.needs import WHOSE, needed_extractors
from admbench.metrics.roles import role_of, roles_of
from admbench.metrics.scoring import score

TAGGER = {"embedding", "logits", "window_moments"}
"""What one pass of a tagger gives."""


def names(needed):
    return {whose: {one.name for one in extractors} for whose, extractors in needed.items()}


def test_of_real_clips_only_what_is_compared_with_them_is_computed():
    assert names(needed_extractors(["fd", "kl", "is", "clap"])) == {
        "generated": TAGGER | {"clap_audio", "clap_text"},
        "reference": TAGGER,
        "baseline": TAGGER | {"clap_audio", "clap_text"},
    }


@pytest.mark.parametrize(
    ("metrics", "roles"),
    [
        (["fd"], ["tagger"]),
        (["clap"], ["clap"]),
        (["clap_audio"], ["clap"]),
        (["snr", "latent_sqnr"], []),
        (["fd", "clap"], ["clap", "tagger"]),
    ],
)
def test_networks_that_no_asked_score_needs_do_not_run(metrics, roles):
    assert roles_of(needed_extractors(metrics)["generated"]) == roles


def test_without_captions_the_clap_network_does_not_run():
    needed = needed_extractors(["fd", "clap"], ["generated", "reference"], captioned=[])
    assert names(needed) == {"generated": TAGGER, "reference": TAGGER}
    of_one = needed_extractors(["clap"], ["generated", "baseline"], captioned=["generated"])
    assert names(of_one) == {"generated": {"clap_audio", "clap_text"}, "baseline": set()}


def test_a_score_that_has_nothing_to_be_compared_with_needs_nothing():
    assert names(needed_extractors(["fd", "is"], ["generated"])) == {"generated": TAGGER}
    assert names(needed_extractors(["fd"], ["generated"])) == {"generated": set()}
    assert names(needed_extractors(["clap_audio"], ["generated", "reference"])) == {
        "generated": set(),
        "reference": set(),
    }


def test_the_baseline_has_no_latents_that_differ_from_its_own():
    assert names(needed_extractors(["latent_sqnr"])) == {
        "generated": {"latents"},
        "reference": set(),
        "baseline": set(),
    }


def test_every_metric_reads_one_judge_at_most():
    roles = {name: role_of(registry.get(name)()) for name in BUILTIN}
    assert {name for name, role in roles.items() if role == "clap"} == {"clap", "clap_audio"}
    without_network = {"lmd", "mrstft", "snr", "latent_sqnr", "zimtohrli"}
    without_network |= {"visqol", "side_level", "level_difference", "channel_correlation"}
    assert {name for name, role in roles.items() if role is None} == without_network


@pytest.fixture
def nothing_stays_registered(monkeypatch):
    for one in (registry, extractor_registry.registry):
        monkeypatch.setattr(one, "_registered", {})
    load_extractor.cache_clear()
    yield
    load_extractor.cache_clear()


def test_features_of_two_judges_in_one_score_are_refused(nothing_stays_registered):
    @registry.register("mixed")
    class Mixed(Metric):
        name, summary, higher_is_better = "mixed", "both", True
        needs = frozenset({"embedding", "clap_audio"})

        def compute(self, generated, against):
            return 0.0

    with pytest.raises(PluginError, match='metric "mixed" reads the features of clap and tagger; expected one judge'):
        role_of(Mixed())


def test_an_unknown_extractor_is_named(nothing_stays_registered):
    @registry.register("misspelt")
    class Misspelt(Metric):
        name, summary, higher_is_better = "misspelt", "one", True
        needs = frozenset({"embeding"})

        def compute(self, generated, against):
            return 0.0

    with pytest.raises(UsageError, match=r'unknown extractor "embeding"\. Did you mean "embedding"'):
        needed_extractors(["misspelt"])


def test_an_extractor_of_ones_own_feeds_a_metric_of_ones_own(judges, nothing_stays_registered):
    """The zero crossings of a clip: no network, so the score names none."""

    @extractor_registry.register("crossings")
    class Crossings(AudioExtractor):
        name, summary = "crossings", "Zero crossings a second"
        missing = "the {whose} clips have no zero crossings"

        def extract(self, batch, judge):
            assert judge is None
            waveforms = batch.waveforms(8000)
            return (np.diff(np.signbit(waveforms), axis=1) != 0).sum(axis=1, keepdims=True)

    @registry.register("crossing-rate")
    class CrossingRate(Metric):
        name, summary, higher_is_better = "crossing-rate", "Zero crossings a second", False
        needs = frozenset({"crossings"})

        def compute(self, generated, against):
            return float(generated["crossings"].mean())

        def statistic(self, generated, against):
            return Mean(generated["crossings"][:, 0].astype(np.float64))

    needed = needed_extractors(["crossing-rate"], ["generated"])["generated"]
    assert ([one.name for one in needed], roles_of(needed)) == (["crossings"], [])
    time = np.arange(8000) / 8000
    tones = [Sound(np.sin(2 * np.pi * hertz * time + 0.1).astype(np.float32), 8000) for hertz in (100, 200, 300, 400)]
    features = extract_features(list("abcd"), tones, None, needed, {})
    found = score(features, None, None, ["crossing-rate"], judges)["crossing-rate"]
    assert (found["value"], found["n"], found["backbone"]) == (pytest.approx(500, abs=1), 4, None)
    bare = features.take([0, 1])
    lacking = score(type(bare)(bare.ids, {"levels": bare["levels"]}), None, None, ["crossing-rate"], judges)
    assert lacking["crossing-rate"]["reason"] == "the generated clips have no zero crossings"
    assert set(WHOSE) == {"generated", "reference", "baseline"}


def test_a_network_computes_once_for_all_that_read_it(judges):
    calls = []

    class Counting(type(judges["tagger"])):
        def embed_audio(self, waveforms):
            calls.append(len(waveforms))
            return super().embed_audio(waveforms)

    judge = Counting()
    extractors = [load_extractor(name) for name in ("embedding", "logits", "clap_audio")]
    clips = [Sound(np.full(8000, 0.1, np.float32), 8000)] * 3
    features = extract_features(list("abc"), clips, None, extractors, {"tagger": judge, "clap": judge})
    assert calls == [3]
    assert set(features.arrays) == {"levels", "embedding", "logits", "clap_audio"}
