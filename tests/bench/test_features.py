"""The cache of features: kept batch by batch, by judge; damage and a cache that cannot be written cost time alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import admbench
from admbench.bench.scoring.clips import read_clips, write_clips
from admbench.bench.scoring.features import BATCH_SIZE, cached_features
from admbench.bench.scoring.judges import load_judges
from admbench.bench.scoring.spec import JudgeSpec
from admbench.errors import DataError, UsageError
from admbench.metrics.extractors.base import Extractor, Judges, load_extractor

SPEC = JudgeSpec(tagger="band-tagger", clap="band-clap")
COUNT = 2 * BATCH_SIZE + 5


class Counting:
    """A judge that counts the clips that it embeds."""

    def __init__(self, judge: object) -> None:
        self._judge, self.clips = judge, 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._judge, name)

    def embed_audio(self, waveforms: np.ndarray) -> object:  # type: ignore[type-arg]
        self.clips += len(waveforms)
        return self._judge.embed_audio(waveforms)  # type: ignore[attr-defined]


@pytest.fixture
def folder(plugins: None, tmp_path: Path) -> Path:
    waveforms = np.random.default_rng(0).normal(scale=0.1, size=(COUNT, 16_000)).astype(np.float32)
    ids = [f"clip-{number:02d}" for number in range(COUNT)]
    write_clips(tmp_path / "made", ids, ids, range(COUNT), waveforms, 16_000)
    return tmp_path / "made"


def counting(names: list[str]) -> tuple[list[Extractor], Judges]:
    extractors = [load_extractor(name) for name in names]
    return extractors, {role: Counting(judge) for role, judge in load_judges(SPEC, extractors).items()}  # type: ignore[misc]


def embedded(judges: Judges) -> dict[str, int]:
    return {role: judge.clips for role, judge in judges.items()}  # type: ignore[attr-defined]


@pytest.mark.parametrize("bad", [0, BATCH_SIZE + 3, COUNT - 1])
def test_one_bad_clip_costs_none_of_those_before_it_or_in_its_batch(folder: Path, bad: int) -> None:
    clips = read_clips(folder)
    whole = clips[bad].path.read_bytes()
    clips[bad].path.write_bytes(b"")
    extractors, judges = counting(["embedding"])
    with pytest.raises(DataError, match=f"clip-{bad:02d}"):
        cached_features(clips, extractors, judges)
    kept = min(COUNT, (bad // BATCH_SIZE + 1) * BATCH_SIZE) - 1
    assert embedded(judges) == {"tagger": kept}
    clips[bad].path.write_bytes(whole)
    features = cached_features(clips, extractors, judges)
    assert embedded(judges) == {"tagger": COUNT}, "what was kept is not computed again"
    np.testing.assert_array_equal(features["embedding"], cached_features(clips, *counting(["embedding"]))["embedding"])


def test_a_metric_of_another_judge_costs_what_that_judge_computes(folder: Path) -> None:
    clips = read_clips(folder)
    cached_features(clips, *counting(["embedding", "logits"]))
    extractors, judges = counting(["embedding", "logits", "clap_audio", "clap_text"])
    features = cached_features(clips, extractors, judges)
    assert embedded(judges) == {"tagger": 0, "clap": COUNT}
    assert set(features.arrays) == {"levels", "embedding", "logits", "clap_audio", "clap_text"}
    clips[3] = replace(clips[3], caption="another caption")
    extractors, judges = counting(["embedding", "logits", "clap_audio", "clap_text"])
    cached_features(clips, extractors, judges)
    assert embedded(judges) == {"tagger": 0, "clap": 1}, "a judge of captions hears the clip again"


def test_a_damaged_entry_is_computed_again(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clips = read_clips(folder)
    first = cached_features(clips, *counting(["embedding"]))
    entries = sorted((tmp_path / "cache" / "features").iterdir(), key=lambda file: file.stat().st_size)
    largest = entries[-1]  # an embedding; levels are smaller
    largest.write_bytes(largest.read_bytes()[:-7])
    extractors, judges = counting(["embedding"])
    again = cached_features(clips, extractors, judges)
    assert embedded(judges) == {"tagger": 1}
    np.testing.assert_allclose(again["embedding"], first["embedding"], rtol=1e-6)
    assert "computed again" in capsys.readouterr().err
    _, after = counting(["embedding"])
    cached_features(clips, extractors, after)
    assert embedded(after) == {"tagger": 0}, "the entry is whole again"


def test_a_cache_that_cannot_be_written_is_one_warning(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("ADMBENCH_CACHE", str(tmp_path / "file"))
    features = cached_features(read_clips(folder), *counting(["embedding"]))
    assert features["embedding"].shape == (COUNT, 4)
    assert capsys.readouterr().err.count("features are not cached") == 1


def test_judges_that_no_score_reads_are_not_loaded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fake_adm

    monkeypatch.setattr(fake_adm.BandClapJudge, "load", lambda weights=None: pytest.fail("loaded"))
    report = admbench.score_report(folder, folder, metrics=["fd"], judges=SPEC)
    assert report["scores"]["fd"]["value"] == pytest.approx(0, abs=1e-9)
    assert report["reading"]["sample_rates"] == {"band-tagger": 16_000}
    with pytest.raises(BaseException, match="loaded"):
        admbench.score_report(folder, folder, metrics=["clap"], judges=SPEC)


def test_any_embedder_may_be_the_judge_of_distances(folder: Path) -> None:
    """The FAD of a CLAP network; it has no classes, so that KL is null with that reason."""
    both = JudgeSpec(tagger="band-clap", clap="band-clap")
    scores = admbench.score_folders(folder, folder, metrics=["fd", "kad", "kl", "clap"], judges=both)
    assert scores["fd"]["backbone"] == scores["kad"]["backbone"] == "band-clap"
    assert scores["fd"]["value"] == pytest.approx(0, abs=1e-9)
    assert scores["kl"] == {"value": None, "reason": "the generated clips have no class logits"}
    with pytest.raises(UsageError, match='clap "band-tagger": this judge can be a tagger only'):
        admbench.score_folders(folder, metrics=["fd"], judges=JudgeSpec(clap="band-tagger"))
