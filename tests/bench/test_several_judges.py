"""Several judges in one run: each score once per judge, the first one's called and computed as if it were alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import admbench
from admbench.bench.cli.app import main
from admbench.bench.run.grid import load_grid
from admbench.bench.scoring.clips import read_clips, write_clips
from admbench.bench.scoring.features import cached_features, embed_clips
from admbench.bench.scoring.judges import identify, load_judges
from admbench.bench.scoring.spec import JudgeSpec
from admbench.errors import UsageError
from admbench.metrics.embedders import registry
from admbench.metrics.extractors.base import Judges, load_extractor

ONE = JudgeSpec(tagger="band-tagger", clap="band-clap")
BOTH = JudgeSpec(tagger="band-tagger,band-clap", clap="band-clap")
N = 12


@pytest.fixture
def folders(plugins: None, tmp_path: Path) -> dict[str, Path]:
    """Noise of N loudnesses, the same twice a little changed, with a caption each."""
    rng = np.random.default_rng(0)
    real = rng.normal(size=(N, 16_000)) * np.linspace(0.05, 0.3, N)[:, None]
    ids = [f"clip-{number:02d}" for number in range(N)]
    for name, amount in {"real": 0.0, "base": 0.02, "made": 0.05}.items():
        waveforms = (real + amount * rng.normal(size=real.shape)).astype(np.float32)
        write_clips(tmp_path / name, ids, ids, range(N), waveforms, 16_000)
    return {name: tmp_path / name for name in ("real", "base", "made")}


def scored(folders: dict[str, Path], metrics: list[str], judges: JudgeSpec) -> dict[str, dict[str, Any]]:
    made, real, base = folders["made"], folders["real"], folders["base"]
    return admbench.score_folders(made, real, baseline=base, metrics=metrics, judges=judges)


def test_each_score_is_there_once_per_judge_and_the_first_judges_are_as_always(folders: dict[str, Path]) -> None:
    metrics = ["fd", "kl", "clap", "lmd"]
    alone, both = scored(folders, metrics, ONE), scored(folders, metrics, BOTH)
    assert {key: both[key] for key in alone} == alone
    further = ["fd[band-clap]", "kl[band-clap]", "fd[band-clap]_vs_baseline", "kl[band-clap]_vs_baseline"]
    assert list(both) == [*alone, *further]
    assert both["kl[band-clap]"] == {"value": None, "reason": "the generated clips have no class logits"}
    other = scored(folders, ["fd"], JudgeSpec(tagger="band-clap"))
    for key, score in other.items():
        assert score["backbone"] == "band-clap"
        assert both[key.replace("fd", "fd[band-clap]")] == score


def test_the_space_of_captions_may_have_several_judges_too(folders: dict[str, Path]) -> None:
    scores = scored(folders, ["clap"], JudgeSpec(clap="tiny-clap,band-clap"))
    assert list(scores) == ["clap", "clap[band-clap]"]
    alone = scored(folders, ["clap"], JudgeSpec(clap="band-clap"))
    assert scores["clap[band-clap]"] == alone["clap"]
    assert scores["clap"]["backbone"] == "tiny-clap"


def test_the_clap_network_that_ships_judges_distances(folders: dict[str, Path]) -> None:
    """FAD-CLAP and KAD-CLAP."""
    scores = scored(folders, ["fd", "kad"], JudgeSpec(tagger="tiny-tagger,tiny-clap"))
    for key in ("fd[tiny-clap]", "kad[tiny-clap]", "fd[tiny-clap]_vs_baseline"):
        assert scores[key]["value"] is not None
        assert (scores[key]["backbone"], scores[key]["n"]) == ("tiny-clap", N)
        assert scores[key]["value"] != scores[key.replace("[tiny-clap]", "")]["value"]


class Counting:
    """A judge that counts its calls."""

    def __init__(self, judge: object) -> None:
        self._judge, self.calls = judge, 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._judge, name)

    def embed_audio(self, waveforms: np.ndarray) -> object:  # type: ignore[type-arg]
        self.calls += 1
        return self._judge.embed_audio(waveforms)  # type: ignore[attr-defined]


def test_a_network_with_two_seats_computes_once_and_what_it_made_is_kept_by_judge(folders: dict[str, Path]) -> None:
    extractors = [load_extractor(name) for name in ("embedding", "logits", "clap_audio")]
    loaded = load_judges(BOTH, extractors)
    assert loaded["tagger[band-clap]"] is loaded["clap"]
    clap: Any = Counting(loaded["clap"])
    counted: Judges = {"tagger": loaded["tagger"], "tagger[band-clap]": clap, "clap": clap}
    clips = read_clips(folders["made"])
    features = cached_features(clips, extractors, counted)
    assert clap.calls == 1
    assert set(features.arrays) == {"levels", "embedding", "logits", "embedding[band-clap]", "clap_audio"}
    np.testing.assert_array_equal(features["embedding[band-clap]"], features["clap_audio"])
    turned: Judges = {"tagger": clap, "tagger[band-tagger]": counted["tagger"]}
    again = cached_features(clips, extractors[:2], turned)
    assert clap.calls == 1, "who sits first does not matter to what is kept"
    np.testing.assert_array_equal(again["embedding"], features["embedding[band-clap]"])
    np.testing.assert_array_equal(embed_clips(clips, extractors, loaded)["embedding"], features["embedding"])


def test_only_judges_that_an_asked_score_reads_are_loaded(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without captions a CLAP network has nothing to say of them, and none computes for scores of waveforms."""
    loaded: list[str] = []
    for name in ("tiny-tagger", "tiny-clap"):
        judge = registry.get(name)
        load = judge.load
        monkeypatch.setattr(judge, "load", lambda weights, name=name, load=load: loaded.append(name) or load(weights))
    audio = folders["made"] / "audio"  # without its captions.json
    report = admbench.score_report(audio, folders["real"], metrics=["fd", "clap"], judges=JudgeSpec())
    assert report["scores"]["clap"]["reason"] == "the generated clips have no captions"
    assert loaded == ["tiny-tagger"]
    several = JudgeSpec(tagger="tiny-tagger,tiny-clap")
    report = admbench.score_report(audio, baseline=folders["base"], metrics=["lmd"], judges=several)
    assert list(report["scores"]) == ["lmd_vs_baseline"]
    assert loaded == ["tiny-tagger"]
    report = admbench.score_report(folders["made"], metrics=["clap"], judges=several)
    assert loaded == ["tiny-tagger", "tiny-clap"]
    assert report["reading"]["sample_rates"] == {"tiny-clap": 16_000}


