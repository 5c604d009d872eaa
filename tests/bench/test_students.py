"""tiny-pingpong: what its training and its shipped form have in common, with a student of a few random steps."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from admbench.bench.models.checkpoints import shipped
from admbench.bench.models.families.embedded import DIT, PINGPONG
from admbench.bench.models.networks.low_rank import UPDATE_FILE, apply_update, updated
from admbench.bench.models.pipelines.embedded_transformer import TIME_UNITS
from admbench.bench.zoo import students
from admbench.bench.zoo.export import write_student
from admbench.bench.zoo.students import Student, Ways, make_ways, train_student
from admbench.bench.zoo.transformers import Denoiser, encode_words
from admbench.errors import CheckpointError

CAPTIONS = ["a dog barks", "rain falls while a bell rings"]


def teacher() -> Denoiser:
    """tiny-dit's networks, as they ship."""
    model, module = DIT.load(), Denoiser()
    module.transformer.load_state_dict(model.backbone.state_dict())
    module.projections.load_state_dict(model.components["projection_model"].state_dict())
    return module.eval()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Student, Path]]:
    """A student after three steps, and a folder of checkpoints with it and those that it shares with."""
    work = tmp_path_factory.mktemp("work")
    states = np.random.default_rng(7).standard_normal((4, 3, students.CHANNELS, students.FRAMES)).astype(np.float16)
    words = torch.from_numpy(np.random.default_rng(8).standard_normal((4, 32, 128)).astype(np.float16))
    few = dataclasses.replace(students.RECIPE, steps=3, batch_size=2, warmup=1, ema=None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(students, "RECIPE", few)
        module = train_student(teacher(), Ways(states), words, work / students.NAME)
        checkpoints = work / "checkpoints"
        for holder in {DIT.name, *shipped.shared(DIT.name).values()}:
            shutil.copytree(shipped.folder_of(holder), checkpoints / holder)
        write_student(work, checkpoints / PINGPONG.name, checkpoints / DIT.name)
        patch.setattr(shipped, "CHECKPOINTS", checkpoints)
        shipped.manifest.cache_clear()
        yield module, checkpoints
    shipped.manifest.cache_clear()


def test_an_update_is_added_as_a_product_or_takes_the_place_of_what_is_no_matrix() -> None:
    network = nn.Linear(3, 2)
    up, down, bias = torch.tensor([[1.0], [2.0]]), torch.tensor([[1.0, 0.0, -1.0]]), torch.tensor([5.0, 6.0])
    weights = {"weight": torch.ones(2, 3), "bias": torch.zeros(2)}
    changed = updated(weights, {"weight.up": up, "weight.down": down, "bias": bias})
    assert changed["weight"].tolist() == [[2.0, 1.0, 0.0], [3.0, 1.0, -1.0]]
    assert changed["bias"] is bias
    assert updated(weights, {}) == weights
    assert set(dict(network.named_parameters())) == set(changed)


@pytest.mark.parametrize(
    ("update", "message"),
    [
        ({"weights.up": torch.ones(2, 1)}, "updates weights.up, which this network does not have"),
        ({"weight.up": torch.ones(2, 1)}, "does not fit this network .*weight.down"),
        ({"weight.up": torch.ones(2, 1), "weight.down": torch.ones(1, 4)}, "does not fit this network"),
        ({"bias": torch.ones(3)}, "does not fit this network"),
    ],
)
def test_an_update_of_another_network_is_refused(update: dict[str, torch.Tensor], message: str, tmp_path: Path) -> None:
    network, file = nn.Linear(3, 2), tmp_path / "update.safetensors"
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    save_file(update, file)
    with pytest.raises(CheckpointError, match=rf"update\.safetensors.*{message}"):
        apply_update(network, file)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_a_student_begins_as_its_teacher_and_trains_the_update_alone() -> None:
    module = teacher()
    student, noisy, words = Student(module), torch.randn(2, students.CHANNELS, students.FRAMES), torch.randn(2, 32, 128)
    times = torch.tensor([0.3, 1.0])
    told = torch.ones(2, dtype=torch.bool)
    with torch.no_grad():
        assert torch.allclose(student(noisy, times, words), module(noisy, times, words, told), atol=1e-6)
    student(noisy, times, words).square().mean().backward()
    assert all(parameter.grad is None for parameter in module.parameters())
    moved = [name for name, number in student.numbers.items() if number.grad is not None and number.grad.any()]
    assert {name for name in student.numbers if name.endswith(".up")} <= set(moved)
    numbers = sum(number.numel() for number in student.numbers.values())
    assert numbers < 0.11 * sum(parameter.numel() for parameter in module.transformer.parameters())


def test_between_two_steps_a_way_is_straight() -> None:
    rng = np.random.default_rng(3)
    noise, clip = rng.standard_normal((2, 5, 1, 4, 6))
    share = np.linspace(1, 0, 9)[None, :, None, None]
    ways = Ways((share * noise + (1 - share) * clip).astype(np.float16))
    times = np.array([1.0, 0.97, 0.5, 0.0])
    points, ends = ways.at(np.array([4, 0, 2, 1]), times)
    rows = [4, 0, 2, 1]
    expected = times[:, None, None] * noise[rows, 0] + (1 - times[:, None, None]) * clip[rows, 0]
    assert np.allclose(points.numpy(), expected, atol=4e-3)
    assert np.allclose(ends.numpy(), clip[rows, 0], atol=2e-3)


def test_ways_are_those_on_which_the_teacher_makes_clips(tmp_path: Path) -> None:
    model, words = DIT.load(), encode_words(DIT.load().components["text_encoder"], CAPTIONS)
    make_ways(teacher(), words, tmp_path / "ways-0", shard=0, count=2)
    states = Ways.load([tmp_path / "ways-0"]).states
    assert states.shape == (2, students.STEPS + 1, students.CHANNELS, students.FRAMES)
    noise = torch.from_numpy(states[:, 0].astype(np.float32))
    conditioning = model.encode_text(CAPTIONS, guided=True)
    predicted = model.call_backbone(
        {"sample": torch.cat([noise, noise]), "timestep": torch.full((4,), float(TIME_UNITS)), **conditioning}
    )
    without, told = predicted.chunk(2)
    first = noise - (without + students.GUIDANCE * (told - without)) / students.STEPS
    assert torch.allclose(torch.from_numpy(states[:, 1].astype(np.float32)), first, atol=1e-2)


def test_the_shipped_model_predicts_what_was_trained(trained: tuple[Student, Path]) -> None:
    module, checkpoints = trained
    own = {path.name for path in (checkpoints / PINGPONG.name).iterdir()}
    assert own == {"admbench.json", "manifest.json", "scheduler", "update"}
    assert (checkpoints / PINGPONG.name / UPDATE_FILE).stat().st_size < 1.2e6
    model = PINGPONG.load()
    latents = torch.randn(2, students.CHANNELS, students.FRAMES, generator=torch.Generator().manual_seed(5))
    conditioning = model.encode_text(CAPTIONS, guided=False)
    predicted = model.call_backbone({"sample": latents, "timestep": torch.full((2,), 400.0), **conditioning})
    words = encode_words(model.components["text_encoder"], CAPTIONS).float()
    with torch.no_grad():
        expected = module(latents, torch.full((2,), 400.0 / TIME_UNITS), words)
    # the words of training and the update that ships are kept in float16
    assert torch.allclose(predicted, expected, atol=2e-3 * float(expected.std()))
    before = DIT.load().call_backbone({"sample": latents, "timestep": torch.full((2,), 400.0), **conditioning})
    assert not torch.allclose(predicted, before, atol=2e-3 * float(expected.std()))
    assert PINGPONG.components == ("backbone", "text_encoder", "vae")


@pytest.mark.parametrize("steps", [1, 4, 8])
def test_of_a_perfect_network_ping_pong_ends_at_the_clip_however_many_its_steps(
    trained: tuple[Student, Path], steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = PINGPONG.load()
    clip = torch.randn(2, students.CHANNELS, students.FRAMES, generator=torch.Generator().manual_seed(6))
    seen = []

    def perfect(inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        level = float(inputs["timestep"][0]) / TIME_UNITS
        seen.append((inputs["sample"] - (1 - level) * clip) / level)  # the noise that the clip is under
        return (inputs["sample"] - clip) / level

    monkeypatch.setattr(model, "call_backbone", perfect)
    made = model.latents(CAPTIONS, [1, 2], steps=steps, guidance=1.0, batch_size=2)
    assert torch.allclose(made, clip, atol=1e-4)
    assert len(seen) == steps
    for noise, following in pairwise(seen):
        assert float(following.std()) == pytest.approx(1, abs=0.05)
        correlation = torch.corrcoef(torch.stack([noise.flatten(), following.flatten()]))[0, 1]
        assert abs(float(correlation)) < 0.06, "each step puts new noise on what it predicts"
