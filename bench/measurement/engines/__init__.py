"""Other people's ways of running a backbone fast, to time beside ours: compilers and runtimes, each optional.

`ENGINES` names them; nothing of theirs is imported before one is built. They are baselines of `bench latency`, not
methods: what they make has no packed checkpoint and no record of its own.
"""

from admbench.bench.measurement.engines.autocast import AutocastBFloat16, AutocastFloat16
from admbench.bench.measurement.engines.base import Engine, EngineBackbone, recorded_call
from admbench.bench.measurement.engines.exported import ExportedOnnx, ExportedOpenVINO
from admbench.bench.measurement.engines.onnxruntime import OnnxRuntimeInt8
from admbench.bench.measurement.engines.openvino import OpenVINO, OpenVINOInt8
from admbench.bench.measurement.engines.torch_compile import TorchCompile

ENGINES: dict[str, Engine] = {
    engine.name: engine
    for engine in (
        AutocastFloat16(),
        AutocastBFloat16(),
        TorchCompile(),
        OpenVINO(),
        OpenVINOInt8(),
        OnnxRuntimeInt8(),
        ExportedOpenVINO(),
        ExportedOnnx(),
    )
}
"""By the name that `bench latency --baselines` takes."""

__all__ = ["ENGINES", "Engine", "EngineBackbone", "recorded_call"]
