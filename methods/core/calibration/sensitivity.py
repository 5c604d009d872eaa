"""Sensitivity of layers: the noise in a backbone's output when the weights of one layer alone are rounded.

The definition is output noise: with layer l rounded and everything else in full precision, the mean square of the
change of the output over that of the output, the inverse of its SQNR. Running the backbone once for every layer and
number of bits would give it, at hundreds of runs. To first order, one run forwards and one backwards give it for all
of them: rounding changes the output y of a layer by d = layer(x; W' - W), and the output of the backbone by J d, where
J is its Jacobian by y. For a vector v of random signs,

    E[(v . J d)^2] = |J d|^2,    v . J d = g . d,    g = the gradient of v . output by y

(Hutchinson's estimator). Every sample has a vector of its own, so that the mean over samples is one over vectors, too.

Fisher information costs as much and measures the likelihood of an output under noise that nobody has; what the next
denoising step reads is the output.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from admbench.errors import DataError
from admbench.methods.core.layers.inference import usable, usable_outputs
from admbench.methods.core.layers.kinds import QuantizableLayer
from admbench.methods.core.numbers.quantizer import Quantizer
from admbench.methods.protocol import DenoisingModel
from admbench.progress import track

Noise = dict[str, dict[int, float]]
"""Layer -> bits -> mean square of the output's change over that of the output."""


def output_noise(
    model: DenoisingModel,
    backbone: nn.Module,
    batches: Iterable[dict[str, Tensor]],
    candidates: Mapping[str, Mapping[int, Quantizer]],
    *,
    probes: int = 1,
    seed: int,
) -> Noise:
    """Return the output noise of rounding each layer's weight alone, to first order.

    In memory are the activations of one batch, and one more of every layer's output for each number of bits.

    Args:
        model: runs the backbone on a batch; its own backbone is put back.
        backbone: in full precision.
        batches: inputs as `DenoisingModel.call_backbone` takes them. Rows must not depend on each other.
        candidates: layer of the backbone -> bits -> quantizer of its weight.
        probes: random vectors of each sample.
        seed: draws them.

    Raises:
        DataError: the model does not call its backbone's `forward`, or the output is not finite or zero.
    """
    generator = torch.Generator().manual_seed(seed)
    errors = {
        name: {bits: _rounding_error(backbone.get_submodule(name), quantizer) for bits, quantizer in tried.items()}
        for name, tried in candidates.items()
    }
    noise: Noise = {name: dict.fromkeys(tried, 0.0) for name, tried in candidates.items()}
    power = 0.0
    for inputs in track(list(batches), "Measuring sensitivity"):
        args, kwargs = _arguments(model, backbone, inputs)
        with (
            torch.enable_grad(),
            usable_outputs(backbone),
            _layers_watched(backbone, errors) as (outputs, changes),
            _frozen(backbone),
        ):
            prediction = _prediction(backbone(*args, **kwargs))
            power += prediction.detach().double().square().sum().item()
            for probe in range(probes):
                signs = torch.randint(2, prediction.shape, generator=generator).mul_(2).sub_(1).to(prediction)
                gradients = torch.autograd.grad(
                    prediction, [*outputs.values()], signs, retain_graph=probe + 1 < probes, allow_unused=True
                )
                for name, gradient in zip(outputs, gradients, strict=True):
                    for bits, change in changes[name].items() if gradient is not None else ():
                        along = (gradient * change).flatten(1).double().sum(1)
                        noise[name][bits] += along.square().sum().item() / probes
    if not 0 < power < float("inf"):
        raise DataError(f"{model.name}: the backbone's output on the calibration set is zero or not finite")
    return {name: {bits: value / power for bits, value in tried.items()} for name, tried in noise.items()}


def _rounding_error(layer: nn.Module, quantizer: Quantizer) -> Tensor:
    assert isinstance(layer, QuantizableLayer)
    weight = layer.weight.detach()
    return quantizer.fake_quantize(weight) - weight


@contextmanager
def _layers_watched(
    backbone: nn.Module, errors: Mapping[str, Mapping[int, Tensor]]
) -> Iterator[tuple[dict[str, Tensor], dict[str, dict[int, Tensor]]]]:
    """Give what layers return, for gradients, and by how much rounding changes it."""
    outputs: dict[str, Tensor] = {}
    changes: dict[str, dict[int, Tensor]] = {}

    def see(name: str, layer: QuantizableLayer, args: tuple[Any, ...], output: Tensor) -> Tensor:
        with torch.no_grad():
            changes[name] = {bits: _without_bias(layer, args[0], error) for bits, error in errors[name].items()}
        outputs[name] = output if output.requires_grad else output.detach().requires_grad_()
        return outputs[name]

    hooks = [backbone.get_submodule(name).register_forward_hook(partial(see, name)) for name in errors]
    try:
        yield outputs, changes
    finally:
        for hook in hooks:
            hook.remove()


def _without_bias(layer: QuantizableLayer, x: Tensor, weight: Tensor) -> Tensor:
    if isinstance(layer, nn.Linear):
        return nn.functional.linear(x, weight)
    return layer._conv_forward(x, weight, None)


@contextmanager
def _frozen(module: nn.Module) -> Iterator[None]:
    """Compute no gradients of parameters."""
    learned = [parameter for parameter in module.parameters() if parameter.requires_grad]
    try:
        for parameter in learned:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in learned:
            parameter.requires_grad_(True)


def _arguments(
    model: DenoisingModel, backbone: nn.Module, inputs: dict[str, Tensor]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return what a model calls its backbone with for some inputs."""
    seen: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def see(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        seen.append((args, kwargs))

    own, model.backbone = model.backbone, backbone
    hook = backbone.register_forward_pre_hook(see, with_kwargs=True)
    try:
        with torch.no_grad():
            model.call_backbone(inputs)
    finally:
        hook.remove()
        model.backbone = own
    if len(seen) != 1:
        raise DataError(f"{model.name}: one call of its backbone runs it {len(seen)} times")
    args, kwargs = seen[0]
    return usable(args), usable(kwargs)


def _prediction(output: Any) -> Tensor:
    prediction: Tensor = output if isinstance(output, Tensor) else output[0]
    return prediction
