"""Calibration sets: backbone inputs recorded along full-precision trajectories, kept with how they were drawn."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from admcore.errors import DataError, UsageError, nearest
from admcore.files import atomic_directory, read_json, write_json_atomic
from admcore.hashing import sha256_json
from admcore.progress import track
from methods.protocol import BackboneCall, DenoisingModel

FORMAT_VERSION = 1
BATCH_SIZE = 16  # prompts denoised together while a set is drawn
_INPUT = "inputs."


@dataclass(frozen=True)
class CalibrationSet:
    """N recorded backbone inputs. With guidance, both halves of a call are here, each as a sample of its own."""

    inputs: dict[str, Tensor]
    """The backbone's inputs by name, each (N, ...)."""
    step: Tensor
    """(N,) int64: denoising step of each sample, 0 for the noisiest."""
    timestep: Tensor
    """(N,) int64: timestep that the backbone was told."""
    prompt_index: Tensor
    """(N,) int64: position of the sample's prompt in `prompts`."""
    conditional: Tensor
    """(N,) bool: False for samples of guidance's unconditional half."""
    prompts: tuple[str, ...]
    """The prompts whose trajectories were recorded."""
    model: str
    """Name of the model."""
    weights_sha256: str
    """Hash of the weights the trajectories were run with: the set is of use for these alone."""
    recipe: dict[str, Any]
    """How the set was drawn: the fields of `CalibrationRecipe`, and `seed`."""
    seconds: float
    """Time spent drawing it."""

    def __len__(self) -> int:
        return len(self.step)

    def batches(self, size: int) -> Iterator[dict[str, Tensor]]:
        """Yield the inputs in order, at most `size` samples at a time, for `DenoisingModel.call_backbone`."""
        for start in range(0, len(self), size):
            yield {name: tensor[start : start + size] for name, tensor in self.inputs.items()}

    def take(self, rows: Tensor) -> CalibrationSet:
        """Return the samples at the positions `rows`, (n,) int64, as a set."""
        inputs = {name: tensor[rows] for name, tensor in self.inputs.items()}
        return replace(self, inputs=inputs, **{name: getattr(self, name)[rows] for name in _LABELS})

    def check_model(self, model: DenoisingModel) -> None:
        """Raise UsageError unless the set was drawn from exactly this model's weights."""
        if self.weights_sha256 != model.weights_sha256:
            raise UsageError(
                f"this calibration set was drawn from {self.model} (weights {self.weights_sha256[:12]}), not from"
                f" {model.name} (weights {model.weights_sha256[:12]})"
            )

    def summary(self) -> dict[str, Any]:
        """Return what a result record says of the set, as JSON values."""
        return {
            "prompts": len(self.prompts),
            "samples": len(self),
            "timesteps": sorted(set(self.timestep.tolist())),
            "seconds": self.seconds,
            **{key: value for key, value in self.recipe.items() if key not in ("prompts", "timesteps")},
        }

    def save(self, directory: str | Path) -> None:
        """Write the set to a folder, atomically: `calibration.safetensors` and `calibration.json`."""
        tensors = {_INPUT + name: tensor.contiguous() for name, tensor in self.inputs.items()}
        tensors |= {name: getattr(self, name) for name in _LABELS}
        header = {
            "format_version": FORMAT_VERSION,
            **{name: getattr(self, name) for name in ("model", "weights_sha256", "recipe", "seconds")},
            "prompts": list(self.prompts),
        }
        with atomic_directory(directory) as folder:
            save_file(tensors, folder / "calibration.safetensors")
            write_json_atomic(folder / "calibration.json", header)

    @classmethod
    def load(cls, directory: str | Path) -> CalibrationSet:
        """Read a set that `save` wrote; tensors are mapped into memory, not read.

        Raises:
            DataError: the folder holds no such set, or a damaged one; names the file.
        """
        header = read_json(Path(directory) / "calibration.json")
        file = Path(directory) / "calibration.safetensors"
        try:
            tensors = load_file(file)
            labels = {name: tensors.pop(name) for name in _LABELS}
            if header["format_version"] != FORMAT_VERSION:
                raise ValueError(f"expected format version {FORMAT_VERSION}")
            loaded = cls(
                inputs={name.removeprefix(_INPUT): tensor for name, tensor in tensors.items()},
                step=labels["step"],
                timestep=labels["timestep"],
                prompt_index=labels["prompt_index"],
                conditional=labels["conditional"],
                prompts=tuple(header["prompts"]),
                model=header["model"],
                weights_sha256=header["weights_sha256"],
                recipe=header["recipe"],
                seconds=header["seconds"],
            )
        except (SafetensorError, OSError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"{file}: not a calibration set ({type(error).__name__}: {error})") from error
        if not loaded.inputs or any(
            len(tensor) != len(loaded) for tensor in [*loaded.inputs.values(), *labels.values()]
        ):
            raise DataError(f"{file}: its tensors differ in their number of samples")
        return loaded


