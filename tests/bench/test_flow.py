"""The rectified flow of the zoo: what it is made from and how it is sampled; with toy networks, in seconds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from safetensors.torch import load_file
from torch import Tensor, nn

from admbench.bench.models.base import ModelCard
from admbench.bench.models.checkpoints import shipped
from admbench.bench.models.pipelines.embedded import RectifiedFlow
from admbench.bench.zoo import flows
from admbench.bench.zoo.architectures import BLUEPRINTS, scheduler
from admbench.bench.zoo.backbones import Conditions
from admbench.bench.zoo.flows import (
    Pairs,
    flow_time,
    make_pairs,
    pair_noise,
    retime,
    train_flow,
)

TEACHER = BLUEPRINTS["tiny-tango"]
ALPHAS = scheduler(TEACHER).alphas_cumprod
SHAPE = (8, 32, 8)


def toy_network() -> UNet2DConditionModel:
    torch.manual_seed(0)
    return UNet2DConditionModel(
        in_channels=8,
        out_channels=8,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=12,
        attention_head_dim=2,
        norm_num_groups=4,
    )


def toy_conditions(captions: int) -> Conditions:
    generator = torch.Generator().manual_seed(3)
    states = torch.randn(captions + 1, 5, 12, generator=generator).half()
    return Conditions(states, torch.ones(captions + 1, 5, dtype=torch.int64))


def drawn(count: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    clean, noise = torch.randn(2, count, *SHAPE, generator=generator)
    return clean, noise


# ---------------------------------------------------------------------------------------------------------------------
# A v-prediction is a rectified flow in other coordinates


def as_flow(v: Tensor, x: Tensor, alpha_cumprod: Tensor) -> Tensor:
    """The velocity u of a rectified flow at x = z / (a + b), from a v-prediction at z; all (n, ...), a^2 a number."""
    signal, noise = alpha_cumprod.sqrt(), (1 - alpha_cumprod).sqrt()
    return (signal + noise) * ((noise - signal) * x + v)


@pytest.mark.parametrize("timestep", [0, 250, 500, 999])
def test_the_velocity_of_a_v_prediction_is_noise_minus_clean(timestep):
    clean, noise = drawn(2)
    a, b = ALPHAS[timestep].sqrt(), (1 - ALPHAS[timestep]).sqrt()
    s = flow_time(ALPHAS)[timestep]
    x = (1 - s) * clean + s * noise
    assert torch.allclose(x, (a * clean + b * noise) / (a + b), atol=1e-6)
    assert torch.allclose(as_flow(a * noise - b * clean, x, ALPHAS[timestep]), noise - clean, atol=1e-5)


def test_a_step_of_euler_is_a_step_of_ddim():
    z, v = drawn(2)  # any latent and any prediction
    ddim = scheduler(TEACHER)
    ddim.set_timesteps(10)
    now, then = int(ddim.timesteps[3]), int(ddim.timesteps[4])
    scale = ALPHAS.sqrt() + (1 - ALPHAS).sqrt()
    after = ddim.step(v, now, z).prev_sample / scale[then]
    s, x = flow_time(ALPHAS), z / scale[now]
    assert torch.allclose(after, x + (s[then] - s[now]) * as_flow(v, x, ALPHAS[now]), atol=1e-5)


def test_a_refitted_time_embedding_says_at_flow_time_what_it_said_at_the_timestep():
    network = SimpleNamespace(time_proj=Timesteps(48, True, 0), time_embedding=TimestepEmbedding(48, 192))
    weights = load_file(shipped.folder_of(TEACHER.name) / "unet" / "diffusion_pytorch_model.safetensors")
    own = {name.removeprefix("time_embedding."): value for name, value in weights.items() if "time_embedding" in name}
    network.time_embedding.load_state_dict(own)

    def said(times: Tensor) -> Tensor:
        with torch.no_grad():
            said: Tensor = network.time_embedding(network.time_proj(times))
        return said

    before, unfitted = said(torch.arange(1000)), said(1000 * flow_time(ALPHAS))
    left = retime(network, ALPHAS)
    error = float((said(1000 * flow_time(ALPHAS)) - before).square().mean() / before.var())
    assert left < 0.02
    assert error < 0.02 < 0.1 * float((unfitted - before).square().mean() / before.var())


# ---------------------------------------------------------------------------------------------------------------------
# Pairs and training


@pytest.fixture
def small(monkeypatch):
    """Makes pairs two at a time, in two steps of the solver."""
    monkeypatch.setattr(flows, "CHUNK", 2)
    monkeypatch.setattr(flows, "TEACHER_STEPS", 2)


def _all_pairs(folder: Path, count: int) -> Pairs:
    folders = [folder / str(shard) for shard in range(flows.SHARDS)]
    for shard, own in enumerate(folders):
        make_pairs(TEACHER, toy_network().eval(), toy_conditions(count), own, shard=shard, count=count)
    return Pairs.load(folders)


def test_shards_make_every_pair_once_and_go_on_where_they_were_cut_off(small, tmp_path):
    whole = _all_pairs(tmp_path / "whole", 7)
    assert whole.clean.shape == (7, *SHAPE)
    assert len({row.tobytes() for row in whole.clean}) == 7
    _all_pairs(tmp_path / "cut", 7)
    kept, lost = tmp_path / "cut" / "0" / "00000.npy", tmp_path / "cut" / "0" / "00004.npy"
    lost.unlink()
    marked = np.load(kept) + 1
    np.save(kept, marked)
    again = _all_pairs(tmp_path / "cut", 7)
    assert np.array_equal(again.clean[:2], marked)  # what was there is not made again
    assert np.array_equal(again.clean[2:], whole.clean[2:])


def test_the_noise_of_a_pair_is_its_own_whatever_it_is_drawn_with():
    alone, among = pair_noise(np.array([5]), SHAPE), pair_noise(np.array([4, 5, 6]), SHAPE)
    assert torch.equal(alone[0], among[1])
    assert float(among.std()) == pytest.approx(1.0, abs=0.03)


class Product(nn.Module):
    """A backbone that is a product with one matrix, whatever it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(8, 8, 1, bias=False)

    def forward(self, sample: Tensor, timestep: Tensor, **told: Tensor) -> SimpleNamespace:
        return SimpleNamespace(sample=self.mix(sample))


