"""A method under check, configured small, and what it makes of each tiny model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor, nn

from admbench.bench.conformance.findings import NotChecked
from admbench.bench.conformance.network_state import condition_of
from admbench.bench.conformance.tiny_models import TINY_MODELS, TinyModel
from admbench.errors import UsageError
from admbench.methods import registry
from admbench.methods.base import Method, MethodConfig
from admbench.methods.core.backbone import QuantizedBackbone
from admbench.methods.core.calibration.calibration_set import CalibrationSet
from admbench.methods.spec import MethodSpec

BITS = ((4, 8), (4, 16), (8, 8), (8, 16), (16, 8))
"""What a method that takes bits is checked with if none are given: the first that it accepts."""
SMALL = {"prompts": 3, "timesteps": 3, "steps": 4, "samples": 12, "batch": 4}
"""Options, where a method has them; and of every one whose name ends in `iterations`, `ITERATIONS`."""
ITERATIONS = 3
OFFERED = 16
"""Calibration prompts that a method is offered if its configuration does not say how many it takes."""
Model = Callable[[int], TinyModel]


class Subject:
    """A method, configured small, and what it made of each tiny model."""

    def __init__(self, text: str) -> None:
        self.typed = MethodSpec.parse(text)
        self.name = self.typed.name
        self.plugin = registry.get(self.name)

    @cached_property
    def method(self) -> Method:
        """The method, its effort cut down where the spec does not say otherwise."""
        return self._configured(_small(self.typed, self.plugin.Config), self.typed)

    @cached_property
    def cases(self) -> list[Case]:
        """What it makes of each tiny model."""
        return [Case(what, make, self.method) for what, make in TINY_MODELS.items()]

    def _configured(self, *specs: MethodSpec) -> Method:
        first: UsageError | None = None
        for spec in specs:
            for one in _with_bits(spec, self.plugin):
                try:
                    method: Method = self.plugin(one)
                    return method
                except UsageError as error:
                    first = first or error
        raise first or UsageError(f"{self.name}: takes no bits of {BITS}")


class Case:
    """One tiny model, and the method's work on it."""

    def __init__(self, what: str, make: Model, method: Method) -> None:
        self.what, self.make, self.method = what, make, method
        self.model = make(0)
        self.prompts = [f"sound number {index}" for index in range(_prompt_count(method))]
        self.before = condition_of(self.model.backbone)

    @cached_property
    def calibration(self) -> CalibrationSet | None:
        """What the method draws; None if it takes nothing."""
        return self.method.calibrate(self.model, self.prompts, seed=0)

    @cached_property
    def quantized(self) -> QuantizedBackbone:
        """What the method makes of the backbone."""
        with random_state(1):
            return self.method.quantize(self.model, self.calibration)

    @cached_property
    def full(self) -> Tensor:
        """What the backbone predicts in full precision."""
        return self.predict(self.model.backbone)

    @cached_property
    def predicted(self) -> Tensor:
        """What the quantized backbone predicts."""
        return self.predict(self.quantized.module)

    def predict(self, module: nn.Module) -> Tensor:
        """Run a backbone on inputs that it was not calibrated on, early and late ones, both halves of guidance."""
        return predict_with(self.make(0), module)

    def drawn_from(self, seed: int) -> CalibrationSet:
        """Draw a set, anew, from the model with the weights of a seed."""
        drawn = self.method.calibrate(self.make(seed), self.prompts, seed=0)
        if drawn is None:
            raise NotChecked("it takes no calibration set")
        return drawn

    @property
    def needed(self) -> CalibrationSet:
        """The calibration set; NotChecked if there is none."""
        if self.calibration is None:
            raise NotChecked("it takes no calibration set")
        return self.calibration


def _small(spec: MethodSpec, config: type[MethodConfig]) -> MethodSpec:
    """Return the spec with the effort cut down, what was typed kept."""
    known = config.model_fields
    cut = {name: str(value) for name, value in SMALL.items() if name in known}
    cut |= {name: str(ITERATIONS) for name in known if name.endswith("iterations")}
    return replace(spec, options={**cut, **spec.options})


def _with_bits(spec: MethodSpec, plugin: type[Method]) -> list[MethodSpec]:
    if spec.weight_bits is not None or not plugin.takes_bits:
        return [spec]
    return [spec.with_bits(weight, activation) for weight, activation in BITS]


def _prompt_count(method: Method) -> int:
    return max(OFFERED, int(getattr(method.config, "prompts", 0)))


@torch.no_grad()
def predict_with(model: TinyModel, module: nn.Module) -> Tensor:
    """Return what a backbone predicts along a model's trajectories of two prompts, three steps each."""
    names = ["unheard 0", "unheard 1"]
    calls = list(model.trajectories(names, seeds=[70, 71], steps=3, guidance=3.0, batch_size=2))
    model.backbone = module
    return torch.stack([model.call_backbone(call.inputs) for call in calls])


@contextmanager
def random_state(seed: int) -> Iterator[None]:
    """Put torch's own generator into some state, and back: what it is must not matter."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
