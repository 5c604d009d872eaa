"""The rectified flow of the zoo: what it is made from and how it is sampled; with toy networks, in seconds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from torch import Tensor, nn

from bench.models.base import ModelCard
from bench.models.embedded import RectifiedFlow
from bench.zoo import flows
from bench.zoo.architectures import BLUEPRINTS, backbone, scheduler
from bench.zoo.backbones import Conditions
from bench.zoo.flows import Pairs, as_flow, flow_time, make_pairs, pair_noise, retime, train_flow

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
    torch.manual_seed(2)
    network = backbone(TEACHER)
    with torch.no_grad():
        before = network.time_embedding(network.time_proj(torch.arange(1000)))
    left = retime(network, ALPHAS)
    with torch.no_grad():
        after = network.time_embedding(network.time_proj(1000 * flow_time(ALPHAS)))
    assert left < 0.05
    assert float((after - before).square().mean() / before.var()) < 0.05


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


def test_training_learns_the_velocity_of_the_pairs(monkeypatch, tmp_path):
    monkeypatch.setattr(flows, "FLOW", replace(flows.FLOW, steps=60, warmup=5, learning_rate=3e-3))
    clean = np.zeros((12, *SHAPE), dtype=np.float16)  # of silence the velocity is the noise itself
    network = train_flow(TEACHER, toy_network(), toy_conditions(12), Pairs(clean), tmp_path)
    noise = torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(9))
    told = toy_conditions(12).batch(torch.arange(4))
    with torch.no_grad():
        error = (network(noise, torch.full((4,), 1000.0), **told).sample - noise).square().mean()
        untrained = (toy_network()(noise, torch.full((4,), 1000.0), **told).sample - noise).square().mean()
    assert error < 0.5 * untrained


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
