"""Trains `tiny-pingpong`: a student of tiny-dit that makes a clip in 4 or 8 steps, without guidance.

Stable Audio Open Small (Novack et al. 2025, arXiv 2505.08175) samples by ping-pong: each step predicts the clip from
where it stands, and puts new noise of the next, lower level on it. So its network has to know, at every noise level,
where the way to the clip ends: it is a consistency model (Song et al. 2023, arXiv 2303.01469, algorithm 1). The authors
train theirs against a discriminator, which takes real audio and days. Here the ways themselves are the data:

- Ways. The teacher as it ships denoises 2,048 noises, guided, in its own 25 steps; every latent on the way is kept.
  Steps are straight, so that a point between two of them is their mean.
- Objective. Where x(s) lies on a way that ends in x0, the network is asked for the velocity that ends there in one
  step, (x(s) - x0) / s. Half-way predictions of the student itself, as consistency training has them, are not needed:
  the ends are known. Guidance is in them. What ping-pong puts noise on anew is, at each level, distributed as the
  latents of the ways are.
- Levels. Even in log-SNR from -6 to 3, which is where the sampler looks, and a quarter of the examples at noise itself.
- Weights. tiny-dit's, with an update of rank 8 to each matrix and all other numbers its own (`low_rank`): 0.29 M
  numbers, 0.6 MB, where another transformer would be 10.8. Tried once and not kept: all weights trained came nearer to
  the ways that they learned from, and less near to others.
- Budget. 2,000 steps of 16; the error on 64 ways that are held out (`others` in the curve) falls to the end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from numpy.typing import NDArray
from scipy.special import expit
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from admbench.bench.models.networks.low_rank import DOWN, UP, updated
from admbench.bench.zoo.flows import in_chunks, of_chunks, pair_noise
from admbench.bench.zoo.loop import Losses, Recipe, train
from admbench.bench.zoo.transformers import CHANNELS, FRAMES, Denoiser
from admbench.methods.core.processor import has_bf16

NAME = "tiny-pingpong"
TEACHER = "tiny-dit"
WAYS = 2048
STEPS, GUIDANCE = 25, 3.0
"""Of the teacher: as it makes clips."""
RANK = 8
HELD_OUT = 64
"""Ways, the last ones, that the error is told on."""
AT_NOISE = 0.25
"""Share of training examples at s = 1."""
LOG_SNR = (-6.0, 3.0)
"""Between which the levels of the others lie, even."""

RECIPE = Recipe(
    NAME, steps=2_000, batch_size=16, learning_rate=2e-3, seed=431, ema=0.998, cooldown=0.25, weight_decay=0.0
)


@torch.inference_mode()
def make_ways(teacher: Denoiser, words: Tensor, folder: Path, *, shard: int, count: int) -> None:
    """Keep all latents on the teacher's ways, from noise to clip: float16 (n, STEPS + 1, CHANNELS, FRAMES).

    Args:
        teacher: with the weights that ship.
        words: `encode_words` of the captions of all ways.
        folder: see `flows.in_chunks`.
        shard: see there.
        count: ways of all shards.
    """

    def follow(rows: NDArray[np.int64]) -> Tensor:
        latents, told = pair_noise(rows, (CHANNELS, FRAMES)), words[torch.from_numpy(rows)].float()
        both, heard = torch.cat([told, told]), torch.arange(2 * len(rows)) >= len(rows)
        states = [latents]
        for step in range(STEPS):
            times = torch.full((2 * len(rows),), 1 - step / STEPS)
            without, spoken = teacher(torch.cat([latents, latents]), times, both, heard).chunk(2)
            latents = latents - (without + GUIDANCE * (spoken - without)) / STEPS
            states.append(latents)
        return torch.stack(states, dim=1)

    in_chunks(follow, folder, shard=shard, count=count)


@dataclass(frozen=True)
class Ways:
    """The latents on a teacher's ways."""

    states: NDArray[np.float16]
    """(n, STEPS + 1, CHANNELS, FRAMES), from noise to clip."""

    @classmethod
    def load(cls, folders: list[Path]) -> Ways:
        """What `make_ways` left in its folders."""
        return cls(of_chunks(folders))

    def at(self, rows: NDArray[np.int64], times: NDArray[np.float64]) -> tuple[Tensor, Tensor]:
        """Where some ways are at times (rows,) from 0 of the clip to 1 of noise, and the clips: float32 (rows, ...)."""
        steps = self.states.shape[1] - 1
        place = (1 - times) * steps
        before = np.minimum(place.astype(np.int64), steps - 1)
        share = torch.from_numpy((place - before).astype(np.float32))[:, None, None]
        one, other, last = (
            torch.from_numpy(self.states[rows, step].astype(np.float32)) for step in (before, before + 1, steps)
        )
        return torch.lerp(one, other, share), last


