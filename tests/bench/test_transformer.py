"""tiny-dit: what its training and its shipped form have in common, with a network of a few random steps."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from admbench.bench.models.checkpoints import shipped
from admbench.bench.models.families.embedded import DIT
from admbench.bench.models.pipelines.embedded_transformer import TIME_UNITS, fold, unfold
from admbench.bench.zoo import train as zoo
from admbench.bench.zoo import transformers
from admbench.bench.zoo.autoencoders import Latents
from admbench.bench.zoo.check import check
from admbench.bench.zoo.export import write_transformer
from admbench.bench.zoo.transformers import Denoiser, encode_words, train_transformer, training_times
from admbench.errors import CheckpointError, UsageError
from admbench.files import read_json, write_json_atomic

CAPTIONS = ["a dog barks", "rain falls while a bell rings"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Denoiser, Path]]:
    """A denoiser after three steps, rounded as it ships, and a folder of checkpoints with it and its base."""
    work = tmp_path_factory.mktemp("work")
    rng = np.random.default_rng(7)
    mean, std = (rng.uniform(0, 1, (6, 8, 32, 8)).astype(np.float16) for _ in range(2))
    words = torch.from_numpy(rng.standard_normal((6, 32, 128)).astype(np.float16))
    few = dataclasses.replace(transformers.RECIPE, steps=3, batch_size=2, warmup=1, ema=None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transformers, "RECIPE", few)
        module = train_transformer(Latents(mean, std, 1.0), words, work / transformers.NAME)
        for holder in {transformers.BASE, *shipped.shared(transformers.BASE).values()}:
            shutil.copytree(shipped.folder_of(holder), work / "checkpoints" / holder)
        checkpoints = work / "checkpoints"
        write_transformer(work, checkpoints / transformers.NAME, checkpoints / transformers.BASE)
        patch.setattr(shipped, "CHECKPOINTS", checkpoints)
        shipped.manifest.cache_clear()
        yield module.half().float(), checkpoints
    shipped.manifest.cache_clear()


def test_a_frame_is_one_vector_with_the_bands_of_each_channel_side_by_side() -> None:
    pictures = torch.arange(2 * 8 * 32 * 8.0).reshape(2, 8, 32, 8)
    folded = fold(pictures)
    assert folded.shape == (2, transformers.CHANNELS, transformers.FRAMES)
    assert torch.equal(folded[1, 3 * 8 : 4 * 8, 5], pictures[1, 3, 5])
    assert torch.equal(unfold(folded, 8), pictures)


def test_times_reach_noise_and_are_most_about_the_middle() -> None:
    times = training_times((np.arange(10_000) + 0.5) / 10_000)
    assert (np.diff(times) < 0).all()
    assert 0 < times.min() < 0.05
    assert 0.999 < times.max() <= 1
    middle = ((times > 0.25) & (times < 0.75)).mean()
    assert middle > 0.65  # of even times it would be 0.5
    assert (times > 0.95).mean() > (times < 0.05).mean()  # where sampling begins, against where it ends


def test_before_training_no_caption_is_heard() -> None:
    torch.manual_seed(3)
    module, noise = Denoiser(), torch.randn(2, transformers.CHANNELS, transformers.FRAMES)
    words, times = torch.randn(2, 32, 128), torch.tensor([0.3, 0.9])
    with torch.no_grad():
        told = module(noise, times, words, torch.tensor([True, True]))
        untold = module(noise, times, words, torch.tensor([False, False]))
    assert torch.equal(told, untold)


def test_the_shipped_model_predicts_what_was_trained(trained: tuple[Denoiser, Path]) -> None:
    module, _ = trained
    model = DIT.load()
    latents = torch.randn(4, transformers.CHANNELS, transformers.FRAMES, generator=torch.Generator().manual_seed(5))
    conditioning = model.encode_text(CAPTIONS, guided=True)
    predicted = model.call_backbone({"sample": latents, "timestep": torch.full((4,), 400.0), **conditioning})
    words = encode_words(model.components["text_encoder"], CAPTIONS).float()
    told = torch.tensor([False, False, True, True])
    with torch.no_grad():
        expected = module(latents, torch.full((4,), 400.0 / TIME_UNITS), torch.cat([words, words]), told)
    # the words of training are kept in float16
    assert torch.allclose(predicted, expected, atol=2e-3 * float(expected.std()))
    assert not torch.allclose(predicted[0], predicted[1])


def test_it_makes_clips_of_its_own_length_alone(trained: tuple[Denoiser, Path]) -> None:
    model = DIT.load()
    audio = model.generate(CAPTIONS, [1, 2], steps=2)
    assert audio.shape == (2, 40_960)
    assert np.isfinite(audio).all()
    with pytest.raises(UsageError, match=r"2\.56 s"):
        model.set_seconds(1.0)
    assert DIT.components == ("backbone", "text_encoder", "vae")


def test_what_it_shares_is_stored_once_and_verified(trained: tuple[Denoiser, Path], tmp_path: Path) -> None:
    _, checkpoints = trained
    own = {path.name for path in (checkpoints / DIT.name).iterdir()}
    assert own == {"admbench.json", "manifest.json", "projection_model", "scheduler", "transformer"}
    listed = shipped.manifest(DIT.name)["files"]
    assert {"vae/config.json", "text_encoder/model.safetensors", "tokenizer/tokenizer.json"} <= listed.keys()
    with pytest.MonkeyPatch.context() as patch:
        shutil.copytree(checkpoints, tmp_path / "damaged")
        patch.setattr(shipped, "CHECKPOINTS", tmp_path / "damaged")
        (tmp_path / "damaged" / transformers.BASE / "text_encoder" / "config.json").write_text("{}")
        with pytest.raises(CheckpointError, match=r"tiny-tango/text_encoder/config\.json: differs"):
            DIT.load()


def test_a_holder_that_does_not_hold_is_refused(
    trained: tuple[Denoiser, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (DIT.name, transformers.BASE):
        (tmp_path / name).mkdir()
        content = read_json(trained[1] / name / "manifest.json") | {"shared": {"vae": "tiny-tango"}}
        write_json_atomic(tmp_path / name / "manifest.json", content)
    content["shared"] = {"vae": "tiny-flow"}
    write_json_atomic(tmp_path / transformers.BASE / "manifest.json", content)
    monkeypatch.setattr(shipped, "CHECKPOINTS", tmp_path)
    shipped.manifest.cache_clear()
    with pytest.raises(CheckpointError, match=r"shares vae with tiny-tango, which has it from tiny-flow"):
        shipped.place(DIT.name, "vae/config.json")
    shipped.manifest.cache_clear()


def test_only_the_model_that_shares_is_trained_on_what_is_shipped(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected tiny-dit or ways-0,ways-1,tiny-pingpong"):
        zoo.train(["tiny-tango"], tmp_path, reuse=True)


def test_a_check_of_some_models_says_what_it_cannot_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no embedded model 'tiny-dot': expected some of tiny-audioldm"):
        check(only=["tiny-dot"])
    with pytest.raises(UsageError, match="expected --card without --models"):
        check(card_path=tmp_path / "card.md", only=[DIT.name])
