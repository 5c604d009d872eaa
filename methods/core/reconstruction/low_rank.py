"""Weights that learn through a low-rank update, merged before they are rounded (QALoRA of EfficientDM, 2310.03270).

The weight that a layer computes with is fake_quantize(W + up down): the update moves weights across the boundaries
between codes, and nothing of it is left beside the codes afterwards. The step sizes of the codes learn, too.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from admbench.methods.core.layers.kinds import QuantizableLayer
from admbench.methods.core.layers.quantized import QuantizedLayer
from admbench.methods.core.numbers.quantizer import Quantizer, fake_quantize
from admbench.methods.core.reconstruction.objective import Learner

SMALLEST_FACTOR = 0.01
"""A step size shrinks no further, relative to where it started."""


class LowRankUpdate(Learner):
    """Low-rank updates and step sizes of the weights of some layers, by AdamW, its rates falling linearly to 0.

    Args:
        layers: quantized layers by name; those without codes are passed over.
        originals: the layers in full precision, by name.
        rank: of an update.
        learning_rate: of the updates, in mean step sizes of the layer: a layer of small weights moves in small steps.
        scale_learning_rate: of the step sizes, relative to where they start.
        generator: draws where the updates start; at first they add nothing.
    """

    learned = "weights"

    def __init__(
        self,
        layers: Mapping[str, QuantizedLayer],
        originals: Mapping[str, QuantizableLayer],
        rank: int,
        learning_rate: float,
        scale_learning_rate: float,
        generator: torch.Generator,
    ) -> None:
        self._updates = [
            _Update(layer, layer.folded(originals[name].weight.detach()), rank, generator)
            for name, layer in layers.items()
            if layer.weight_codes is not None
        ]
        groups = []
        for update in self._updates:
            groups.append(
                {"params": [update.down, update.up], "rate": learning_rate * update.start.scale.mean().item()}
            )
            groups.append({"params": [update.factor], "rate": scale_learning_rate, "weight_decay": 0.0})
        self._optimizer = torch.optim.AdamW(groups, lr=1.0) if groups else None

    @property
    def idle(self) -> bool:
        """See `Learner`."""
        return not self._updates

    def prepare(self) -> None:
        """See `Learner`."""
        for update in self._updates:
            update.layer.substitute_weight(update.rounded())
        if self._optimizer is not None:
            self._optimizer.zero_grad()

    def step(self, progress: float) -> None:
        """See `Learner`."""
        assert self._optimizer is not None
        for group in self._optimizer.param_groups:
            group["lr"] = group["rate"] * (1 - progress)
        self._optimizer.step()

    @torch.no_grad()
    def finish(self) -> None:
        """See `Learner`."""
        for update in self._updates:
            quantizer = update.quantizer()
            update.layer.weight_quantizer = quantizer
            update.layer.set_codes(quantizer.codes(update.merged()))

    def undo(self) -> None:
        """See `Learner`."""
        for update in self._updates:
            update.layer.weight_quantizer = update.start
            update.layer.set_codes(update.codes)


class _Update:
    """The update of one layer."""

    def __init__(self, layer: QuantizedLayer, weight: Tensor, rank: int, generator: torch.Generator) -> None:
        assert layer.weight_quantizer is not None
        assert layer.weight_codes is not None
        self.layer, self.start, self.codes = layer, layer.weight_quantizer, layer.weight_codes
        self._weight = weight
        outputs, terms = len(weight), weight[0].numel()
        down = torch.randn(rank, terms, generator=generator).to(weight) / terms**0.5
        self.down = nn.Parameter(down)
        self.up = nn.Parameter(torch.zeros(outputs, rank).to(weight))
        self.factor = nn.Parameter(torch.ones_like(self.start.scale))

    def merged(self) -> Tensor:
        """Return the weight with its update."""
        return self._weight + (self.up @ self.down).view_as(self._weight)

    def rounded(self) -> Tensor:
        """Return the merged weight rounded, with gradients for the update and the step sizes."""
        return fake_quantize(self.merged(), self.start.scheme, self._scale(), self.start.zero_point)

    def quantizer(self) -> Quantizer:
        """Return a quantizer with the step sizes learned so far."""
        return Quantizer(self.start.scheme, self._scale().detach().clone(), self.start.zero_point)

    def _scale(self) -> Tensor:
        return self.start.scale * self.factor.clamp(min=SMALLEST_FACTOR)
