"""The frame of methods that quantize every layer for itself, by what the calibration set shows of its input."""

from __future__ import annotations

import copy
import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import Field
from torch import Tensor

from admbench.methods.base import CalibratedConfig, CalibratedMethod
from admbench.methods.core.backbone import QuantizedBackbone
from admbench.methods.core.calibration.calibration_set import CalibrationSet
from admbench.methods.core.calibration.statistics import ChannelStatistics, channel_statistics, input_grams
from admbench.methods.core.layers.kinds import QuantizableLayer, quantizable_layers
from admbench.methods.core.layers.policy import Policy, backbone_ends, grouped_policy, replace_layers, uniform_policy
from admbench.methods.core.layers.quantized import QuantizedLayer
from admbench.methods.core.numbers.scheme import LayerScheme, Scheme
from admbench.methods.core.numbers.timesteps import attach_clock
from admbench.methods.protocol import DenoisingModel

Seen = TypeVar("Seen")
"""What a calibration set shows of a layer's input."""
Solution = TypeVar("Solution")
"""What was found for a layer's weight before any layer is replaced."""


class LayerwiseMethod(CalibratedMethod, Generic[Seen, Solution]):
    """A method of layers apart. Subclass, write `observe` and `quantize_layer`."""

    @abstractmethod
    def observe(self, model: DenoisingModel, calibration: CalibrationSet) -> Mapping[str, Seen]:
        """Return what each layer's input holds, by name, of the layers that run, in the order in which they do."""

    def policy(self, ends: Sequence[str]) -> Policy:
        """Return which layer gets which scheme; `ends` are the names of the first and the last one."""
        return uniform_policy(*self.spec.sides, ends)

    def solve(
        self, model: DenoisingModel, calibration: CalibrationSet, policy: Policy, seen: Mapping[str, Seen]
    ) -> Mapping[str, Solution]:
        """Return what is found for layers' weights, by name; by default nothing."""
        return {}

    @abstractmethod
    def quantize_layer(
        self, name: str, layer: QuantizableLayer, scheme: LayerScheme, seen: Seen, solution: Solution | None
    ) -> QuantizedLayer:
        """Return what takes a layer's place.

        Args:
            name: of the layer.
            layer: in full precision; its weight is the model's, not to be changed.
            scheme: what the policy says of it.
            seen: its entry of `observe`.
            solution: its entry of `solve`; None without one.
        """

    def quantize(self, model: DenoisingModel, calibration: CalibrationSet | None) -> QuantizedBackbone:
        """See `Method`. A layer that no calibration sample reaches stays in floating point."""
        started = time.perf_counter()
        calibration = self.check_calibration(model, calibration)
        if calibration is None:
            return self.result(model, copy.deepcopy(model.backbone), started)
        seen = self.observe(model, calibration)
        policy = self.policy(backbone_ends(model.backbone, [*seen]))
        solutions = self.solve(model, calibration, policy, seen)

        def make(name: str, layer: QuantizableLayer, scheme: LayerScheme) -> QuantizedLayer | None:
            if name not in seen:
                return None
            return self.quantize_layer(name, layer, scheme, seen[name], solutions.get(name))

        module = replace_layers(model.backbone, policy, make)
        attach_clock(module)
        return self.result(model, module, started)


class GramConfig(CalibratedConfig):
    """Options of methods that weigh errors of weights by Gram matrices of inputs."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {"positions": 4096},
        "paper": {"positions": 262_144},
    }

    positions: int = Field(default=4096, ge=1, le=10_000_000)
    """Positions of a layer's input that its Gram matrix is made of; 128 sequences of 2,048 tokens in the papers."""
    group: int = Field(default=128, ge=0, le=100_000)
    """Most weights of an output channel that share a scale; 0 for one scale a channel."""


class GramMethod(LayerwiseMethod[Seen, Solution]):
    """A layerwise method that chooses weights by the error of the layer's outputs. Write `solve_weight` too.

    Weights have a scale per group; the first and the last layer one per channel. A convolution in groups has no Gram
    matrix, and so no solution.
    """

    Config: ClassVar[type[GramConfig]] = GramConfig
    config: GramConfig

    def policy(self, ends: Sequence[str]) -> Policy:
        """See `LayerwiseMethod`."""
        return grouped_policy(*self.spec.sides, ends, self.config.group)

    def solve(
        self, model: DenoisingModel, calibration: CalibrationSet, policy: Policy, seen: Mapping[str, Seen]
    ) -> Mapping[str, Solution]:
        """See `LayerwiseMethod`: nothing where weights stay as they are."""
        found: dict[str, Solution] = {}
        if self.spec.bits[0] == 16:
            return found
        layers = quantizable_layers(model.backbone)
        for name, gram in input_grams(model, calibration, list(seen), self.config.positions):
            scheme = policy.scheme_of(name).weight
            assert scheme is not None
            found[name] = self.solve_weight(name, layers[name], gram, scheme.for_terms(len(gram)), seen[name])
        return found

    @abstractmethod
    def solve_weight(self, name: str, layer: QuantizableLayer, gram: Tensor, scheme: Scheme, seen: Seen) -> Solution:
        """Return what is found for a layer's weight.

        Args:
            name: of the layer.
            layer: in full precision.
            gram: (terms, terms) of its inputs, see `core.calibration.statistics`.
            scheme: of the weight, its groups fitted to the layer.
            seen: its entry of `observe`.
        """


class BranchConfig(CalibratedConfig):
    """Options of methods that search a smoothing and a branch of low rank by the error of a layer as it runs."""

    positions: int = Field(default=1024, ge=1, le=10_000_000)
    """Positions of a layer's input that its output error is taken on."""
    group: int = Field(default=64, ge=1, le=100_000)
    """Most weights of an output channel, and channels of an input, that share a scale."""
    rank: int = Field(default=32, ge=1, le=4096)
    """Of the branch; at most half of what the layer's weight could have."""
    iterations: int = Field(default=3, ge=1, le=10_000)
    """Most turns of branch and residual."""


class BranchMethod(LayerwiseMethod[ChannelStatistics, Solution]):
    """A layerwise method that goes by channels' extremes and rounds weights and activations in groups."""

    Config: ClassVar[type[BranchConfig]] = BranchConfig
    config: BranchConfig

    def observe(self, model: DenoisingModel, calibration: CalibrationSet) -> Mapping[str, ChannelStatistics]:
        """See `LayerwiseMethod`: the extremes of each input channel."""
        return channel_statistics(model, calibration, quantizable_layers(model.backbone))

    def policy(self, ends: Sequence[str]) -> Policy:
        """See `LayerwiseMethod`: weights and activations in groups."""
        policy = grouped_policy(*self.spec.sides, ends, self.config.group)
        return policy.changed(activation=lambda scheme: _in_groups(scheme, self.config.group))


def _in_groups(scheme: Scheme, group: int) -> Scheme:
    if scheme.published:
        return scheme
    return Scheme(bits=scheme.bits, granularity="group", symmetric=True, group_size=group, dynamic=True)
