"""The backbone as OpenVINO's intermediate representation, with our integers: read from our ONNX model, no copy of it.

OpenVINO's CPU plug-in then fuses the graph as it does with its own quantization. Weights stay integers in the file:
signed and unsigned bytes, and two codes of 4 bits a byte.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from admbench.bench.exporting.onnx_model import FILE as ONNX_FILE
from admbench.bench.exporting.onnx_model import PREDICTION, required_of_runtime, signature, write_onnx
from admbench.bench.exporting.subject import Inputs, NamedBackbone, Subject
from admbench.bench.exporting.target import Run, Target, Written, not_exported

FILE = "backbone.xml"
AS_WRITTEN: Mapping[str, object] = {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0}
"""Options with which the plug-in computes in float32 beside the integers, and rounds no inputs but those that we round.
Left to itself it computes in bf16 where the processor has it, and rounds the inputs of layers with 4 bits."""


class OpenVINOIR(Target):
    """`backbone.xml` and `backbone.bin`."""

    name = "openvino"
    summary = "the backbone as OpenVINO's IR with our integers, weights in 4 or 8 bits"
    packages = ("onnx", "openvino")

    def required_sqnr_db(self, subject: Subject) -> float:
        """See `Target`."""
        return required_of_runtime(subject)

    def write(self, subject: Subject, folder: Path) -> Written:
        """See `Target`.

        Raises:
            UsageError: what `OnnxModel` refuses.
        """
        integers = write_ir(subject.function, subject.inputs, folder / FILE)
        return Written(f"{FILE}: {signature(subject)}, {integers} weights as integers", not_exported(subject))

    def load(self, subject: Subject, folder: Path) -> Run:
        """See `Target`: by the CPU plug-in, `AS_WRITTEN`."""
        return run_of_ir(folder / FILE, AS_WRITTEN)


def write_ir(function: NamedBackbone, calls: Sequence[Inputs], file: Path) -> int:
    """Write a quantized backbone, as `write_onnx` does; return how many weights of it are integers."""
    import openvino

    with tempfile.TemporaryDirectory() as scratch:
        integers = write_onnx(function, calls, Path(scratch) / ONNX_FILE)
        model = openvino.convert_model(Path(scratch) / ONNX_FILE)
        openvino.save_model(model, file, compress_to_fp16=False)
    return integers


def run_of_ir(file: Path, options: Mapping[str, object]) -> Run:
    """Return a file's backbone as OpenVINO's CPU plug-in runs it, with the plug-in's options."""
    import openvino

    compiled = openvino.Core().compile_model(file, "CPU", dict(options))
    request = compiled.create_infer_request()
    known = {name for port in compiled.inputs for name in port.names}

    def run(inputs: Inputs) -> Tensor:
        feed = {name: tensor.numpy() for name, tensor in inputs.items() if name in known}
        return torch.from_numpy(request.infer(feed, share_inputs=True)[PREDICTION].copy())

    return run
