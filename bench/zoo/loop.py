"""One training loop for every stage of the zoo: seeded batches, cosine rate, EMA, checkpoints that resume, a curve."""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from admbench.bench.zoo.effort import scaled
from admbench.files import read_json, write_json_atomic
from admbench.progress import track

SAVE_EVERY_SECONDS = 120.0


@dataclass(frozen=True)
class Recipe:
    """How long and how fast a stage trains."""

    name: str
    steps: int
    batch_size: int
    learning_rate: float
    seed: int
    warmup: int = 100
    weight_decay: float = 0.01
    ema: float | None = None
    betas: tuple[float, float] = (0.9, 0.99)
    cooldown: float | None = None
    """Share of the steps, the last ones, over which the rate falls to nothing from what it was all along; None: the
    rate falls with a cosine from the end of the warm-up. What comes before a cooldown is the same however many steps
    follow, so that a training can be made longer."""

    def rate(self, step: int) -> float:
        """Linear warm-up, then a cosine to 2 % of the learning rate, or a constant and a linear cooldown."""
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        if self.cooldown is not None:
            return self.learning_rate * min(1.0, (self.steps - step) / max(1.0, self.cooldown * self.steps))
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.learning_rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))

    def rng(self, step: int) -> np.random.Generator:
        """Randomness of one step: a function of recipe and step alone, so that resuming changes nothing."""
        return np.random.default_rng([self.seed, step])

    def rows(self, step: int, count: int) -> NDArray[np.int64]:
        """Which of `count` examples make the batch of a step: each epoch is a new permutation."""
        start = step * self.batch_size
        picked: list[int] = []
        while len(picked) < self.batch_size:
            epoch, offset = divmod(start + len(picked), count)
            order = np.random.default_rng([self.seed, 1_000_003, epoch]).permutation(count)
            picked.extend(order[offset : offset + self.batch_size - len(picked)].tolist())
        return np.sort(np.array(picked, dtype=np.int64))


@dataclass
class Trained:
    """What a stage leaves: the (EMA) weights are in the module; the curve and the time are in stage.json."""

    seconds: float
    curve: list[dict[str, float]]


Losses = dict[str, Tensor]


def train(
    module: nn.Module,
    recipe: Recipe,
    losses: Callable[[int, np.random.Generator], Losses],
    folder: Path,
    evaluate: Callable[[nn.Module, int], dict[str, float]] | None = None,
    evaluate_every: int = 0,
) -> Trained:
    """Minimises ``losses(step, rng)["loss"]`` over the module's parameters; resumes from `folder` if it was cut off.

    At the end the module holds the averaged weights when the recipe has an EMA. `folder` gets `state.pt` while training
    runs, `weights.pt` and `stage.json` (seconds, curve) at the end.
    """
    folder.mkdir(parents=True, exist_ok=True)
    recipe = replace(recipe, steps=scaled(recipe.steps), warmup=scaled(recipe.warmup))
    if (folder / "stage.json").exists():
        module.load_state_dict(torch.load(folder / "weights.pt", weights_only=True))
        done = read_json(folder / "stage.json")
        return Trained(done["seconds"], done["curve"])
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(
        parameters, lr=recipe.learning_rate, betas=recipe.betas, weight_decay=recipe.weight_decay, foreach=True
    )
    average = copy.deepcopy(module).eval() if recipe.ema else None
    first, seconds, curve = _resume(folder, module, optimizer, average)
    clock, saved, recent = time.monotonic(), time.monotonic(), []
    module.train()
    for step in track(range(first, recipe.steps), f"training {recipe.name}"):
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate(step)
        torch.manual_seed(recipe.seed * 1_000_003 + step)
        optimizer.zero_grad(set_to_none=True)
        values = losses(step, recipe.rng(step))
        if not torch.isfinite(values["loss"]):
            raise RuntimeError(f"{recipe.name}: the loss is {values['loss'].item()} at step {step}")
        values["loss"].backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        if average is not None and recipe.ema:
            _average(average, module, min(recipe.ema, (1 + step) / (10 + step)))
        recent.append({name: float(value.detach()) for name, value in values.items()})
        last = step + 1 == recipe.steps
        if (step + 1) % 50 == 0 or last:
            now = seconds + time.monotonic() - clock
            row = {"step": step + 1, "seconds": round(now, 1)} | _mean(recent)
            recent = []
            if evaluate and evaluate_every and ((step + 1) % evaluate_every == 0 or last):
                row |= evaluate(average or module, step + 1)
                module.train()
            curve.append(row)
            write_json_atomic(folder / "curve.json", curve)
        if time.monotonic() - saved > SAVE_EVERY_SECONDS and not last:
            _save(folder, module, optimizer, average, step + 1, seconds + time.monotonic() - clock, curve)
            saved = time.monotonic()
    if average is not None:
        module.load_state_dict(average.state_dict())
    module.eval()
    seconds += time.monotonic() - clock
    torch.save(module.state_dict(), folder / "weights.pt")
    write_json_atomic(folder / "stage.json", {"seconds": round(seconds, 1), "steps": recipe.steps, "curve": curve})
    (folder / "state.pt").unlink(missing_ok=True)
    return Trained(seconds, curve)


def _mean(rows: list[dict[str, float]]) -> dict[str, float]:
    return {name: round(float(np.mean([row[name] for row in rows])), 5) for name in rows[0]}


@torch.no_grad()
def _average(average: nn.Module, module: nn.Module, decay: float) -> None:
    slow = [value for value in average.state_dict().values() if value.is_floating_point()]
    fast = [value for value in module.state_dict().values() if value.is_floating_point()]
    torch._foreach_lerp_(slow, fast, 1 - decay)


def _save(
    folder: Path,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: nn.Module | None,
    step: int,
    seconds: float,
    curve: list[dict[str, float]],
) -> None:
    state = {
        "module": module.state_dict(),
        "optimizer": optimizer.state_dict(),
        "average": average.state_dict() if average is not None else None,
        "step": step,
        "seconds": seconds,
        "curve": curve,
    }
    torch.save(state, folder / "state.tmp")
    os.replace(folder / "state.tmp", folder / "state.pt")


def _resume(
    folder: Path, module: nn.Module, optimizer: torch.optim.Optimizer, average: nn.Module | None
) -> tuple[int, float, list[dict[str, float]]]:
    if not (folder / "state.pt").exists():
        return 0, 0.0, []
    state: dict[str, Any] = torch.load(folder / "state.pt", weights_only=True)
    module.load_state_dict(state["module"])
    optimizer.load_state_dict(state["optimizer"])
    if average is not None:
        average.load_state_dict(state["average"])
    return state["step"], state["seconds"], state["curve"]