def test_a_gate_on_folders_takes_margins_by_each_judge(
    folders: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    made, base, real = (str(folders[name]) for name in ("made", "base", "real"))
    judges = ("--tagger", "band-tagger,band-clap", "--clap", "band-clap")
    command = ["gate", "--generated", made, "--baseline", base, "--reference", real, *judges]
    main([*command, "--max", "fd=+5%", "--max", "fd[band-clap]=+5%", "--max", "fd[band-clap]_vs_baseline=5%"])
    (line,) = capsys.readouterr().out.splitlines()
    found = admbench.gate_folders(made, base, real, margins=["fd[band-clap]=+5%"], judges=BOTH)
    alone = admbench.gate_folders(made, base, real, margins=["fd=+5%"], judges=JudgeSpec(tagger="band-clap"))
    mine, theirs = found.cells[0].verdicts["fd[band-clap]"], alone.cells[0].verdicts["fd"]
    assert mine == replace(theirs, margin=mine.margin)
    assert "fd[band-clap] " in line
    assert "fd[band-clap]_vs_baseline " in line
    assert main([*command, "--max", "fd[vggish]=+5%"]) == 2
    assert "there is no score fd[vggish]; fd gives fd, fd_vs_baseline, fd[band-clap]" in capsys.readouterr().err


def test_judges_and_weights_as_they_are_typed(tmp_path: Path) -> None:
    table = {"tagger": ["laion-clap", "vggish"], "tagger_weights": {"vggish": "a.pth"}}
    assert JudgeSpec.model_validate(table) == JudgeSpec(tagger="laion-clap, vggish", tagger_weights="vggish=a.pth")
    spec = JudgeSpec(tagger="panns-cnn14-16k", tagger_weights="/w/Cnn14_16k_mAP=0.438.pth")
    assert spec.tagger_weights == {"panns-cnn14-16k": "/w/Cnn14_16k_mAP=0.438.pth"}
    two = JudgeSpec(tagger="panns-cnn14-16k,vggish", tagger_weights="panns-cnn14-16k=/w/a,mAP=0.4.pth,vggish=v.pth")
    assert two.tagger_weights == {"panns-cnn14-16k": "/w/a,mAP=0.4.pth", "vggish": "v.pth"}
    assert list(two.of_role("tagger")) == ["tagger", "tagger[vggish]"]
    assert JudgeSpec.model_validate_json(two.model_dump_json()) == two
    (tmp_path / "mine.toml").write_text(
        'models = ["tiny-tango"]\nmethods = ["fp32"]\n[metrics]\ntagger = ["tiny-tagger", "tiny-clap"]\n'
    )
    assert load_grid(tmp_path / "mine.toml", {}).metrics.judges.tagger == ("tiny-tagger", "tiny-clap")
    assert load_grid(tmp_path / "mine.toml", {"metrics.tagger": "vggish"}).metrics.judges.tagger == ("vggish",)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--tagger", "tiny-clap,tiny-clap"], '--tagger: the judge "tiny-clap" is listed twice'),
        (["--tagger", ","], "--tagger: "),
        (["--tagger", "tiny-tagger,tiny-clap", "--tagger-weights", "x"], '--tagger-weights: "x" is of which judge?'),
        (["--tagger", "tiny-tagger,Odd", "--clap", "tiny-clap"], '--tagger: "Odd" cannot stand in the name of a score'),
        (["--tagger", "tiny-tagger,tiny-tager"], 'unknown judge "tiny-tager". Did you mean "tiny-tagger"?'),
    ],
)
def test_a_mistake_is_one_line_for_a_score_and_for_a_run(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], message: str
) -> None:
    made = str(folders["made"])
    for command in (["score", "--generated", made, "--metrics", "fd"], ["run", "--out", str(tmp_path / "run")]):
        assert main([*command, *flags]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line
    with pytest.raises(ValueError, match="not among the judges tiny-tagger"):
        JudgeSpec.model_validate({"tagger_weights": {"vggish": "a.pth"}})


def test_what_features_hang_on_names_every_judge_in_its_seat(plugins: None) -> None:
    extractors = [load_extractor("embedding")]
    known = identify(BOTH, extractors)
    assert [entry[2] for entry in known] == ["band-tagger", "band-clap"]
    assert known[:1] == identify(ONE, extractors)
    with pytest.raises(UsageError, match="unknown judge"):
        identify(JudgeSpec(tagger="tiny-tagger,nobody"), extractors)
