"""One run of a diffusers scheduler over a batch of latents: its scaling, its state, noise from each clip's seed."""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from admbench.errors import UsageError

UNITS_OF_TIME = 1000
"""What continuous time from 0 to 1 is counted in where the scheduler itself names no steps of training."""


def training_steps(scheduler: Any) -> int:
    """Steps of the training schedule; schedulers of flow matching over a plain time count as one step."""
    steps = int(scheduler.config["num_train_timesteps"])
    return steps if steps > 1 else UNITS_OF_TIME


SIGNAL = 0.02
"""Largest share of signal in the power of the latents at the first timestep for which pure noise may still stand."""


def set_steps(scheduler: Any, steps: int) -> None:
    """Set a scheduler's timesteps, or refuse a number of steps for which they are wrong.

    Schedulers over T training steps take every k-th, k the whole number below T / steps, and so begin at about
    T - T / steps, where they are trained to see some signal (Lin et al. 2024, arXiv 2305.08891). Where T is no
    multiple, they may begin far below: at 599 of 1000 for 600 steps. The run would start from pure noise, and the
    network be told that some of its power is signal.

    Some schedulers cannot take every number: PNDM's first steps are of Runge and Kutta and need four; where steps
    are as many as noise levels, rounding gives one level to two steps, between which multistep solvers divide by zero.

    Raises:
        UsageError: names the nearest numbers that can be taken.
    """
    total, fault = training_steps(scheduler), _fault(scheduler, steps)
    if fault is None:
        return
    below = next((count for count in range(steps - 1, 0, -1) if _can_take(scheduler, count)), None)
    above = next((count for count in range(steps + 1, total + 1) if _can_take(scheduler, count)), None)
    near = " or ".join(str(count) for count in (below, above) if count is not None)
    expected = f"expected a number that spans the noise levels, such as {near}"
    raise UsageError(f"steps={steps}: {type(scheduler).__name__} {fault}; {expected}")


def _can_take(scheduler: Any, steps: int) -> bool:
    return _fault(copy.deepcopy(scheduler), steps) is None


def _fault(scheduler: Any, steps: int) -> str | None:
    """Set the timesteps; return what is wrong with them, None if nothing is."""
    try:
        scheduler.set_timesteps(steps)
    except (ValueError, IndexError, RuntimeError, ZeroDivisionError):  # what its array operations happen to raise
        return "has no timesteps for this number"
    total, timesteps = training_steps(scheduler), scheduler.timesteps
    if not timesteps.is_floating_point():  # else over continuous time or sigmas, which always span it
        first = int(timesteps.max())
        if not _spans(scheduler, first, total, steps):
            return f"would begin at timestep {first} of {total}, where pure noise does not belong"
        if hasattr(scheduler, "index_for_timestep") and int((timesteps == first).sum()) > 1:
            return f"would begin at timestep {first} twice"
    sigmas = getattr(scheduler, "sigmas", None)
    if isinstance(sigmas, Tensor) and bool((sigmas[1:] == sigmas[:-1]).any()):
        return "would take a step between equal noise levels"
    return None


def _spans(scheduler: Any, first: int, total: int, steps: int) -> bool:
    if first >= total or first >= total - 1 - 1.25 * total / steps:
        return first < total
    return bool(scheduler.alphas_cumprod[first] <= SIGNAL)


class Sampling:
    """A scheduler between `set_timesteps` and the last step.

    Multistep schedulers remember earlier predictions and count their steps, so every run has a copy of its own: two
    that are interleaved do not disturb each other.

    Args:
        scheduler: one of diffusers.
        steps: denoising steps.
        generators: one on the CPU for each clip; stochastic schedulers draw each clip's noise from its own.
        sigmas: noise level of each step, of a model of flow matching that has a schedule of its own.
        eta: share of DDPM's noise in each step of DDIM (Song et al. 2020, eq. 16); 0 adds none. Of DDIM alone.

    Raises:
        UsageError: a number of steps whose timesteps do not span the noise levels, or that the scheduler cannot take.
    """

    def __init__(
        self,
        scheduler: Any,
        steps: int,
        generators: Sequence[torch.Generator],
        sigmas: Sequence[float] | None = None,
        eta: float = 0.0,
    ) -> None:
        self._scheduler = copy.deepcopy(scheduler)
        if sigmas is None:
            set_steps(self._scheduler, steps)
        else:
            self._scheduler.set_timesteps(sigmas=list(sigmas))
        self._generators = list(generators)
        takes_noise = "generator" in inspect.signature(self._scheduler.step).parameters
        self._options: dict[str, Any] = {"generator": self._generators} if takes_noise else {}
        if eta:
            self._options["eta"] = eta

    @property
    def timesteps(self) -> Tensor:
        """(calls,): the backbone's `timestep`, integers or, for continuous time, float32."""
        timesteps: Tensor = self._scheduler.timesteps
        return timesteps

    @property
    def labels(self) -> list[int]:
        """The timesteps as whole numbers: of a continuous time, which runs from 1 to 0, in steps of training."""
        timesteps = self.timesteps
        continuous = timesteps.is_floating_point() and float(timesteps.min()) >= 0 and float(timesteps.max()) <= 1
        units = training_steps(self._scheduler) if continuous else 1
        return [round(float(timestep) * units) for timestep in timesteps]

    def start(self, noise: Tensor) -> Tensor:
        """Unit noise (n, ...) on the CPU to the latents that the first step takes."""
        if hasattr(self._scheduler, "noise_sampler"):
            self._scheduler.noise_sampler = self._brownian_noise(noise)
        # 1 for those of DDPM's family; a value in sigmas, known only once timesteps are set, for those of Karras'; none
        # for those of flow matching, which start at noise itself
        latents: Tensor = noise * getattr(self._scheduler, "init_noise_sigma", 1.0)
        return latents

    def scaled(self, latents: Tensor, timestep: Tensor) -> Tensor:
        """Latents as the backbone takes them; those of flow matching as they are."""
        if not hasattr(self._scheduler, "scale_model_input"):
            return latents
        scaled: Tensor = self._scheduler.scale_model_input(latents, _as_stepped(timestep))
        return scaled

    def step(self, predicted: Tensor, timestep: Tensor, latents: Tensor) -> Tensor:
        """Latents after the step, from the backbone's (guided) prediction and the latents before it; all (n, ...)."""
        with warnings.catch_warnings():
            # a Brownian path ends at the sigmas of the configuration, which those of the steps pass by float noise; the
            # last step goes on to zero, with noise times zero
            warnings.filterwarnings("ignore", r"Should have t[ab][<>]=t[01]", UserWarning)
            after: Tensor = self._scheduler.step(
                predicted, _as_stepped(timestep), latents, return_dict=False, **self._options
            )[0]
        return after

    def _brownian_noise(self, noise: Tensor) -> Any:
        """The scheduler's own Brownian paths, drawn on the CPU: left to itself it draws them where the latents are."""
        from diffusers.schedulers.scheduling_dpmsolver_sde import BrownianTreeNoiseSampler

        config = self._scheduler.config
        seeds = [generator.initial_seed() for generator in self._generators]
        return BrownianTreeNoiseSampler(noise, sigma_min=config["sigma_min"], sigma_max=config["sigma_max"], seed=seeds)


def _as_stepped(timestep: Tensor) -> int | Tensor:
    """Schedulers over training steps index with an integer; those over sigmas look the very float up again."""
    return timestep if timestep.is_floating_point() else int(timestep)
