"""Trains `tiny-flow`: a rectified flow that makes a clip in 1, 2 or 4 steps, distilled from tiny-tango.

A rectified flow (Liu et al. 2022, "Flow Straight and Fast", arXiv 2209.03003) moves along x(s) = (1 - s) x0 + s e, s
from 1 to 0, and its network is asked for the velocity u = e - x0. A diffusion model in v-prediction on a
variance-preserving schedule is the same function in other coordinates. Its z = a x0 + b e, a^2 + b^2 = 1, lies on the
ray of x:

    s = b / (a + b),    x(s) = z / (a + b)

and from its v = a e - b x0, since e = b z + a v and x0 = a z - b v,

    u = (b - a) z + (a + b) v = (a + b) ((b - a) x + v(z = (a + b) x, t))

An Euler step of this u is a step of DDIM: both mix the predicted x0 and e anew. So the network starts from tiny-tango's
weights, its time embedding refitted to be told 1000 s instead of t (`retime`); the factors, between 1 and sqrt(2), and
the term in x are left to training.

What is few-step about it is the coupling ("reflow", section 2.2 of the paper; for text-conditional models InstaFlow,
Liu et al. 2023, arXiv 2309.06380): pairs of a noise and the clip that tiny-tango makes of it, guided, by a good solver.
On such pairs the lines hardly cross, the flow is nearly straight, and guidance is in the targets, so that sampling
needs none. A share of each batch is at s = 1, where a one-step sampler is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
from numpy.typing import NDArray
from torch import Tensor

from admbench.bench.models.sampling import Sampling
from admbench.bench.zoo.architectures import Blueprint, scheduler
from admbench.bench.zoo.backbones import Conditions
from admbench.bench.zoo.loop import Losses, Recipe, train
from admbench.progress import track

TIME_UNITS = 1000
"""The network is told s in these units, as diffusers' flow schedulers tell it."""
PAIRS = 1024
CHUNK = 32
"""Pairs that are denoised together and kept in one file."""
SHARDS = 2
"""Stages that make the pairs, side by side."""
TEACHER_STEPS = 8
"""Of DPM-Solver++ (2M), which at so few is as near to the end of the trajectory as DDIM at three times as many."""
TEACHER_GUIDANCE = 3.0
PAIR_SEED = 410
AT_NOISE = 0.25
"""Share of training examples at s = 1."""

FLOW = Recipe("tiny-flow", steps=800, batch_size=8, learning_rate=4e-4, seed=411, ema=0.996, warmup=50)


def flow_time(alphas_cumprod: Tensor) -> Tensor:
    """Time s = b / (a + b) of a variance-preserving schedule's timesteps, given a^2 of each: same shape."""
    signal, noise = alphas_cumprod.sqrt(), (1 - alphas_cumprod).sqrt()
    return noise / (signal + noise)


def retime(network: UNet2DConditionModel, alphas_cumprod: Tensor, *, steps: int = 400) -> float:
    """Refits a network's time embedding so that it says at 1000 s what it said at the timestep of that s.

    Args:
        network: trained on a variance-preserving schedule; its time embedding is changed in place.
        alphas_cumprod: a^2 of each timestep, (timesteps,).
        steps: of Adam, on all timesteps at once.

    Returns:
        The mean squared error that is left, over the variance of what is fitted.
    """
    timesteps = torch.arange(len(alphas_cumprod))
    with torch.no_grad():
        wanted = network.time_embedding(network.time_proj(timesteps))
        # the last timestep is the nearest that the schedule has to pure noise, s = 1
        times = torch.cat([flow_time(alphas_cumprod), torch.ones(20)]) * TIME_UNITS
        told, wanted = network.time_proj(times), torch.cat([wanted, wanted[-1:].expand(20, -1)])
    optimizer = torch.optim.Adam(network.time_embedding.parameters(), lr=3e-3)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * (1 - step / steps)
        optimizer.zero_grad()
        error = F.mse_loss(network.time_embedding(told), wanted)
        error.backward()
        optimizer.step()
    return float(error.detach() / wanted.var())


def solver(teacher: Blueprint) -> DPMSolverMultistepScheduler:
    """DPM-Solver++ (2M) over the teacher's schedule, from its last timestep down."""
    made: DPMSolverMultistepScheduler = DPMSolverMultistepScheduler.from_config(
        scheduler(teacher).config, timestep_spacing="trailing", algorithm_type="dpmsolver++", solver_order=2
    )
    return made


def pair_noise(rows: NDArray[np.int64], shape: tuple[int, ...]) -> Tensor:
    """The noise of some pairs, (rows, *shape), from each one's own seed."""
    drawn = [np.random.default_rng([PAIR_SEED, row]).standard_normal(shape, dtype=np.float32) for row in rows.tolist()]
    return torch.from_numpy(np.stack(drawn))


