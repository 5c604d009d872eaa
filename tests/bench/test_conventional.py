"""Folders scored as other tools do: numbers under their names, and what is not here by name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import admbench
from admbench.bench.cli.app import main
from admbench.bench.scoring.clips import write_clips
from admbench.bench.scoring.spec import JudgeChoice
from admbench.errors import UsageError
from admbench.metrics.embedders import registry
from admbench.metrics.embedders.base import AudioFeatures
from admbench.metrics.frechet import frechet_distance


class Levels:
    """Hears the loudness of quarters of a clip; windows are the quarters."""

    name, sample_rate, sha256 = "levels", 16_000, "a" * 64

    @classmethod
    def load(cls, weights: str | None) -> Levels:
        return cls()

    def embed_text(self, captions: list[str]) -> np.ndarray:
        return np.array([[1.0, float(caption[-1]), 0.5, 0.25] for caption in captions], np.float32)

    def embed_audio(self, waveforms: np.ndarray) -> AudioFeatures:
        quarters = waveforms[:, : waveforms.shape[1] // 4 * 4].reshape(len(waveforms), 4, -1)
        levels = np.sqrt(np.square(quarters).mean(axis=2)).astype(np.float32)
        return AudioFeatures(levels, 20 * levels, np.stack([levels, levels**2], axis=2))


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    monkeypatch.setenv("ADMBENCH_WEIGHTS", str(tmp_path / "no-weights"))
    for seed, name in enumerate(("made", "real")):
        generator = np.random.default_rng(seed)
        loudness = generator.uniform(0.05, 0.2, size=(12, 1))
        waveforms = (loudness * generator.normal(size=(12, 8_000)) + 0.05).astype(np.float32)
        ids = [f"clip-{row:02d}" for row in range(12)]
        write_clips(tmp_path / name, ids, ids, range(12), waveforms, 16_000)
    return tmp_path / "made", tmp_path / "real"


@pytest.fixture
def levels(monkeypatch: pytest.MonkeyPatch) -> None:
    get = registry.get
    monkeypatch.setattr(registry, "_registered", {"levels": Levels})
    monkeypatch.setattr(registry, "get", lambda name: Levels if name in ("levels", "vggish") else get(name))


def test_numbers_are_under_the_tools_names_and_what_lacks_weights_says_so(
    folders: tuple[Path, Path], levels: None
) -> None:
    report = admbench.score_by_convention("audioldm_eval", *folders, judge=JudgeChoice(name="levels"))
    scores = report["scores"]
    assert list(scores) == [
        "frechet_distance",
        "kullback_leibler_divergence_softmax",
        "kullback_leibler_divergence_sigmoid",
        "inception_score_mean",
        "inception_score_std",
        "frechet_audio_distance",
    ]
    assert all(one["value"] is not None and one["ci95"] is None for one in scores.values())
    assert (scores["frechet_distance"]["n"], scores["frechet_distance"]["against_n"]) == (12, 12)
    assert "against_n" not in scores["inception_score_mean"]
    of_av = admbench.score_by_convention("av-benchmark", *folders, judge=JudgeChoice(name="levels"))
    assert "passt" in of_av["scores"]["FD-PASST"]["reason"]
    assert of_av["scores"]["FD-PANN"]["value"] != scores["frechet_distance"]["value"]  # silence up to two seconds
    assert set(of_av["cannot"]) == {"IB-Score, DeSync"}


def test_the_distance_is_of_what_the_convention_lets_be_heard(folders: tuple[Path, Path], levels: None) -> None:
    scores = admbench.score_by_convention("audioldm_eval", *folders, judge=JudgeChoice(name="levels"))["scores"]
    embeddings = []
    for folder in folders:
        found = []
        for file in sorted((folder / "audio").iterdir()):
            pcm = np.frombuffer(file.read_bytes()[44:], "<i2").astype(np.float32) / 32768
            found.append(np.pad(pcm - pcm.mean(), (0, 24_000)))
        embeddings.append(Levels().embed_audio(np.stack(found)).embedding)
    assert scores["frechet_distance"]["value"] == pytest.approx(frechet_distance(*embeddings), rel=1e-4)


def test_the_command_prints_them_and_refuses_what_does_not_go_with_them(
    folders: tuple[Path, Path], levels: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made, real = map(str, folders)
    command = ["score", "--generated", made, "--reference", real, "--convention", "audioldm_eval", "--tagger", "levels"]
    assert main([*command, "--json", str(tmp_path / "s.json")]) == 0
    out, err = capsys.readouterr()
    rows = {line.split("\t")[0]: line.split("\t") for line in out.splitlines()}
    scores = json.loads((tmp_path / "s.json").read_text())["scores"]
    assert rows["frechet_distance"][1] == f"{scores['frechet_distance']['value']:.4f}"
    assert "not here: kernel_inception_distance" in err
    assert main([*command, "--metrics", "fd"]) == 2
    assert "--metrics: does not go with --convention" in capsys.readouterr().err
    assert main(["score", "--generated", made, "--convention", "audioldm_eval"]) == 2
    assert "name its folder by --reference" in capsys.readouterr().err
    with pytest.raises(UsageError, match='Did you mean "audioldm_eval"'):
        admbench.score_by_convention("audioldm-eval", *folders)


def test_scores_of_captions_are_of_the_generated_clips_and_the_tools_own_weights(
    folders: tuple[Path, Path], levels: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    get = registry.get
    monkeypatch.setattr(registry, "get", lambda name: Levels if "clap" in name else get(name))
    scores = admbench.score_by_convention("av-benchmark", *folders)["scores"]
    assert (
        "music_speech_audioset_epoch_15_esc_89.98.pt, the tool's own, is not in" in scores["LAION-CLAP-Score"]["reason"]
    )
    own = scores["MS-CLAP-Score"]
    assert (own["n"], own["against"], own["higher_is_better"], "against_n" in own) == (12, None, True, False)
    cosines = []
    for row, file in enumerate(sorted((folders[0] / "audio").iterdir())):
        pcm = np.frombuffer(file.read_bytes()[44:], "<i2").astype(np.float32) / 32768  # as it lies on disk
        audio, text = Levels().embed_audio(pcm[None]).embedding[0], Levels().embed_text([f"{row}"])[0]
        cosines.append(audio @ text / np.linalg.norm(audio) / np.linalg.norm(text))
    assert own["value"] == pytest.approx(np.mean(cosines), rel=1e-5)
    (tmp_path / "no-weights").mkdir()
    (tmp_path / "no-weights" / "music_speech_audioset_epoch_15_esc_89.98.pt").touch()
    scores = admbench.score_by_convention("av-benchmark", *folders)["scores"]
    assert scores["LAION-CLAP-Score"]["value"] is not None
    (tmp_path / "captions.csv").write_text("id,caption\n" + "".join(f"clip-{row:02d},0\n" for row in range(12)))
    named = admbench.score_by_convention("av-benchmark", *folders, prompts=str(tmp_path / "captions.csv"))["scores"]
    assert named["MS-CLAP-Score"]["value"] != own["value"]
    with pytest.raises(UsageError, match="--prompts: audioldm_eval has no score of captions"):
        admbench.score_by_convention("audioldm_eval", *folders, prompts=str(tmp_path / "captions.csv"))
