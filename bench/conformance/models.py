"""What every audio diffusion model keeps to: two captions, two denoising steps."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from admbench.bench.conformance.findings import Check, Finding, check_description, require, require_same, run_checks
from admbench.bench.models import quantizable, registry
from admbench.bench.models.base import AudioDiffusionModel
from admbench.bench.models.components import COMPONENTS
from admbench.errors import BenchError
from admbench.methods.core.checkpoint.architectures import is_allowed
from admbench.methods.protocol import BackboneCall

CAPTIONS = ("a dog barks", "rain falls on a roof")
SEEDS = (3, 4)
STEPS = 2
GUIDANCE = 3.0
CLOSE = 1e-3
"""Largest difference, of the largest value, that another batch size may make: floating-point noise."""


def check_model(name: str) -> Iterator[Finding]:
    """Check a model and yield what is found; it is loaded, with random weights where its own are not here.

    Raises:
        UsageError: there is no model of that name.
        PluginError: it cannot be loaded.
    """
    yield from run_checks(_Subject(name), CHECKS, gates=(_IS_MODEL, _LOADS))


class _Subject:
    """A model plug-in, loaded once."""

    def __init__(self, name: str) -> None:
        self.name, self.plugin = name, registry.get(name)

    @cached_property
    def model(self) -> AudioDiffusionModel:
        try:
            model: AudioDiffusionModel = self.plugin.load(random_weights=False)
        except BenchError:
            model = self.plugin.load(random_weights=True)
        return model

    @cached_property
    def calls(self) -> list[BackboneCall]:
        return list(
            self.model.trajectories(CAPTIONS, seeds=SEEDS, steps=STEPS, guidance=GUIDANCE, batch_size=len(CAPTIONS))
        )

    @cached_property
    def audio(self) -> NDArray[np.float32]:
        return self.generate(SEEDS)

    def generate(self, seeds: tuple[int, ...]) -> NDArray[np.float32]:
        return self.model.generate(CAPTIONS, seeds, steps=STEPS, guidance=GUIDANCE, batch_size=len(CAPTIONS))

    def latents(self, batch_size: int) -> torch.Tensor:
        """Before decoding, where a vocoder that searches for phases has not yet made more of float noise."""
        return self.model.latents(CAPTIONS, SEEDS, steps=STEPS, guidance=GUIDANCE, batch_size=batch_size)


def _is_a_model(subject: _Subject) -> str:
    for name in ("load", "fingerprint"):
        require(callable(getattr(subject.plugin, name, None)), f"it has no classmethod {name}")
    return check_description(registry, subject.name, subject.plugin)


def _loads(subject: _Subject) -> str:
    model = subject.model
    require(model.name == subject.name, f"the loaded model is called {model.name!r}")
    require(isinstance(model.components.get("backbone"), nn.Module), "its components have no module called backbone")
    for name, module in model.components.items():
        require(not module.training, f"component {name} is in training mode")
        require(not any(one.requires_grad for one in module.parameters()), f"component {name} asks for gradients")
    require(model.parameters > 0, "its backbone has no parameters")
    random = "random weights, its own are not here" if model.random_weights else "its own weights"
    return f"{random}; a backbone of {model.parameters / 1e6:.3g} M parameters"


def _says_what_it_is(subject: _Subject) -> str:
    model = subject.model
    require(_is_hash(model.weights_sha256), f"weights_sha256 is {model.weights_sha256!r}, expected 64 hex digits")
    require(bool(model.source), "it does not say where its weights are from")
    require(model.license is None or bool(model.license), "its licence is an empty text; expected None if unknown")
    require(model.sample_rate > 0 and model.seconds > 0, f"{model.seconds} s at {model.sample_rate} Hz")
    if not model.random_weights:
        found = [subject.plugin.fingerprint() for _ in range(2)]
        require(_is_hash(found[0]) and found[0] == found[1], f"fingerprint is {found[0]!r}, expected 64 hex digits")
    return f"{model.seconds:g} s at {model.sample_rate} Hz, licence {model.license or 'unknown'}"


def _says_its_components(subject: _Subject) -> str:
    present, said = subject.model.components, quantizable(subject.name) or ()
    require("backbone" in said, f"its components are {', '.join(said) or 'none'}, without backbone")
    for name in said:
        require(name in COMPONENTS, f"{name} is no component: expected some of {', '.join(COMPONENTS)}")
        require(name in present, f"it says the component {name}, and has {', '.join(present)}")
        kind = type(present[name]).__name__
        require(name == "backbone" or is_allowed(present[name]), f"{name}: packed checkpoints may not name a {kind}")
    left = [name for name in COMPONENTS if name not in said and name in present and is_allowed(present[name])]
    require(not left, f"{', '.join(left)} can be quantized, and its components do not say so")
    return ", ".join(said)


def _denoises(subject: _Subject) -> str:
    calls = subject.calls
    require([call.step for call in calls] == list(range(STEPS)), f"its steps are {[call.step for call in calls]}")
    shape = (2 * len(CAPTIONS), *subject.model.card.latent_shape)
    for call in calls:
        require(call.prompt_indices == (0, 1), f"prompt_indices are {call.prompt_indices} for two captions")
        require({"sample", "timestep"} <= call.inputs.keys(), f"the inputs are {', '.join(call.inputs)}")
        require(call.guided, "with guidance 3 both halves belong into a call")
        for name, tensor in call.inputs.items():
            require(len(tensor) == shape[0], f"input {name} has {len(tensor)} rows for two captions and both halves")
        found = tuple(call.inputs["sample"].shape)
        require(found == shape, f"sample has the shape {found}, expected {shape}")
    return f"{', '.join(calls[0].inputs)}; latents {shape[1:]}"


def _predicts(subject: _Subject) -> None:
    model, inputs = subject.model, subject.calls[0].inputs
    predicted = model.call_backbone(inputs)
    require(predicted.shape == inputs["sample"].shape, f"the prediction has the shape {tuple(predicted.shape)}")
    require(predicted.dtype == torch.float32, f"the prediction is {predicted.dtype}, expected float32")
    require(bool(torch.isfinite(predicted).all()), "the prediction holds NaN or infinity")
    alone = model.call_backbone({name: tensor[-1:] for name, tensor in inputs.items()})
    apart = float((alone[0] - predicted[-1]).abs().max() / predicted.abs().max())
    require(apart < CLOSE, f"a row alone is predicted otherwise than in its batch, by {apart:.2g} of the largest value")


def _generates(subject: _Subject) -> str:
    audio, model = subject.audio, subject.model
    shaped = audio.ndim == 2 or (audio.ndim == 3 and audio.shape[1] == 2)
    require(audio.dtype == np.float32 and shaped, f"the audio is {audio.dtype}, of shape {audio.shape}")
    require(len(audio) == len(CAPTIONS), f"{len(audio)} clips of {len(CAPTIONS)} captions")
    require(bool(np.isfinite(audio).all()), "the audio holds NaN or infinity")
    seconds = audio.shape[-1] / model.sample_rate
    require(
        abs(seconds - model.seconds) < 0.05 * model.seconds, f"clips of {seconds:.2f} s, said are {model.seconds:g}"
    )
    return f"{audio.shape[-1]} samples" + (", stereo" if audio.ndim == 3 else "")


def _follows_its_seeds(subject: _Subject) -> None:
    require_same(np.array_equal(subject.generate(SEEDS), subject.audio), "the same seeds give other audio")
    other = subject.generate((SEEDS[0], SEEDS[1] + 1))
    require(not np.array_equal(other[1], subject.audio[1]), "another seed gives the same audio")
    alone, together = (subject.latents(batch_size) for batch_size in (1, len(CAPTIONS)))
    apart = float((alone - together).abs().max() / together.abs().max())
    require(apart < CLOSE, f"another batch size changes the latents, by {apart:.2g} of the largest value")


def _takes_another_backbone(subject: _Subject) -> None:
    model, own = subject.model, subject.model.backbone
    try:
        model.backbone = copy.deepcopy(own)
        require_same(np.array_equal(subject.generate(SEEDS), subject.audio), "a copy of its backbone gives other audio")
        with torch.no_grad():
            for parameter in model.backbone.parameters():
                parameter.mul_(0.5)
        changed = subject.generate(SEEDS)
        require(not np.array_equal(changed, subject.audio), "the backbone that is set is not the one that runs")
    finally:
        model.backbone = own


def _is_hash(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


_IS_MODEL = "is a model that lists can show"
_LOADS = "loads"
CHECKS: Mapping[str, Check[_Subject]] = {
    _IS_MODEL: _is_a_model,
    _LOADS: _loads,
    "says what it is": _says_what_it_is,
    "says its components": _says_its_components,
    "shows its trajectories": _denoises,
    "predicts each row by itself": _predicts,
    "generates": _generates,
    "generates from seeds alone": _follows_its_seeds,
    "runs the backbone that is set": _takes_another_backbone,
}
"""What has to hold -> its check, in the order in which they are done."""