_LABELS = ("step", "timestep", "prompt_index", "conditional")


@dataclass(frozen=True)
class CalibrationRecipe:
    """How to draw a calibration set: with the prompts, a seed and the model's weights, this determines it."""

    sampler: str
    """Name in `SAMPLERS`."""
    prompts: int
    """Prompts to denoise: the first ones of those at hand."""
    timesteps: int
    """Denoising steps to record of each trajectory."""
    steps: int
    """Denoising steps of a trajectory."""
    guidance: float
    """Classifier-free guidance scale of the trajectories."""

    def draw(self, model: DenoisingModel, prompts: Sequence[str], *, seed: int) -> CalibrationSet:
        """Run the trajectories and record.

        Raises:
            UsageError: fewer prompts than the recipe asks for, or a sampler that does not exist.
            DataError: the model's calls do not fit together, or hold NaN or infinity.
        """
        return sampler(self.sampler)(self, model, self._chosen(prompts), seed)

    def key(self, model: DenoisingModel, prompts: Sequence[str], *, seed: int) -> str:
        """Return the content address of the set that `draw` would give, as 64 hex digits.

        Raises:
            UsageError: fewer prompts than the recipe asks for.
        """
        chosen = list(self._chosen(prompts))
        return sha256_json([FORMAT_VERSION, model.weights_sha256, asdict(self), chosen, seed])

    def _chosen(self, prompts: Sequence[str]) -> tuple[str, ...]:
        if len(prompts) < self.prompts:
            raise UsageError(f"calibration needs {self.prompts} prompts, there are {len(prompts)}")
        return tuple(prompts[: self.prompts])


Sampler = Callable[[CalibrationRecipe, DenoisingModel, tuple[str, ...], int], CalibrationSet]


def draw_uniform(
    recipe: CalibrationRecipe, model: DenoisingModel, prompts: tuple[str, ...], seed: int
) -> CalibrationSet:
    """Record every prompt at the same steps, spread evenly over the trajectory, its first and last step included.

    As Q-Diffusion (arXiv 2302.04304) does, but for the ends: there ranges are widest.
    """
    started = time.perf_counter()
    steps = set(np.linspace(0, recipe.steps - 1, recipe.timesteps).round().astype(int).tolist())
    recorded = [call for call in _run(recipe, model, prompts, seed) if call.step in steps]
    return stack_calls(recorded, model, prompts, {**asdict(recipe), "seed": seed}, started)


def draw_normal(
    recipe: CalibrationRecipe, model: DenoisingModel, prompts: tuple[str, ...], seed: int
) -> CalibrationSet:
    """Record every prompt at timesteps of its own, normally distributed and leaning to the clean end of trajectories.

    PTQ4DM (arXiv 2211.15736): t = int(T * Normal(0.4, 0.4)), cut off to 0..T-1, where T is the number of steps and
    t = 0 the cleanest; the numbers are those of the released script. Cutting off puts a sixth of the samples on t = 0.
    A sample of t is recorded where the trajectory is at t. (The released code counts its loop upwards while t runs
    downwards, so that samples labelled t come from about T - 1 - t.) A timestep that a prompt draws twice counts twice.
    """
    started = time.perf_counter()
    draws = np.random.default_rng([seed, 0xD47A]).normal(0.4, 0.4, (len(prompts), recipe.timesteps))
    cleanness = np.clip((draws * recipe.steps).astype(int), 0, recipe.steps - 1)
    steps = recipe.steps - 1 - cleanness
    recorded = []
    for call in _run(recipe, model, prompts, seed):
        times = [int((steps[prompt] == call.step).sum()) for prompt in call.prompt_indices]
        rows = [row for row, count in enumerate(times) for _ in range(count)]
        if rows:
            recorded.append(_some_prompts(call, rows))
    return stack_calls(recorded, model, prompts, {**asdict(recipe), "seed": seed}, started)