def scheduler() -> FlowMatchEulerDiscreteScheduler:
    """Ping-pong: from each predicted clip to the next noise level by new noise."""
    return FlowMatchEulerDiscreteScheduler(stochastic_sampling=True)


class Student(nn.Module):
    """A teacher's transformer with an update of low rank, which alone is trained; it begins as the teacher."""

    def __init__(self, teacher: Denoiser) -> None:
        super().__init__()
        self._teacher = [teacher.requires_grad_(False)]  # in a list: it is none of what is trained, averaged and kept
        self.numbers = nn.ParameterDict()
        for name, weight in teacher.transformer.named_parameters():
            if weight.ndim == 2:
                rows, columns = weight.shape
                self.numbers[_flat(name + DOWN)] = nn.Parameter(torch.randn(RANK, columns) / math.sqrt(columns))
                self.numbers[_flat(name + UP)] = nn.Parameter(torch.zeros(rows, RANK))
            else:
                self.numbers[_flat(name)] = nn.Parameter(weight.clone())

    def update(self) -> dict[str, Tensor]:
        """What `low_rank.apply_update` reads."""
        return {name.replace("/", "."): number for name, number in self.numbers.items()}

    def forward(self, noisy: Tensor, times: Tensor, words: Tensor) -> Tensor:
        """Velocities (n, CHANNELS, FRAMES); see `Denoiser.forward`."""
        (teacher,) = self._teacher
        weights = updated(dict(teacher.transformer.named_parameters()), self.update())
        told = torch.ones(len(noisy), dtype=torch.bool)
        velocity: Tensor = functional_call(
            teacher, {f"transformer.{name}": one for name, one in weights.items()}, (noisy, times, words, told)
        )
        return velocity


def _flat(name: str) -> str:
    """A parameter's own name may not have dots."""
    return name.replace(".", "/")


def train_student(teacher: Denoiser, ways: Ways, words: Tensor, folder: Path) -> Student:
    """Regress the ends of the teacher's ways, from wherever on them.

    The curve has `others`: of ways that are held out, the squared error of ends told from noise, over their variance.

    Args:
        teacher: with the weights that ship.
        ways: all of them.
        words: `encode_words` of their captions.
        folder: of the stage.
    """
    torch.manual_seed(RECIPE.seed)
    module, count = Student(teacher), len(ways.states)
    learned = max(count // 2, count - HELD_OUT)

    @torch.inference_mode()
    def evaluate(student: nn.Module, step: int) -> dict[str, float]:
        others = np.arange(learned, count)
        noise, clean = ways.at(others, np.ones(len(others)))
        ends = noise - student(noise, torch.ones(len(others)), words[torch.from_numpy(others)].float())
        return {"others": round(float((ends - clean).square().mean() / clean.var()), 5)}

    def losses(step: int, rng: np.random.Generator) -> Losses:
        rows = RECIPE.rows(step, learned)
        # one level from each of batch_size equal strata
        strata = (rng.permutation(len(rows)) + rng.uniform(0, 1, len(rows))) / len(rows)
        times = expit(-(LOG_SNR[0] + (LOG_SNR[1] - LOG_SNR[0]) * strata))
        times[rng.uniform(size=len(rows)) < AT_NOISE] = 1.0
        noisy, clean = ways.at(rows, times)
        s = torch.from_numpy(times.astype(np.float32))
        with sdpa_kernel(SDPBackend.MATH), torch.autocast("cpu", torch.bfloat16, enabled=has_bf16()):
            predicted = module(noisy, s, words[torch.from_numpy(rows)].float())
        wanted = (noisy - clean) / s[:, None, None]
        return {"loss": (predicted.float() - wanted).square().mean()}

    train(module, RECIPE, losses, folder, evaluate, evaluate_every=250)
    return module
