"""Calibration sets: backbone inputs recorded along full-precision trajectories, kept with how they were drawn."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from admbench.errors import DataError, UsageError
from admbench.files import atomic_directory, read_json, write_json_atomic
from admbench.methods.core.calibration.row_buffer import MEMORY_BYTES, RowBuffer
from admbench.methods.protocol import BackboneCall, DenoisingModel

FORMAT_VERSION = 2
_INPUT = "inputs."


@dataclass(frozen=True)
class CalibrationSet:
    """N recorded backbone inputs. With guidance, both halves of a call are here, each as a sample of its own.

    >>> from admbench.bench.conformance.tiny_models import tiny_tango
    >>> from admbench.methods import from_spec
    >>> method = from_spec("naive@w4a8[prompts=2,timesteps=3,steps=6]")
    >>> calibration = method.calibrate(tiny_tango(), ["a dog barks", "rain falls"], seed=0)
    >>> len(calibration), sorted(calibration.inputs), calibration.step.unique().tolist()
    (12, ['encoder_attention_mask', 'encoder_hidden_states', 'sample', 'timestep'], [0, 2, 5])
    """

    inputs: dict[str, Tensor]
    """The backbone's inputs by name, each (N, ...)."""
    step: Tensor
    """(N,) int64: denoising step of each sample, 0 for the noisiest."""
    timestep: Tensor
    """(N,) int64: timestep that the backbone was conditioned on."""
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
    """How the set was drawn: the fields of `samplers.recipe.CalibrationRecipe`, and `seed`."""
    seconds: float
    """Time spent drawing it."""
    measured: dict[str, float] = field(default_factory=dict)
    """What the sampler measured of its choice, by name; empty for samplers that measure nothing."""

    def __len__(self) -> int:
        return len(self.step)

    @property
    def seed(self) -> int:
        """The seed that the set was drawn with; methods seed by it what is random in them."""
        return int(self.recipe["seed"])

    def batches(self, size: int) -> Iterator[dict[str, Tensor]]:
        """Yield the inputs in order, at most `size` samples at a time, for `DenoisingModel.call_backbone`."""
        for start in range(0, len(self), size):
            yield {name: tensor[start : start + size] for name, tensor in self.inputs.items()}

    def take(self, rows: Tensor) -> CalibrationSet:
        """Return the samples at the positions `rows`, (n,) int64, as a set; these are in memory."""
        inputs = {name: tensor[rows] for name, tensor in self.inputs.items()}
        return replace(self, inputs=inputs, **{name: getattr(self, name)[rows] for name in _LABELS})

    def sample(self, count: int, seed: int) -> CalibrationSet:
        """Return `count` of the samples, drawn at random; all, in another order, if there are fewer."""
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        return self.take(order[:count])

    def readdressed(self, twin: DenoisingModel) -> CalibrationSet:
        """Return the set as one of a model of other weights that compute the same; whoever asks knows that they do."""
        return replace(self, weights_sha256=twin.weights_sha256)

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
            **({"measured": self.measured} if self.measured else {}),
        }

    def save(self, directory: str | Path) -> None:
        """Write the set to a folder, atomically: `calibration.safetensors` and `calibration.json`."""
        tensors = {_INPUT + name: tensor.contiguous() for name, tensor in self.inputs.items()}
        tensors |= {name: getattr(self, name) for name in _LABELS}
        header = {
            "format_version": FORMAT_VERSION,
            **{name: getattr(self, name) for name in ("model", "weights_sha256", "recipe", "seconds", "measured")},
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
                measured=header["measured"],
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
    calls: Iterable[BackboneCall],
    model: DenoisingModel,
    prompts: tuple[str, ...],
    recipe: dict[str, Any],
    started: float,
    memory: int = MEMORY_BYTES,
) -> CalibrationSet:
    """Make a set of recorded calls, every row of which becomes a sample.

    Args:
        calls: what was recorded, in order; gone through once.
        model: what they were recorded from.
        prompts: the prompts that `prompt_indices` point into.
        recipe: how the calls were chosen.
        started: `time.perf_counter()` from before the trajectories were run.
        memory: bytes of inputs to hold in memory; a larger set is mapped from disk.

    Raises:
        DataError: there are no calls, their inputs differ in name or shape, or hold NaN or infinity.
    """
    rows, labels = RowBuffer(memory), _Labels()
    names: set[str] = set()
    for call in calls:
        halves = (False, True) if call.guided else (True,)
        count = len(call.prompt_indices) * len(halves)
        names = names or set(call.inputs)
        if names != set(call.inputs):
            raise DataError(f"{model.name}: input {min(names ^ set(call.inputs))} differs between calls: not in all")
        for name, tensor in call.inputs.items():
            if len(tensor) != count:
                raise DataError(f"{model.name}: input {name} has {len(tensor)} rows at step {call.step}, not {count}")
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                raise DataError(f"{model.name}: input {name} holds NaN or infinity at step {call.step}")
            try:
                rows.add(name, tensor)
            except DataError as error:
                raise DataError(f"{model.name}: input {error}") from error
        labels.step += [call.step] * count
        labels.timestep += [call.timestep] * count
        labels.prompt_index += [*call.prompt_indices] * len(halves)
        labels.conditional += [half for half in halves for _ in call.prompt_indices]
    if not labels.step:
        raise DataError(f"{model.name}: its trajectories have none of the steps to calibrate on")
    return CalibrationSet(
        inputs=rows.close(),
        step=torch.tensor(labels.step),
        timestep=torch.tensor(labels.timestep),
        prompt_index=torch.tensor(labels.prompt_index),
        conditional=torch.tensor(labels.conditional),
        prompts=prompts,
        model=model.name,
        weights_sha256=model.weights_sha256,
        recipe=recipe,
        seconds=time.perf_counter() - started,
    )


@dataclass
class _Labels:
    """Labels of the samples so far."""

    step: list[int] = field(default_factory=list)
    timestep: list[int] = field(default_factory=list)
    prompt_index: list[int] = field(default_factory=list)
    conditional: list[bool] = field(default_factory=list)
