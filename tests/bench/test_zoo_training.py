"""Training machinery of the zoo: seeded batches, resuming, stages; with toy sizes, so that it runs in seconds."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from admbench.bench.suites.corpus.captions import vocabulary
from admbench.bench.suites.corpus.corpus import EVENTS, draw_clip
from admbench.bench.zoo import decoders
from admbench.bench.zoo import train as zoo
from admbench.bench.zoo.architectures import BLUEPRINTS, autoencoder, tokenizer
from admbench.bench.zoo.autoencoders import Latents, spectral_loss
from admbench.bench.zoo.check import clap_margin
from admbench.bench.zoo.decoders import Perceptor
from admbench.bench.zoo.judges import average_precision, contrastive, distort
from admbench.bench.zoo.loop import Recipe, train
from admbench.bench.zoo.texts import description
from admbench.errors import UsageError

RECIPE = Recipe("toy", steps=60, batch_size=8, learning_rate=1e-2, seed=5, ema=0.9, warmup=5)


def test_an_epoch_shows_every_example_once():
    rows = np.concatenate([RECIPE.rows(step, 40) for step in range(5)])
    assert sorted(rows) == list(range(40))
    assert not np.array_equal(RECIPE.rows(0, 40), RECIPE.rows(5, 40))


def test_rate_warms_up_and_decays():
    rates = [RECIPE.rate(step) for step in range(60)]
    assert rates[0] < rates[4] <= RECIPE.learning_rate
    assert rates[-1] < 0.05 * RECIPE.learning_rate


def test_what_comes_before_a_cooldown_does_not_depend_on_the_steps():
    recipe = dataclasses.replace(RECIPE, cooldown=0.25)
    longer = dataclasses.replace(recipe, steps=600)
    rates = [recipe.rate(step) for step in range(60)]
    assert rates[:45] == [longer.rate(step) for step in range(45)]
    assert rates[5:46] == [recipe.learning_rate] * 41
    assert np.allclose(np.diff(rates[45:]), -recipe.learning_rate / 15)
    assert rates[-1] == pytest.approx(recipe.learning_rate / 15)


def _toy(folder: Path, interrupt_at: int | None = None) -> torch.Tensor:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.1), nn.Linear(8, 1))
    data = torch.randn(64, 4, generator=torch.Generator().manual_seed(1))

    def losses(step, rng):
        if step == interrupt_at:
            raise KeyboardInterrupt
        x = data[RECIPE.rows(step, 64)] + torch.from_numpy(rng.normal(0, 0.1, (8, 4)).astype(np.float32))
        return {"loss": (module(x) - x.sum(dim=1, keepdim=True)).square().mean()}

    done = train(module, RECIPE, losses, folder)
    assert done.curve[-1]["loss"] < done.curve[0]["loss"] or len(done.curve) == 1
    return torch.cat([value.flatten() for value in module.state_dict().values()])


def test_an_interrupted_training_ends_where_an_uninterrupted_one_does(tmp_path, monkeypatch):
    whole = _toy(tmp_path / "whole")
    monkeypatch.setattr("admbench.bench.zoo.loop.SAVE_EVERY_SECONDS", 0.0)
    with pytest.raises(KeyboardInterrupt):
        _toy(tmp_path / "cut", interrupt_at=37)
    assert torch.equal(_toy(tmp_path / "cut"), whole)


def test_a_finished_training_is_loaded_not_repeated(tmp_path):
    first = _toy(tmp_path)
    assert torch.equal(_toy(tmp_path, interrupt_at=0), first)


def test_stages_come_after_what_they_need():
    seen = set()
    for stage in zoo.stages().values():
        assert set(stage.needs) <= seen
        seen.add(stage.name)


def test_an_unknown_or_unready_stage_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r'vae-65.*"vae-64"'):
        zoo.train(["vae-65"], tmp_path)
    with pytest.raises(UsageError, match="needs stage corpus"):
        zoo.train(["vae-64"], tmp_path)


@pytest.mark.parametrize("kind", ["clap", "t5", "clap-bert"])
def test_tokenizers_know_every_word(kind):
    words = tokenizer(kind)
    ids = words(" ".join(vocabulary()), truncation=False).input_ids
    assert words.unk_token_id not in ids
    assert words.unk_token_id in words("a zebra yodels").input_ids


def test_description_keeps_order_and_attributes():
    spec = draw_clip("train", 0, structure="sequential", event="dog_bark")
    swapped = dataclasses.replace(spec, events=spec.events[::-1])
    first, second = description(spec), description(swapped)
    assert first[EVENTS.index("dog_bark")] == 1
    assert not np.array_equal(first, second)
    assert np.array_equal(np.sort(first), np.sort(second))


def test_average_precision_of_a_perfect_and_a_reversed_ranking():
    truth = np.array([[1.0], [1.0], [0.0], [0.0]], dtype=np.float32)
    assert average_precision(np.array([[4.0], [3.0], [2.0], [1.0]], dtype=np.float32), truth)[0] == 1.0
    reverse = average_precision(np.array([[1.0], [2.0], [3.0], [4.0]], dtype=np.float32), truth)[0]
    assert reverse == pytest.approx((1 / 3 + 2 / 4) / 2)


def test_contrastive_loss_is_least_for_matching_pairs():
    vectors = torch.eye(6)
    scale = torch.tensor(3.0)
    assert contrastive(vectors, vectors, scale) < contrastive(vectors, vectors.roll(1, 0), scale)


def test_a_distorted_picture_is_masked_flattened_and_repeatable():
    steps = torch.linspace(-100, 0, 64 * 128).reshape(1, 1, 128, 64).repeat(6, 1, 1, 1)
    made = distort(steps, np.random.default_rng(4))
    assert made.shape == steps.shape
    assert torch.equal(made, distort(steps, np.random.default_rng(4)))
    assert torch.equal(steps[0], steps[5])  # the input is left alone
    assert not torch.equal(made[0], made[1])
    for clip in made:
        bands = (clip[0] == clip[0, 0]).all(dim=0)  # a masked band is constant over time
        assert 1 <= int(bands.sum()) <= 8
        assert float(clip.min()) > -100 - 20  # the floor is raised before noise of at most 4 dB is added


def test_perceptual_distance_is_zero_for_the_same_picture_and_grows_with_blur():
    torch.manual_seed(5)
    perceptor = Perceptor(classes=3).eval()
    picture = torch.randn(2, 1, 32, 64)
    blurred, flat = F.avg_pool2d(picture, 3, 1, 1), torch.zeros_like(picture)
    assert float(perceptor.distance(picture, picture)) == pytest.approx(0.0, abs=1e-6)
    assert 0 < float(perceptor.distance(blurred, picture)) < float(perceptor.distance(flat, picture))


def test_tuning_a_decoder_leaves_the_encoder(tmp_path, monkeypatch):
    monkeypatch.setattr(decoders, "decoder_recipe", lambda name: Recipe(name, 2, 2, 1e-3, 1))
    rng = np.random.default_rng(6)
    vae = autoencoder(4)
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    mean, std = (rng.uniform(0, 1, (5, 4, 20, 10)).astype(np.float16) for _ in range(2))
    pictures = rng.standard_normal((5, 160, 80)).astype(np.float16)
    decoders.tune_decoder("toy", vae, Perceptor(3), Latents(mean, std, 1.0), pictures, tmp_path)
    changed = {name.split(".")[0] for name, value in vae.state_dict().items() if not torch.equal(value, before[name])}
    assert changed <= {"decoder", "post_quant_conv"}
    assert "decoder" in changed


def test_spectral_loss_is_zero_for_the_same_sound_and_ignores_polarity():
    sound = torch.randn(2, 8000, generator=torch.Generator().manual_seed(3))
    assert float(spectral_loss(sound, sound)) == 0.0
    assert float(spectral_loss(-sound, sound)) < 1e-3
    assert float(spectral_loss(0.5 * sound, sound)) > 0.3


def test_clap_margin_counts_standard_errors():
    rng = np.random.default_rng(0)
    audio = rng.standard_normal((300, 16)).astype(np.float32)
    audio /= np.linalg.norm(audio, axis=1, keepdims=True)
    assert clap_margin(audio, audio).matching == pytest.approx(1.0, abs=1e-5)
    assert clap_margin(audio, audio).sigmas > 20
    assert abs(clap_margin(audio, np.roll(audio, 1, axis=0)).sigmas) < 4


def test_latent_shapes_follow_the_pictures():
    assert BLUEPRINTS["tiny-audioldm"].latent_shape == (8, 32, 8)
    assert BLUEPRINTS["tiny-make-an-audio"].latent_shape == (4, 10, 20)
