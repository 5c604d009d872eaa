"""Calibration sets: backbone inputs recorded along full-precision trajectories, kept with how they were drawn."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from admcore.errors import DataError, UsageError
from admcore.files import atomic_directory, read_json, write_json_atomic
from methods.protocol import BackboneCall, DenoisingModel

FORMAT_VERSION = 1
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
    """How the set was drawn: the fields of `methods.samplers.recipe.CalibrationRecipe`, and `seed`."""
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
