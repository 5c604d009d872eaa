"""The Python API does what docs/api.md says."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

import admbench
from admbench.bench.scoring.candidates import candidate_seeds
from admbench.bench.scoring.clips import write_clips
from admbench.bench.scoring.judges import load_judges
from admbench.bench.scoring.report import sets_in_words
from admbench.bench.scoring.spec import JudgeSpec
from admbench.errors import CheckpointError, DataError, UsageError
from admbench.metrics.audio import resample
from admbench.metrics.extractors.builtin import ClapText

ROOT = Path(__file__).resolve().parents[2]
SPEC = "naive@w4a8[prompts=2,timesteps=2,steps=2]"


@pytest.fixture
def small_judges(plugins: None, monkeypatch: pytest.MonkeyPatch) -> None:
    judges = JudgeSpec(tagger="band-tagger", clap="band-clap")
    monkeypatch.setattr("admbench.bench.scoring.folders.JudgeSpec", lambda **_: judges)


def write_folder(folder: Path, seed: int, count: int = 6) -> None:
    generator = np.random.default_rng(seed)
    waveforms = generator.normal(scale=0.1, size=(count, 2048)).astype(np.float32)
    ids = [f"clip-{number}" for number in range(count)]
    write_clips(folder, ids, [f"caption {name}" for name in ids], range(count), waveforms, 16_000)


def test_the_examples_of_the_page_run(small_judges: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "generated", 1)
    write_folder(tmp_path / "reference", 2)
    rows = "".join(f"clip-{number},caption {number}\n" for number in range(6))
    (tmp_path / "captions.csv").write_text("id,caption\n" + rows)
    page = (ROOT / "docs" / "api.md").read_text()
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        if "read_records" in block:
            continue  # needs a finished run: see test_run
        block = block.replace('"tiny-tango"', '"fake-adm"').replace('"naive@w4a8"', f'"{SPEC}"')
        exec(compile(block, "docs/api.md", "exec"), names)
    assert names["audio"].shape == (2, 2048)  # type: ignore[attr-defined]
    assert set(names["scores"]) == {"fd", "kl", "is", "clap"}  # type: ignore[call-overload]


def test_the_method_of_the_readme_works(plugins: None, tmp_path: Path) -> None:
    block = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert block is not None
    exec(compile(block[1], "README.md", "exec"), {"__name__": "readme"})
    quantized = admbench.quantize(admbench.load_model("fake-adm"), "power-of-two")
    admbench.save_checkpoint(quantized, tmp_path / "checkpoint")
    weight = next(parameter for parameter in quantized.backbone.module.parameters() if parameter.ndim > 1)
    exponents = np.log2(np.abs(weight.detach().numpy()))
    np.testing.assert_array_equal(exponents, np.round(exponents))


def test_a_reloaded_checkpoint_gives_the_audio_of_the_model_in_memory(plugins: None, tmp_path: Path) -> None:
    quantized = admbench.quantize(admbench.load_model("fake-adm"), SPEC)
    admbench.save_checkpoint(quantized, tmp_path / "checkpoint")
    again = admbench.load_checkpoint(tmp_path / "checkpoint")
    prompts, seeds = ["a dog barks", "rain", "wind"], [1, 2, 3]
    memory = admbench.generate(quantized.model, prompts, seeds, steps=3)
    np.testing.assert_array_equal(admbench.generate(again, prompts, seeds, steps=3), memory)
    full = admbench.generate(admbench.load_model("fake-adm"), prompts, seeds, steps=3)
    assert not np.array_equal(full, memory)


def test_a_checkpoint_of_other_weights_is_refused(
    plugins: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    admbench.save_checkpoint(admbench.quantize(admbench.load_model("fake-adm"), "fp32"), tmp_path / "checkpoint")
    import fake_adm

    monkeypatch.setattr(fake_adm, "sha256_tensors", lambda tensors: "e" * 64)
    with pytest.raises(CheckpointError, match="made from other weights of fake-adm"):
        admbench.load_checkpoint(tmp_path / "checkpoint")


def test_prompts_and_seeds_go_together(plugins: None) -> None:
    model = admbench.load_model("fake-adm")
    with pytest.raises(UsageError, match="2 prompts and 1 seeds"):
        admbench.generate(model, ["a", "b"], [1])


def test_scores_of_equal_folders_and_of_folders_with_faults(small_judges: None, tmp_path: Path) -> None:
    write_folder(tmp_path / "a", 1)
    scores = admbench.score_folders(tmp_path / "a", tmp_path / "a")
    assert scores["fd"]["value"] == pytest.approx(0, abs=1e-6)
    assert scores["kl"]["value"] == pytest.approx(0, abs=1e-6)
    assert scores["clap"]["backbone"] == "band-clap"
    alone = admbench.score_folders(tmp_path / "a", metrics=["fd"])
    assert (alone["fd"]["value"], alone["fd"]["reason"]) == (None, "no reference audio")
    with pytest.raises(DataError, match="no such folder"):
        admbench.score_folders(tmp_path / "none")
    (tmp_path / "a" / "audio" / "clip-0.wav").write_bytes(b"")
    with pytest.raises(DataError, match=r"clip-0\.wav"):
        admbench.score_folders(tmp_path / "a")


def test_a_report_says_how_long_the_networks_computed(small_judges: None, tmp_path: Path) -> None:
    write_folder(tmp_path / "a", 3)
    first, again = (admbench.score_report(tmp_path / "a", metrics=["clap"])["cost"] for _ in range(2))
    assert 0 < first["network_seconds"] < first["seconds"]
    assert again["network_seconds"] == 0, "features are in the cache"


def test_a_clip_is_embedded_once_wherever_it_lies(small_judges: None, tmp_path: Path) -> None:
    write_folder(tmp_path / "a", 3)
    first = admbench.score_report(tmp_path / "a", metrics=["fd", "clap"], reference=tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    moved = admbench.score_report(tmp_path / "b", metrics=["fd", "clap"], reference=tmp_path / "a")
    assert moved["cost"]["network_seconds"] == 0
    assert moved["scores"] == first["scores"]
    clip = next((tmp_path / "b" / "audio").iterdir())
    soundfile.write(clip, np.random.default_rng(9).normal(scale=0.1, size=16_000), 16_000)
    changed = admbench.score_report(tmp_path / "b", metrics=["fd"], reference=tmp_path / "a")
    assert changed["cost"]["network_seconds"] > 0
    assert changed["scores"]["fd"]["value"] > first["scores"]["fd"]["value"]


def test_scores_against_a_baseline_need_its_folder(small_judges: None, tmp_path: Path) -> None:
    write_folder(tmp_path / "a", 1)
    write_folder(tmp_path / "b", 2)
    scores = admbench.score_folders(tmp_path / "a", baseline=tmp_path / "b", metrics=["kl", "snr", "lmd"])
    assert list(scores) == ["kl", "kl_vs_baseline", "snr_vs_baseline", "lmd_vs_baseline"]
    assert scores["kl"]["reason"] == "no reference audio"
    assert scores["kl_vs_baseline"]["value"] > 0
    assert scores["lmd_vs_baseline"]["value"] > 0
    assert -10 < scores["snr_vs_baseline"]["value"] < 0  # of noises of one level that have nothing in common: -3 dB
    alone = admbench.score_folders(tmp_path / "a", metrics=["snr"])
    assert alone == {"snr_vs_baseline": {"value": None, "reason": "no baseline audio"}}


def test_audio_of_any_kind_is_scored_and_its_faults_are_counted(small_judges: None, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(scale=0.1, size=(44_100, 2))
    soundfile.write(tmp_path / "wide.wav", noise, 44_100, subtype="PCM_24")
    soundfile.write(tmp_path / "narrow.flac", noise[:16_000, 0], 8_000)
    soundfile.write(tmp_path / "silent.wav", np.zeros(16_000), 16_000)
    soundfile.write(tmp_path / "short.wav", noise[:10], 16_000)
    report = admbench.score_report(tmp_path, metrics=["is"])
    assert report["audio"] == {"generated": {"clips": 4, "silent": 1, "clipped": 0, "too_short": 1, "nan": 0}}
    assert report["scores"]["is"]["n"] == 4
    assert report["reading"]["resampler"] == "soxr"
    assert set(report["reading"]["sample_rates"].values()) == {16_000}


def test_features_of_a_folder_are_computed_once(
    small_judges: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path / "a", 1)
    first = admbench.score_folders(tmp_path / "a")
    monkeypatch.setattr("admbench.bench.scoring.features.extract_features", lambda *_: pytest.fail("embedded again"))
    assert admbench.score_folders(tmp_path / "a") == first


def test_captions_come_from_a_file_by_name_or_by_order(small_judges: None, tmp_path: Path) -> None:
    folder = tmp_path / "plain"
    write_folder(tmp_path / "made", 1, count=2)
    (tmp_path / "made" / "audio").rename(folder)
    assert admbench.score_folders(folder, metrics=["clap"])["clap"]["reason"] == "the generated clips have no captions"
    (tmp_path / "named.csv").write_text("id,caption\nclip-1.wav,rain\nclip-0,a dog\n")
    (tmp_path / "ordered.txt").write_text("a dog\nrain\n")
    by_name, by_order = (
        admbench.score_folders(folder, metrics=["clap"], prompts=str(tmp_path / name))
        for name in ("named.csv", "ordered.txt")
    )
    assert by_name["clap"]["value"] == by_order["clap"]["value"] is not None
    (tmp_path / "short.txt").write_text("a dog\n")
    with pytest.raises(DataError, match=r"short\.txt: 1 captions for 2 clips"):
        admbench.score_folders(folder, prompts=str(tmp_path / "short.txt"))
    (tmp_path / "other.csv").write_text("id,caption\nclip-0,a dog\n")
    with pytest.raises(DataError, match="no caption for clip clip-1"):
        admbench.score_folders(folder, prompts=str(tmp_path / "other.csv"))


def test_what_is_left_out_is_said_with_both_sizes(small_judges: None, tmp_path: Path) -> None:
    """24 generated clips against 48 real ones; the same once the real ones were renamed; and both as whole sets."""
    write_folder(tmp_path / "made", 1, count=24)
    write_folder(tmp_path / "real", 2, count=48)
    (tmp_path / "made" / "audio" / "notes.m4a").write_bytes(b"no format that is read")
    shutil.copy(tmp_path / "made" / "audio" / "clip-0.wav", tmp_path / "made" / "audio" / "unlisted.wav")
    report = admbench.score_report(tmp_path / "made", tmp_path / "real", metrics=["fd", "kl"])
    found = report["sets"]["reference"]
    assert (found["generated"], found["reference"], found["pairs"]) == (24, 48, 24)
    assert found["left_out"] == {"generated": [], "reference": [f"clip-{row}" for row in range(24, 48)]}
    assert set(report["files_left_out"]["generated"]) == {"notes.m4a", "unlisted.wav"}
    assert report["scores"]["fd"]["against_left_out"] == 24
    in_words = sets_in_words(report)
    assert in_words[0] == (
        "24 generated clips against 48 reference clips, in 24 pairs of one name; left out: 24 reference without a"
        " generated clip of their name (clip-24, clip-25, clip-26 and 21 more)"
    )
    assert "not listed in captions.json" in in_words[2]
    whole = admbench.score_folders(tmp_path / "made", tmp_path / "real", metrics=["fd"], pairing="whole")["fd"]
    assert (whole["n"], whole["against_n"], whole["ci95"]) == (24, 48, None)
    assert whole["value"] != report["scores"]["fd"]["value"]
    (tmp_path / "renamed").mkdir()
    for clip in (tmp_path / "real" / "audio").iterdir():
        shutil.copy(clip, tmp_path / "renamed" / f"real-{clip.name}")
    with pytest.raises(UsageError, match="none of its 48 clips has the name of one of the 24 generated ones"):
        admbench.score_folders(tmp_path / "made", tmp_path / "renamed", metrics=["fd"])
    again = admbench.score_folders(tmp_path / "made", tmp_path / "renamed", metrics=["fd"], pairing="whole")["fd"]
    assert again["value"] == pytest.approx(whole["value"])


def test_unknown_names_are_attribute_errors() -> None:
    assert "quantize" in dir(admbench)
    with pytest.raises(AttributeError, match="no attribute 'quantise'"):
        _ = admbench.quantise


def test_the_best_of_several_candidates_is_the_one_that_clap_puts_nearest(plugins: None) -> None:
    model = admbench.load_model("fake-adm")
    seeds = candidate_seeds(5, 4)
    assert seeds[0] == 5
    assert seeds[:2] == candidate_seeds(5, 2)  # the more are made, the more there is to choose from
    assert len(set(seeds)) == 4
    each = admbench.generate(model, ["a dog barks"] * 4, seeds, steps=2)
    judges = JudgeSpec(clap="band-clap")
    judge = load_judges(judges, [ClapText()])["clap"]
    clips = [resample(clip, model.sample_rate, judge.sample_rate) for clip in each]
    clips = [np.pad(clip, (0, max(0, judge.sample_rate - len(clip)))) for clip in clips]  # as short ones are heard
    heard = judge.embed_audio(np.stack(clips))
    words = judge.embed_text(["a dog barks"])[0]
    nearest = int((np.asarray(heard.embedding) @ words).argmax())
    best = admbench.generate(model, ["a dog barks"], [5], steps=2, candidates=4, judges=judges)
    np.testing.assert_allclose(best[0], each[nearest], atol=1e-6)
    with pytest.raises(UsageError, match="candidates=0: expected 1 or more"):
        admbench.generate(model, ["a"], [1], candidates=0)
