"""Our own quantized backbone as `bench export` writes it, run by the program that it was written for."""

from __future__ import annotations

import inspect
import tempfile
from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

from torch import Tensor, nn

from admbench.bench.exporting.onnx_model import run_of_onnx, write_onnx
from admbench.bench.exporting.openvino_ir import run_of_ir, write_ir
from admbench.bench.exporting.subject import Inputs, NamedBackbone
from admbench.bench.exporting.target import Run
from admbench.bench.measurement.engines.base import Engine, PositionalBackbone


class Exported(Engine):
    """An export of the method that is measured: its codes, scales and zero points, with a free number of rows."""

    takes_method: ClassVar[bool] = True

    def build(self, network: nn.Module, example: Sequence[Tensor], threads: int) -> Callable[..., Tensor]:
        """See `Engine`; the network is the simulation."""
        assert isinstance(network, PositionalBackbone)
        function = _named(network)
        rows = max(len(tensor) for tensor in example if tensor.ndim)
        fewer = {
            name: tensor[:1] if tensor.ndim and len(tensor) == rows else tensor
            for name, tensor in function.example.items()
        }
        with tempfile.TemporaryDirectory() as folder:
            run = self.run_of(function, [function.example, fewer], Path(folder), threads)
        names = function.names  # in the order of the call's own leaves, as the engine's tensors are

        def positional(*tensors: Tensor) -> Tensor:
            return run(dict(zip(names, tensors, strict=True)))

        return positional

    @abstractmethod
    def run_of(self, function: NamedBackbone, calls: Sequence[Inputs], folder: Path, threads: int) -> Run:
        """Write the backbone into a folder and return what runs it; the folder is removed afterwards."""


class ExportedOnnx(Exported):
    """`--format onnx`, by ONNX Runtime."""

    name = "exported:onnx"
    summary = "this method's backbone as `bench export --format onnx` writes it, by ONNX Runtime"
    packages = ("onnx", "onnxruntime")
    extra = "export"

    def run_of(self, function: NamedBackbone, calls: Sequence[Inputs], folder: Path, threads: int) -> Run:
        """See `Exported`."""
        write_onnx(function, calls, folder / "backbone.onnx")
        return run_of_onnx(folder / "backbone.onnx", threads)


class ExportedOpenVINO(Exported):
    """`--format openvino`, by OpenVINO's CPU plug-in as it comes: bf16 beside integers where there is bf16."""

    name = "exported:openvino"
    summary = "this method's backbone as `bench export --format openvino` writes it, by OpenVINO as it comes"
    packages = ("onnx", "openvino")
    extra = "export"

    def run_of(self, function: NamedBackbone, calls: Sequence[Inputs], folder: Path, threads: int) -> Run:
        """See `Exported`."""
        write_ir(function, calls, folder / "backbone.xml")
        options = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
        return run_of_ir(folder / "backbone.xml", options)


def _named(network: PositionalBackbone) -> NamedBackbone:
    """Return a recorded call's network as a function of tensors by name."""
    args, kwargs = network.call
    names = list(inspect.signature(network.backbone.forward).parameters)
    return NamedBackbone(network.backbone, {**dict(zip(names, args, strict=False)), **kwargs})
