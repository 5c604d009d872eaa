"""OpenVINO, in the precision it prefers, and OpenVINO after NNCF's post-training quantization."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from admbench.bench.measurement.engines.base import Engine


class OpenVINO(Engine):
    """OpenVINO's CPU plug-in as it comes: bf16 where the processor has it, else float32."""

    name = "openvino"
    summary = "OpenVINO, in the precision that it prefers on this processor"
    packages: ClassVar[tuple[str, ...]] = ("openvino",)
    extra = "openvino"

    def build(self, network: nn.Module, example: Sequence[Tensor], threads: int) -> Callable[..., Tensor]:
        """See `Engine`."""
        import openvino

        options = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
        request = openvino.compile_model(self.converted(network, example), "CPU", options).create_infer_request()

        def run(*tensors: Tensor) -> Tensor:
            found = request.infer([tensor.numpy() for tensor in tensors], share_inputs=True)
            return torch.from_numpy(found[0].copy())

        return run

    def converted(self, network: nn.Module, example: Sequence[Tensor]) -> Any:
        """Return OpenVINO's model of the network."""
        import openvino

        with torch.no_grad():
            return openvino.convert_model(network, example_input=tuple(example))


class OpenVINOInt8(OpenVINO):
    """NNCF's quantization for transformers, mixed preset, calibrated on the very input that is timed."""

    name = "openvino-int8"
    summary = "OpenVINO after NNCF's int8 post-training quantization (mixed preset, transformer)"
    packages = ("openvino", "nncf")

    def converted(self, network: nn.Module, example: Sequence[Tensor]) -> Any:
        """See `OpenVINO`."""
        import nncf

        logging.getLogger("nncf").setLevel(logging.ERROR)
        return nncf.quantize(
            super().converted(network, example),
            nncf.Dataset([[tensor.numpy() for tensor in example]]),
            preset=nncf.QuantizationPreset.MIXED,
            model_type=nncf.ModelType.TRANSFORMER,
            subset_size=1,
        )
