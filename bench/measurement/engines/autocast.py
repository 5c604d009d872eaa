"""torch.autocast: the full-precision backbone with its products in 16 bits, as most people run diffusion models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from admbench.bench.measurement.engines.base import Engine


class Autocast(Engine):
    """`torch.autocast` around a float32 backbone: products in 16 bits, norms and softmax in float32."""

    dtype: ClassVar[torch.dtype]
    """Of the products."""

    def build(self, network: nn.Module, example: Sequence[Tensor], threads: int) -> Callable[..., Tensor]:
        """See `Engine`."""
        device = example[0].device.type

        def run(*tensors: Tensor) -> Tensor:
            with torch.autocast(device, self.dtype):
                predicted: Tensor = network(*tensors)
            return predicted.float()

        return run


class AutocastFloat16(Autocast):
    """In float16, which CPUs have no products of."""

    name = "autocast:float16"
    summary = "torch.autocast, products in float16"
    dtype = torch.float16


class AutocastBFloat16(Autocast):
    """In bfloat16."""

    name = "autocast:bfloat16"
    summary = "torch.autocast, products in bfloat16"
    dtype = torch.bfloat16
