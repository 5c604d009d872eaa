"""Any component of a model as the network that a method quantizes, in the place of the backbone.

A method sees `admbench.methods.protocol.DenoisingModel` and nothing else, so that every method can quantize a text
encoder, an autoencoder's decoder or a vocoder as it is: what it takes for calls of the backbone are the component's own
calls, recorded while the full-precision model makes clips.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from admbench.bench.models.base import AudioDiffusionModel
from admbench.bench.models.components import TEXT, Component, ComponentCall
from admbench.methods.protocol import BackboneCall, DenoisingModel


class ComponentView:
    """One component of a model; satisfies `admbench.methods.protocol.DenoisingModel`."""

    def __init__(self, model: AudioDiffusionModel, component: Component) -> None:
        self._model, self._component = model, component
        self.name, self.weights_sha256, self.license = model.name, model.weights_sha256, model.license
        self.sampler = model.sampler
        self.default_steps, self.default_guidance = model.default_steps, model.default_guidance

    @property
    def backbone(self) -> nn.Module:
        """The component; may be set, and what is set runs from then on."""
        return self._model.components[self._component]

    @backbone.setter
    def backbone(self, module: nn.Module) -> None:
        self._model.set_component(self._component, module)

    def trajectories(
        self, prompts: Sequence[str], *, seeds: Sequence[int], steps: int, guidance: float, batch_size: int
    ) -> Iterator[BackboneCall]:
        """Makes each prompt's clip; yields the component's calls, all as of one step and timestep."""
        for start in range(0, len(prompts), batch_size):
            indices = tuple(range(start, min(len(prompts), start + batch_size)))
            with _recorded(self.backbone, self._call.method) as calls:
                self._run([prompts[i] for i in indices], [seeds[i] for i in indices], steps, guidance)
            rows = 0
            for inputs in calls:
                count = len(next(iter(inputs.values())))
                guided = count == 2 * len(indices)
                # beyond a call for each prompt, where a model makes it for itself, the empty caption is encoded
                own = indices if guided else indices[rows : rows + count] or indices[-count:]
                rows += count
                yield BackboneCall(0, 0, own, inputs, guided=guided)

    def call_backbone(self, inputs: dict[str, Tensor]) -> Tensor:
        """Runs the component on a call's inputs; returns its first output."""
        moved = {name: value.to(self._model.device) for name, value in inputs.items()}
        if (rows := self._call.row_numbers) is not None:
            moved[rows] = torch.arange(len(moved[rows]), device=self._model.device)
        with torch.inference_mode():
            output = getattr(self.backbone, self._call.method)(**moved)
        first: Tensor = output if isinstance(output, Tensor) else output[0]
        return first

    def embed_text(self, prompts: Sequence[str]) -> Tensor:
        """One vector of each prompt: the model's own, whichever component this is."""
        return self._model.embed_text(prompts)

    @property
    def _call(self) -> ComponentCall:
        return self._model.calls.get(self._component, ComponentCall())

    def _run(self, prompts: Sequence[str], seeds: Sequence[int], steps: int, guidance: float) -> None:
        if self._component in TEXT:
            self._model.encode_text(prompts, guided=guidance != 1)
        else:
            self._model.generate(prompts, seeds, steps=steps, guidance=guidance, batch_size=len(prompts))


def view_of(model: AudioDiffusionModel, component: Component) -> DenoisingModel:
    """Return what a method sees of a component; of the backbone, the model itself."""
    return model if component == "backbone" else ComponentView(model, component)


@contextmanager
def _recorded(module: nn.Module, method: str) -> Iterator[list[dict[str, Tensor]]]:
    """Give the tensors, by argument name, of each call of a module's method inside of the block."""
    calls: list[dict[str, Tensor]] = []
    original = getattr(module, method)
    signature = inspect.signature(original)

    def record(*args: Any, **kwargs: Any) -> Any:
        arguments = signature.bind(*args, **kwargs).arguments
        calls.append({name: value for name, value in arguments.items() if isinstance(value, Tensor)})
        return original(*args, **kwargs)

    setattr(module, method, record)
    try:
        yield calls
    finally:
        delattr(module, method)
