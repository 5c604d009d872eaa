"""What a quantized backbone takes in a process of its own: peak memory, the bytes of its weights, the time of a step.

The process that measures latency holds the full-precision model too, so its peak says nothing of the quantized one.
Here a child loads the packed checkpoint and nothing else, and calls it on the recorded inputs.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from admbench import children
from admbench.bench.measurement.memory import peak_resident_bytes
from admbench.errors import BenchError
from admbench.methods.core.backbone import QuantizedBackbone
from admbench.methods.core.kernels.weights import Unpack

MODULE = "admbench.bench.measurement.alone"
"""This module, as the child process runs it."""
CALLS = 3


def measured_alone(
    quantized: QuantizedBackbone, call: tuple[tuple[Any, ...], dict[str, Any]], unpack: Unpack, threads: int
) -> dict[str, Any]:
    """Pack a backbone, load it in a child process, call it there.

    Args:
        quantized: what a method made.
        call: positional and keyword arguments of a call of it: tensors and plain values.
        unpack: when weights become bytes; see `admbench.methods.core.kernels.weights`.
        threads: threads of the child.

    Returns:
        `peak_bytes` of the child, of which `before_bytes` were there before it loaded the backbone; `weight_bytes` of
        the backbone; `step_ms`, the fastest of three calls; `checkpoint_bytes` on disk.

    Raises:
        BenchError: the child fails; its last line says why.
    """
    with tempfile.TemporaryDirectory() as folder:
        checkpoint, inputs = Path(folder) / "checkpoint", Path(folder) / "call.pt"
        quantized.pack(checkpoint)
        torch.save(call, inputs)
        command = children.command(
            "admbench.bench.measurement.alone", str(checkpoint), str(inputs), unpack, str(threads)
        )
        child = subprocess.run(command, capture_output=True, text=True)
        written = sum(file.stat().st_size for file in checkpoint.iterdir())
    if child.returncode:
        lines = child.stderr.strip().splitlines() or [f"exit code {child.returncode}"]
        raise BenchError(f"the backbone in a process of its own: {lines[-1]}")
    found: dict[str, Any] = json.loads(child.stdout.splitlines()[-1])
    return found | {"checkpoint_bytes": written, "unpack": unpack}


def _main(checkpoint: str, inputs: str, unpack: Unpack, threads: str) -> None:
    from admbench.methods.core.checkpoint.reading import load
    from admbench.methods.core.kernels import with_kernels
    from admbench.methods.core.kernels.select import resident_bytes

    torch.set_num_threads(int(threads))
    before = peak_resident_bytes()
    args, kwargs = torch.load(inputs, weights_only=True)
    backbone = with_kernels(load(Path(checkpoint)), unpack=unpack).module
    spent = []
    with torch.inference_mode():
        for _ in range(CALLS):
            started = time.perf_counter()
            backbone(*args, **kwargs)
            spent.append((time.perf_counter() - started) * 1e3)
    found = {
        "peak_bytes": peak_resident_bytes(),
        "before_bytes": before,
        "weight_bytes": resident_bytes(backbone),
        "step_ms": min(spent),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    _main(*sys.argv[1:])  # type: ignore[arg-type]
