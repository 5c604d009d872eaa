"""Packed checkpoints in the forms that other programs read, each held against our simulation before it is kept.

`TARGETS` names the forms. A target says what it needs, refuses by name what its form cannot express, writes a folder,
and runs what it wrote. `exporter.export` joins these steps.
"""

from admbench.bench.exporting.diffusers_pipeline import DiffusersPipeline
from admbench.bench.exporting.gguf_file import GGUFFile
from admbench.bench.exporting.onnx_model import OnnxModel
from admbench.bench.exporting.onnx_pipeline import OnnxPipeline
from admbench.bench.exporting.openvino_ir import OpenVINOIR
from admbench.bench.exporting.quanto_pipeline import QuantoPipeline
from admbench.bench.exporting.target import Target
from admbench.bench.exporting.torchao_pipeline import TorchaoPipeline

TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        DiffusersPipeline(),
        QuantoPipeline(),
        TorchaoPipeline(),
        OnnxModel(),
        OnnxPipeline(),
        OpenVINOIR(),
        GGUFFile(),
    )
}
"""By the name that `bench export --format` takes."""

__all__ = ["TARGETS", "Target"]
