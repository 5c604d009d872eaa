"""Hard twins: networks that compute what a model's backbone computes, of numbers that are harder to quantize.

Before a layer W x + b a twin changes the input, and in the layer it undoes the change. In full precision nothing
changes; what is rounded, the layer's input and its weight, does:

    channel outliers      u = a x      W' = W / a            a = 20 to 60 in some channels, 1 in the others
    heavy-tailed weights  u = a x      W' = W / a            a = 1/20 to 1/60 in some channels: W' has the outliers
    drifting ranges       u = g(t) x   y = W u / g(t) + b    g grows 16-fold over the timesteps
    shifted inputs        u = x + c    b' = b - W c          c so that nothing is below zero

The change stands for what trained networks have in its place: the gain of the norm before a layer, modulation by the
timestep's embedding, the bias of the layer before. As a module of its own it can stand before any layer of any network.
It stands before the layers of residual blocks, where most weights are.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from admbench.bench.models.twins import drawn_gains
from admbench.errors import UsageError
from admbench.hashing import sha256_tensors
from admbench.methods.core.calibration.calibration_set import CalibrationSet
from admbench.methods.core.calibration.ranges import BATCH_SIZE, MinMax, input_ranges
from admbench.methods.core.layers.blocks import execution_order, find_blocks
from admbench.methods.core.layers.kinds import (
    QuantizableLayer,
    channel_dimension,
    input_channels,
    layer_kind,
    over_inputs,
    quantizable_layers,
    replace_layer,
    with_weight,
)
from admbench.methods.core.layers.split import watching_concatenations
from admbench.methods.core.numbers.timesteps import Clock, timesteps_of_calls
from admbench.methods.protocol import BackboneCall, DenoisingModel
from admbench.taxonomy import Difficulty

DRIFT = 16.0
"""How many times as wide ranges are at the last timestep as at the first."""


class HardLayer(nn.Module):
    """A layer with a change of its input, and what undoes it.

    Args:
        layer: weight and bias as the change asks for.
        gain: (in,), what input channels are multiplied by; None is 1.
        shift: (in,), what is then added to them; None is 0.
        drift: what the whole input is multiplied by, and the output, but for its bias, divided by; None is 1.
    """

    gain: Tensor | None
    shift: Tensor | None

    def __init__(
        self,
        layer: QuantizableLayer,
        *,
        gain: Tensor | None = None,
        shift: Tensor | None = None,
        drift: Drift | None = None,
    ) -> None:
        super().__init__()
        self.layer = layer
        self.drift = drift
        self.register_buffer("gain", gain)
        self.register_buffer("shift", shift)
        self._channel = channel_dimension(layer_kind(layer))

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer to x, of the shape that it takes."""
        if self.gain is not None:
            x = x * self._over_channels(self.gain, x)
        if self.shift is not None:
            x = x + self._over_channels(self.shift, x)
        if self.drift is None:
            out: Tensor = self.layer(x)
            return out
        factor = self.drift.factor(x)
        out = self.layer(x * factor) / factor
        return out if self.drift.bias is None else out + self._over_channels(self.drift.bias, out)

    def _over_channels(self, numbers: Tensor, x: Tensor) -> Tensor:
        return numbers if self._channel == -1 else numbers.view(-1, *[1] * (x.ndim - 2))


