"""A benchmark and leaderboard for post-training quantization of text-conditional audio diffusion models.

    import admbench

    model = admbench.load_model("tiny-tango")
    admbench.quantize(model, "naive@w4a8")
    audio = admbench.generate(model, ["a dog barks"], seeds=[3])

Its rooms are `admbench.methods`, `admbench.metrics`, `admbench.leaderboard`, none of which imports another, and
`admbench.bench`, the harness, which imports all three. What lies in this package itself - errors, plug-in registry,
hashing, files - imports none of the four; the names of the API are loaded when they are first used, so that
`import admbench` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from admbench.bench.api import (
        QuantizedModel,
        choose,
        gate,
        gate_folders,
        generate,
        load_checkpoint,
        load_model,
        measure_latency,
        quantize,
        read_records,
        save_checkpoint,
        score_by_convention,
        score_folders,
        score_report,
    )

__all__ = [
    "QuantizedModel",
    "choose",
    "gate",
    "gate_folders",
    "generate",
    "load_checkpoint",
    "load_model",
    "measure_latency",
    "quantize",
    "read_records",
    "save_checkpoint",
    "score_by_convention",
    "score_folders",
    "score_report",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("admbench.bench.api"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