def _run(
    recipe: CalibrationRecipe, model: DenoisingModel, prompts: tuple[str, ...], seed: int
) -> Iterator[BackboneCall]:
    calls = model.trajectories(
        prompts,
        seeds=trajectory_seeds(seed, len(prompts)),
        steps=recipe.steps,
        guidance=recipe.guidance,
        batch_size=BATCH_SIZE,
    )
    yield from track(calls, "Drawing the calibration set", recipe.steps * -(-len(prompts) // BATCH_SIZE))


def _some_prompts(call: BackboneCall, rows: list[int]) -> BackboneCall:
    """Return a call as if it had been made for these of its prompts, both halves of guidance kept."""
    count = len(call.prompt_indices)
    taken = torch.tensor(rows + [count + row for row in rows] if call.guided else rows)
    return replace(
        call,
        prompt_indices=tuple(call.prompt_indices[row] for row in rows),
        inputs={name: tensor[taken.to(tensor.device)] for name, tensor in call.inputs.items()},
    )


SAMPLERS: dict[str, Sampler] = {"uniform": draw_uniform, "normal": draw_normal}
"""Values of the option `calibration`."""


def sampler(name: str) -> Sampler:
    """Return a sampler by name.

    Raises:
        UsageError: there is none of that name; names the nearest.
    """
    if name not in SAMPLERS:
        raise UsageError(f'unknown calibration "{name}".{nearest(name, SAMPLERS)} Available: {", ".join(SAMPLERS)}')
    return SAMPLERS[name]


def trajectory_seeds(seed: int, count: int) -> list[int]:
    """Return a noise seed per calibration prompt, none of which a caption of a suite is likely to have."""
    return np.random.SeedSequence([seed, 0xCA11B]).generate_state(count).tolist()


def stack_calls(
    calls: Sequence[BackboneCall],
    model: DenoisingModel,
    prompts: tuple[str, ...],
    recipe: dict[str, Any],
    started: float,
) -> CalibrationSet:
    """Make a set of recorded calls, every row of which becomes a sample.

    Args:
        calls: what was recorded, in order.
        model: what they were recorded from.
        prompts: the prompts that `prompt_indices` point into.
        recipe: how the calls were chosen.
        started: `time.perf_counter()` from before the trajectories were run.

    Raises:
        DataError: there are no calls, their inputs differ in name or shape, or hold NaN or infinity.
    """
    if not calls:
        raise DataError(f"{model.name}: its trajectories have none of the steps to calibrate on")
    rows: dict[str, list[Tensor]] = defaultdict(list)
    labels: dict[str, list[Any]] = defaultdict(list)
    for call in calls:
        halves = (False, True) if call.guided else (True,)
        count = len(call.prompt_indices) * len(halves)
        for name, tensor in call.inputs.items():
            if len(tensor) != count:
                raise DataError(f"{model.name}: input {name} has {len(tensor)} rows at step {call.step}, not {count}")
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                raise DataError(f"{model.name}: input {name} holds NaN or infinity at step {call.step}")
            rows[name].append(tensor.detach().cpu())
        labels["step"] += [call.step] * count
        labels["timestep"] += [call.timestep] * count
        labels["prompt_index"] += [*call.prompt_indices] * len(halves)
        labels["conditional"] += [half for half in halves for _ in call.prompt_indices]
    return CalibrationSet(
        inputs={name: _concatenate(name, tensors, len(calls), model) for name, tensors in rows.items()},
        step=torch.tensor(labels["step"]),
        timestep=torch.tensor(labels["timestep"]),
        prompt_index=torch.tensor(labels["prompt_index"]),
        conditional=torch.tensor(labels["conditional"]),
        prompts=prompts,
        model=model.name,
        weights_sha256=model.weights_sha256,
        recipe=recipe,
        seconds=time.perf_counter() - started,
    )


def _concatenate(name: str, tensors: list[Tensor], calls: int, model: DenoisingModel) -> Tensor:
    shapes = {tuple(tensor.shape[1:]) for tensor in tensors}
    if len(tensors) != calls or len(shapes) > 1:
        raise DataError(f"{model.name}: input {name} differs between calls (shapes {sorted(shapes)})")
    return torch.cat(tensors)
