"""ONNX Runtime after its own static int8 quantization."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from admbench.bench.measurement.engines.base import Engine


class OnnxRuntimeInt8(Engine):
    """QDQ, weights per channel, calibrated by min-max on the very input that is timed."""

    name = "onnxruntime-int8"
    summary = "ONNX Runtime after its static int8 quantization (QDQ, per channel)"
    packages = ("onnx", "onnxruntime")
    extra = "onnxruntime"

    def build(self, network: nn.Module, example: Sequence[Tensor], threads: int) -> Callable[..., Tensor]:
        """See `Engine`."""
        import onnxruntime
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

        names = [f"input_{number}" for number in range(len(example))]

        class Example(CalibrationDataReader):
            left = 1

            def get_next(self) -> dict[str, object] | None:
                if not self.left:
                    return None
                self.left -= 1
                return {name: tensor.numpy() for name, tensor in zip(names, example, strict=True)}

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        with tempfile.TemporaryDirectory() as folder:
            exported, quantized = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
            with torch.no_grad():
                torch.onnx.export(
                    network, tuple(example), exported, input_names=names, dynamo=False, external_data=True
                )
            quantize_static(
                exported,
                quantized,
                Example(),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                weight_type=QuantType.QInt8,
                activation_type=QuantType.QUInt8,
                use_external_data_format=True,
            )
            session = onnxruntime.InferenceSession(quantized, options, providers=["CPUExecutionProvider"])
        known = {node.name for node in session.get_inputs()}

        def run(*tensors: Tensor) -> Tensor:
            feed = {name: tensor.numpy() for name, tensor in zip(names, tensors, strict=True) if name in known}
            return torch.from_numpy(session.run(None, feed)[0])

        return run