def test_training_finds_the_velocity_of_least_squared_error(monkeypatch, tmp_path):
    monkeypatch.setattr(flows, "FLOW", replace(flows.FLOW, steps=150, warmup=5, learning_rate=5e-2, weight_decay=0.0))
    monkeypatch.setattr(flows, "retime", lambda *_: 0.0)
    silence = Pairs(np.zeros((12, *SHAPE), dtype=np.float16))
    network: Any = Product()
    train_flow(TEACHER, network, toy_conditions(12), silence, tmp_path)
    # of silence x = s e and u = e: the best factor is E[s] / E[s^2], with a quarter of the examples at s = 1
    share = flows.AT_NOISE
    best = (share + (1 - share) / 2) / (share + (1 - share) / 3)
    assert torch.allclose(network.mix.weight[:, :, 0, 0], best * torch.eye(8), atol=0.08)


# ---------------------------------------------------------------------------------------------------------------------
# Sampling


class StraightFlow(nn.Module):
    """Knows the clean latent of every noise: the velocity of straight lines to it."""

    def __init__(self, clean: Tensor) -> None:
        super().__init__()
        self.clean = clean
        self.told: list[float] = []

    def forward(self, sample: Tensor, timestep: Tensor, **told: Tensor) -> tuple[Tensor]:
        self.told.append(float(timestep[0]))
        return ((sample - self.clean) / (timestep[0] / 1000),)


def flow_model(backbone: nn.Module) -> RectifiedFlow:
    card = ModelCard("flow", "test", None, "0", None, 16_000, 2.56, SHAPE, default_steps=4, default_guidance=1.0)
    conditioner = lambda captions: {}  # noqa: E731
    return RectifiedFlow(card, {"backbone": backbone}, conditioner, FlowMatchEulerDiscreteScheduler(), lambda z: z)


@pytest.mark.parametrize(("steps", "timesteps"), [(1, [1000]), (2, [1000, 500]), (4, [1000, 750, 500, 250])])
def test_a_straight_flow_arrives_in_any_number_of_equal_steps(steps, timesteps):
    clean, _ = drawn(2)
    backbone = StraightFlow(clean)
    model = flow_model(backbone)
    made = model.latents(["a", "b"], [1, 2], steps=steps, guidance=1.0, batch_size=2)
    assert torch.allclose(made, clean, atol=1e-4)
    assert backbone.told == timesteps
    calls = list(model.trajectories(["a", "b"], seeds=[1, 2], steps=steps, guidance=1.0, batch_size=2))
    assert [call.timestep for call in calls] == timesteps
    assert not any(call.guided for call in calls)