@torch.inference_mode()
def make_pairs(
    teacher: Blueprint, network: UNet2DConditionModel, conditions: Conditions, folder: Path, *, shard: int, count: int
) -> None:
    """Denoises every SHARDS-th chunk of pairs, guided, into `folder`; chunks that are there are not made again.

    Args:
        teacher: whose schedule and latents these are.
        network: its trained backbone.
        conditions: of the captions of all pairs, the empty one last.
        folder: gets `NNNNN.npy`, float16 (CHUNK, *latent_shape), by the chunk's first pair.
        shard: which chunks: 0 to SHARDS - 1.
        count: pairs of all shards.
    """
    in_chunks(
        lambda rows: _denoise(teacher, network, conditions, pair_noise(rows, teacher.latent_shape), rows),
        folder,
        shard=shard,
        count=count,
    )


def in_chunks(make: Callable[[NDArray[np.int64]], Tensor], folder: Path, *, shard: int, count: int) -> None:
    """Write what a teacher makes of every SHARDS-th chunk of rows, in float16; what is there is not made again.

    Args:
        make: the tensor of some rows, which are its first dimension.
        folder: gets `NNNNN.npy`, by the chunk's first row.
        shard: which chunks: 0 to SHARDS - 1.
        count: rows of all shards.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for start in track(range(shard * CHUNK, count, SHARDS * CHUNK), f"{folder.name}: what the teacher makes"):
        file = folder / f"{start:05d}.npy"
        if file.exists():
            continue
        made = make(np.arange(start, min(start + CHUNK, count)))
        unfinished = file.with_suffix(".tmp")
        with unfinished.open("wb") as out:
            np.save(out, made.half().numpy())
        unfinished.replace(file)


def of_chunks(folders: list[Path]) -> NDArray[np.float16]:
    """All rows that `in_chunks` left in its folders, in order."""
    files = sorted((file for folder in folders for file in folder.glob("*.npy")), key=lambda file: file.name)
    return np.concatenate([np.load(file) for file in files])


def _denoise(
    teacher: Blueprint, network: UNet2DConditionModel, conditions: Conditions, noise: Tensor, rows: NDArray[np.int64]
) -> Tensor:
    empty = np.full(len(rows), len(conditions.states) - 1)
    told = conditions.batch(torch.from_numpy(np.concatenate([empty, rows])))
    sampling = Sampling(solver(teacher), TEACHER_STEPS, [])
    latents = sampling.start(noise)
    for timestep in sampling.timesteps:
        predicted = network(torch.cat([latents, latents]), timestep, **told).sample
        unconditional, conditional = predicted.chunk(2)
        guided = unconditional + TEACHER_GUIDANCE * (conditional - unconditional)
        latents = sampling.step(guided, timestep, latents)
    return latents


@dataclass(frozen=True)
class Pairs:
    """Noise, by its seed, and what the teacher makes of it."""

    clean: NDArray[np.float16]
    """(n, *latent_shape), scaled latents."""

    @classmethod
    def load(cls, folders: list[Path]) -> Pairs:
        """What `make_pairs` left in its folders."""
        return cls(of_chunks(folders))

    def batch(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Clean latents and noise of some pairs, float32 (rows, *latent_shape)."""
        return torch.from_numpy(self.clean[rows].astype(np.float32)), pair_noise(rows, self.clean.shape[1:])


def train_flow(
    teacher: Blueprint, network: UNet2DConditionModel, conditions: Conditions, pairs: Pairs, folder: Path
) -> UNet2DConditionModel:
    """Flow matching on the teacher's pairs (eq. 1 of Liu et al.), from the teacher's weights.

    Args:
        teacher: the blueprint that the weights are of.
        network: holds the teacher's weights; trained in place.
        conditions: of the captions of all pairs.
        pairs: all of them.
        folder: of the stage.
    """
    noise_schedule: Any = scheduler(teacher)
    torch.manual_seed(FLOW.seed)
    retime(network, noise_schedule.alphas_cumprod)

    def losses(step: int, rng: np.random.Generator) -> Losses:
        rows = FLOW.rows(step, len(pairs.clean))
        clean, noise = pairs.batch(rows)
        times = (rng.permutation(len(rows)) + rng.uniform(0, 1, len(rows))) / len(rows)
        times[rng.uniform(size=len(rows)) < AT_NOISE] = 1.0
        s = torch.from_numpy(times.astype(np.float32))
        on_line = torch.lerp(clean, noise, s[:, None, None, None])
        predicted = network(on_line, TIME_UNITS * s, **conditions.batch(torch.from_numpy(rows))).sample
        errors = (predicted - (noise - clean)).square().mean(dim=(1, 2, 3))
        at_noise = errors.detach()[s == 1]
        return {"loss": errors.mean(), "at_noise": at_noise.mean() if len(at_noise) else errors.new_tensor(0.0)}

    train(network, FLOW, losses, folder)
    return network
