"""The harness: command line, grid, runner, models, suites, measurement - and what they do as a small Python API.

Names of the API are loaded when they are first used, so that `import bench` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.api import (
        QuantizedModel,
        generate,
        load_checkpoint,
        load_model,
        measure_latency,
        quantize,
        read_records,
        save_checkpoint,
        score_folders,
        score_report,
    )

__all__ = [
    "QuantizedModel",
    "generate",
    "load_checkpoint",
    "load_model",
    "measure_latency",
    "quantize",
    "read_records",
    "save_checkpoint",
    "score_folders",
    "score_report",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("bench.api"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