class Drift(nn.Module):
    """A factor that grows from 1 at one end of the timesteps to `DRIFT` at the other, evenly on a logarithmic scale.

    Args:
        clock: set at every call of the backbone.
        first: timestep with factor 1.
        last: timestep with factor `DRIFT`.
        bias: (out,) of the layer, which is added after its output is divided; None without one.
    """

    def __init__(self, clock: Clock, first: float, last: float, bias: Tensor | None) -> None:
        super().__init__()
        self.clock, self.first, self.last = clock, first, last
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone(), requires_grad=False)

    def factor(self, x: Tensor) -> Tensor:
        """Return the factor of each row of x, (n, 1, ...).

        Raises:
            RuntimeError: read outside of a call of the backbone.
        """
        if self.clock.timesteps is None:
            raise RuntimeError("a drifting range is read outside of a call of its backbone")
        place = (self.clock.timesteps.to(x.device) - self.first) / (self.last - self.first)
        factor = (place.clamp(0, 1) * math.log(DRIFT)).exp().to(x.dtype)
        rows = factor if len(factor) == 1 else factor.repeat_interleave(len(x) // len(factor))
        return rows.view(-1, *[1] * (x.ndim - 1))


class Twin:
    """A model with another backbone in its backbone's place; satisfies `admbench.methods.protocol.DenoisingModel`.

    Args:
        model: in full precision; left as it is.
        backbone: computes the same.
    """

    def __init__(self, model: DenoisingModel, backbone: nn.Module) -> None:
        self._model = model
        self.backbone = backbone
        self.name, self.license = model.name, model.license
        self.sampler = model.sampler
        self.default_steps, self.default_guidance = model.default_steps, model.default_guidance
        self.weights_sha256 = sha256_tensors(backbone.state_dict())

    def trajectories(
        self, prompts: Sequence[str], *, seeds: Sequence[int], steps: int, guidance: float, batch_size: int
    ) -> Iterator[BackboneCall]:
        """See `DenoisingModel`: those of the model, which computes the same."""
        return self._model.trajectories(prompts, seeds=seeds, steps=steps, guidance=guidance, batch_size=batch_size)

    def call_backbone(self, inputs: dict[str, Tensor]) -> Tensor:
        """See `DenoisingModel`."""
        own, self._model.backbone = self._model.backbone, self.backbone
        try:
            return self._model.call_backbone(inputs)
        finally:
            self._model.backbone = own

    def embed_text(self, prompts: Sequence[str]) -> Tensor:
        """See `DenoisingModel`."""
        return self._model.embed_text(prompts)


def hard_twin(model: DenoisingModel, difficulty: Difficulty, calibration: CalibrationSet, *, seed: int = 0) -> Twin:
    """Return a twin of a model.

    Args:
        model: in full precision; left as it is.
        difficulty: what is hard about the twin.
        calibration: of the model: which layers run, what their inputs hold, and from when to when it is sampled.
        seed: draws channels and gains.

    Raises:
        UsageError: the model has no layers for it, as a network without a timestep has no ranges that drift.
    """
    names = hardened_layers(model, calibration)
    backbone = copy.deepcopy(model.backbone)
    layers = {name: layer for name, layer in quantizable_layers(backbone).items() if name in names}
    if difficulty == "drifting ranges":
        timesteps = timesteps_of_calls(model, calibration.batches(BATCH_SIZE))
        made = {} if timesteps is None else _drifting(backbone, layers, timesteps)
    elif difficulty == "shifted inputs":
        made = _shifted(layers, input_ranges(model, calibration, layers))
    else:
        made = _scaled(layers, seed, heavy_weights=difficulty == "heavy-tailed weights")
    if not made:
        raise UsageError(f"{model.name} has no layers that could be given {difficulty}")
    for name, layer in made.items():
        replace_layer(backbone, name, layer)
    return Twin(model, backbone.eval())


def hardened_layers(model: DenoisingModel, calibration: CalibrationSet) -> set[str]:
    """Return the names of the layers that a twin has a change before: those of residual blocks, which run.

    Two kinds are left out: a convolution in groups, and a layer that reads a concatenation, which some methods split
    in two, and know by the very tensor that it reads.
    """
    inputs = next(calibration.batches(1))
    with watching_concatenations(model.backbone) as concatenated, torch.no_grad():
        model.call_backbone(inputs)
    blocks = find_blocks(model.backbone, execution_order(model, inputs))
    inside = {name for block in blocks if block.kind in ("resnet", "transformer") for name in block.layers}
    layers = quantizable_layers(model.backbone)
    return {name for name in inside - concatenated.keys() if getattr(layers[name], "groups", 1) == 1}


@torch.no_grad()
def _scaled(layers: Mapping[str, QuantizableLayer], seed: int, *, heavy_weights: bool) -> dict[str, HardLayer]:
    generator = torch.Generator().manual_seed(seed)
    made = {}
    for name, layer in layers.items():
        gain = drawn_gains(input_channels(layer), generator)
        if heavy_weights:
            gain = 1 / gain
        made[name] = HardLayer(with_weight(layer, layer.weight / over_inputs(gain, layer.weight)), gain=gain)
    return made


def _drifting(backbone: nn.Module, layers: Mapping[str, QuantizableLayer], timesteps: Tensor) -> dict[str, HardLayer]:
    clock = Clock()
    backbone.register_forward_pre_hook(clock.read_call, with_kwargs=True)
    first, last = (float(end) for end in torch.aminmax(timesteps))
    made = {}
    for name, layer in layers.items():
        drift = Drift(clock, first, last, layer.bias)
        layer.bias = None
        made[name] = HardLayer(layer, drift=drift)
    return made


@torch.no_grad()
def _shifted(layers: Mapping[str, QuantizableLayer], ranges: Mapping[str, MinMax]) -> dict[str, HardLayer]:
    """Return layers whose input is nowhere below zero; a convolution that pads, where zero would not be zero, stays."""
    made = {}
    for name, layer in layers.items():
        if any(_padding(layer)):
            continue
        shift = torch.full((input_channels(layer),), -float(ranges[name].low))
        out = layer.weight.flatten(2).sum(2) if layer.weight.ndim > 2 else layer.weight
        own = torch.zeros(len(layer.weight)) if layer.bias is None else layer.bias
        layer.bias = nn.Parameter(own - out @ shift, requires_grad=False)
        made[name] = HardLayer(layer, shift=shift)
    return made


def _padding(layer: QuantizableLayer) -> Iterable[int]:
    padding = getattr(layer, "padding", ())
    if isinstance(padding, str):
        return () if padding == "valid" else (1,)
    return padding
