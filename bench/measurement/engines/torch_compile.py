"""torch.compile: the backbone's own operators, fused by TorchInductor into generated C++."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from admbench.bench.measurement.engines.base import Engine


class TorchCompile(Engine):
    """`torch.compile` with its default backend, float32."""

    name = "torch-compile"
    summary = "torch.compile (inductor), float32"

    def missing(self) -> str | None:
        """See `Engine`."""
        return None if shutil.which("g++") or shutil.which("clang++") else "TorchInductor needs a C++ compiler"

    def build(self, network: nn.Module, example: Sequence[Tensor], threads: int) -> Callable[..., Tensor]:
        """See `Engine`."""
        compiled = torch.compile(network)

        def run(*tensors: Tensor) -> Tensor:
            with torch.inference_mode(False), torch.no_grad():
                predicted: Tensor = compiled(*[tensor.clone() for tensor in tensors])
            return predicted

        run(*example)
        return run
