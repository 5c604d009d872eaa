"""A pipeline directory of diffusers with our int8 codes, for its backend torchao.

A weight is torchao's own `Int8Tensor`, made of our codes and scales; torchao's functions lay its parts out in
safetensors, and diffusers puts them together again.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from admbench.bench.exporting.packed_pipeline import PackedPipeline, Tensors


class TorchaoPipeline(PackedPipeline):
    """See `PackedPipeline`."""

    name = "diffusers-torchao"
    summary = "a pipeline directory with the backbone's int8 codes, for diffusers and torchao"
    backend = "torchao"
    modules: ClassVar[dict[str, str]] = {"torchao": "torchao", "accelerate": "accelerate"}

    def config(self, kept: list[str]) -> dict[str, Any]:
        """See `PackedPipeline`."""
        from diffusers import TorchAoConfig
        from torchao.quantization import Int8WeightOnlyConfig

        config: Any = TorchAoConfig(Int8WeightOnlyConfig(), modules_to_not_convert=kept)
        return {**config.to_dict(), "quant_method": self.backend}

    def held(self, plain: Tensors, weights: dict[str, tuple[Tensor, Tensor]]) -> tuple[Tensors, dict[str, str]]:
        """See `PackedPipeline`."""
        from torchao.prototype.safetensors.safetensors_support import flatten_tensor_state_dict
        from torchao.quantization import Int8Tensor

        tensors = dict(plain)
        for name, (codes, scale) in weights.items():
            zero = torch.zeros_like(scale, dtype=torch.int8)
            tensors[f"{name}.weight"] = Int8Tensor(codes, scale, [1, codes.shape[1]], torch.float32, zero_point=zero)
        return flatten_tensor_state_dict(tensors)
