"""What is asked of a sampler, and the recording of the pairs of prompt and step that it chooses."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from admbench.methods.core.calibration.calibration_set import CalibrationSet, stack_calls
from admbench.methods.protocol import BackboneCall, DenoisingModel
from admbench.progress import track

BATCH_SIZE = 16  # prompts denoised together while a set is drawn

Counts = NDArray[np.int64]
"""(prompts, steps): how often each pair of a prompt and a denoising step is recorded; step 0 is the noisiest."""


@dataclass(frozen=True)
class Drawing:
    """One calibration set to be drawn."""

    model: DenoisingModel
    prompts: tuple[str, ...]
    """The prompts whose trajectories are run."""
    seed: int
    timesteps: int
    """Samples of each prompt, on average."""
    steps: int
    """Denoising steps of a trajectory."""
    guidance: float
    """Classifier-free guidance scale of the trajectories."""
    recipe: Mapping[str, Any]
    """What the set will say of how it was drawn."""
    started: float = field(default_factory=time.perf_counter)

    @property
    def budget(self) -> int:
        """Pairs of prompt and step to record, each with both halves of guidance."""
        return len(self.prompts) * self.timesteps

    def generator(self, purpose: int) -> np.random.Generator:
        """Return a generator of random numbers that depends on the seed and on what it is for."""
        return np.random.default_rng([self.seed, purpose])

    def record(self, counts: Counts) -> CalibrationSet:
        """Run the trajectories and record the pairs as often as `counts` says.

        A network that is not called step by step (a decoder, a text encoder) has no steps to choose between: of it
        every call is recorded, once.

        Raises:
            DataError: the model's calls do not fit together, or hold NaN or infinity.
        """
        calls, stepwise = self.calls()
        recorded = (self._some(call, counts) for call in calls) if stepwise else calls
        return self.stack(call for call in recorded if call is not None)

    def stack(self, calls: Iterable[BackboneCall]) -> CalibrationSet:
        """Make a set of calls; see `admbench.methods.core.calibration.calibration_set.stack_calls`."""
        return stack_calls(calls, self.model, self.prompts, dict(self.recipe), self.started)

    def calls(self) -> tuple[Iterator[BackboneCall], bool]:
        """Return the calls of all trajectories, and whether they are those of a denoising loop."""
        running = self.model.trajectories(
            self.prompts,
            seeds=trajectory_seeds(self.seed, len(self.prompts)),
            steps=self.steps,
            guidance=self.guidance,
            batch_size=BATCH_SIZE,
        )
        first = list(islice(running, 2))
        stepwise = self.steps == 1 or (len(first) == 2 and first[1].step > 0)
        total = self.steps * -(-len(self.prompts) // BATCH_SIZE)
        return track(chain(first, running), "Drawing the calibration set", total if stepwise else None), stepwise

    def _some(self, call: BackboneCall, counts: Counts) -> BackboneCall | None:
        """Return what of a call is recorded, if anything."""
        if call.step >= self.steps:
            return None
        times = counts[list(call.prompt_indices), call.step]
        return _some_prompts(call, np.repeat(np.arange(len(times)), times)) if times.any() else None


def deal(per_step: Counts, prompts: int, generator: np.random.Generator) -> Counts:
    """Give each prompt the same number of samples, of steps spread as far as the numbers allow.

    No prompt gets a step twice unless there are more samples of the step than prompts.

    Args:
        per_step: (steps,), samples of each step; their sum is a multiple of `prompts`.
        prompts: number of prompts.
        generator: draws the order of the prompts.
    """
    steps = np.repeat(np.arange(len(per_step)), per_step)
    counts = np.zeros((prompts, len(per_step)), dtype=np.int64)
    np.add.at(counts, (generator.permutation(prompts)[np.arange(len(steps)) % prompts], steps), 1)
    return counts


def trajectory_seeds(seed: int, count: int) -> list[int]:
    """Return a noise seed per calibration prompt, none of which a caption of a suite is likely to have."""
    return np.random.SeedSequence([seed, 0xCA11B]).generate_state(count).tolist()


def _some_prompts(call: BackboneCall, rows: NDArray[np.int64]) -> BackboneCall:
    """Return a call as if it had been made for these of its prompts, both halves of guidance kept."""
    count = len(call.prompt_indices)
    taken = torch.from_numpy(np.concatenate([rows, count + rows]) if call.guided else rows)
    return replace(
        call,
        prompt_indices=tuple(np.array(call.prompt_indices)[rows].tolist()),
        inputs={name: tensor[taken.to(tensor.device)] for name, tensor in call.inputs.items()},
    )
