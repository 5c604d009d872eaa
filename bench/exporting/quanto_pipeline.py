"""A pipeline directory of diffusers with our int8 codes, for its backend optimum-quanto.

In safetensors a layer is `weight._data`, int8, and `weight._scale` per output channel.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from admbench.bench.exporting.packed_pipeline import PackedPipeline, Tensors


class QuantoPipeline(PackedPipeline):
    """See `PackedPipeline`."""

    name = "diffusers-quanto"
    summary = "a pipeline directory with the backbone's int8 codes, for diffusers and optimum-quanto"
    backend = "quanto"
    modules: ClassVar[dict[str, str]] = {"optimum.quanto": "optimum-quanto", "accelerate": "accelerate"}

    def config(self, kept: list[str]) -> dict[str, Any]:
        """See `PackedPipeline`."""
        return {"quant_method": "quanto", "weights_dtype": "int8", "modules_to_not_convert": kept}

    def held(self, plain: Tensors, weights: dict[str, tuple[Tensor, Tensor]]) -> tuple[Tensors, dict[str, str]]:
        """See `PackedPipeline`."""
        tensors = dict(plain)
        for name, (codes, scale) in weights.items():
            tensors |= {f"{name}.weight._data": codes, f"{name}.weight._scale": scale}
            tensors |= {f"{name}.{side}_scale": torch.ones(()) for side in ("input", "output")}
        return tensors, {}
