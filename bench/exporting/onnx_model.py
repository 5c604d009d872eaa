"""The backbone as an ONNX model with our codes, scales and zero points, for ONNX Runtime and what else reads ONNX.

Quantized layers are in QDQ form: see `onnx_quantizers`. The number of rows of a call is free.
"""

from __future__ import annotations

import copy
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from admbench.bench.exporting.onnx_quantizers import OnnxLayer, traced
from admbench.bench.exporting.plain import roundings
from admbench.bench.exporting.subject import Inputs, NamedBackbone, Subject
from admbench.bench.exporting.target import Run, Target, Written, not_exported
from admbench.errors import UsageError
from admbench.methods.core.layers.attention import OPERANDS, attention_sites
from admbench.methods.core.layers.kinds import replace_layer
from admbench.methods.core.layers.quantized import quantized_layers

FILE = "backbone.onnx"
PREDICTION = "prediction"
"""Name of the output."""
TRACED_OPSET, OPSET = 20, 21
"""The last one that torch traces to, and the first with codes of 4 bits and blocks; what is traced here means the same
in both."""
CHANGED = ("GroupNormalization",)
"""Operators whose meaning is another in `OPSET`; torch makes none of them in `TRACED_OPSET`."""
LARGEST_FILE = 2**30
"""Bytes of weights in the model's own file; more lie beside it, as protobuf ends at twice as many."""
SAME_VALUES_DB, SAME_ROUNDING_DB = 60.0, 25.0
"""Least SQNR of a backbone that rounds its weights alone, and of one that rounds inputs too. Where inputs are rounded,
the last bit of a sum decides now and then between two codes, and the difference spreads: on the embedded AudioLDM at
W8A8, our simulation is 37.6 dB from itself when torch takes another convolution."""


class OnnxModel(Target):
    """One file, and its weights beside it where they are large."""

    name = "onnx"
    summary = "the backbone in QDQ form, weights as integers of 4 or 8 bits, for ONNX Runtime"
    packages = ("onnx", "onnxruntime")

    def required_sqnr_db(self, subject: Subject) -> float:
        """See `Target`."""
        return required_of_runtime(subject)

    def write(self, subject: Subject, folder: Path) -> Written:
        """See `Target`.

        Raises:
            UsageError: a layer or an attention is quantized in a way that ONNX's operators do not express.
        """
        integers = write_onnx(subject.function, subject.inputs, folder / FILE)
        return Written(f"{FILE}: {signature(subject)}, {integers} weights as integers", not_exported(subject))

    def load(self, subject: Subject, folder: Path) -> Run:
        """See `Target`."""
        return run_of_onnx(folder / FILE)


def required_of_runtime(subject: Subject) -> float:
    """Return the least SQNR of a runtime that executes all of the quantization, dB."""
    return SAME_ROUNDING_DB if roundings(subject.model.backbone) else SAME_VALUES_DB


def signature(subject: Subject) -> str:
    """Return the names of inputs and output, for the user."""
    return f"{', '.join(subject.function.names)} -> {PREDICTION}"


def run_of_onnx(file: Path, threads: int | None = None) -> Run:
    """Return a file's backbone as ONNX Runtime runs it on the CPU, with all of its optimisations.

    Args:
        file: that `write_onnx` wrote.
        threads: what it may use; None: as many as it takes.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    if threads is not None:
        options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    known = {node.name for node in session.get_inputs()}

    def run(inputs: Inputs) -> Tensor:
        feed = {name: tensor.numpy() for name, tensor in inputs.items() if name in known}
        return torch.from_numpy(session.run([PREDICTION], feed)[0])

    return run


def write_onnx(function: NamedBackbone, calls: Sequence[Inputs], file: Path) -> int:
    """Write a quantized backbone; return how many weights of it are integers.

    Args:
        function: the backbone, a simulation.
        calls: of it. What differs in their first dimension is free in the file.
        file: what is written.

    Raises:
        UsageError: see `OnnxModel.write`; or it does not compute in float32.
    """
    import onnx

    backbone = function.backbone
    if any(one.is_floating_point() and one.dtype != torch.float32 for one in backbone.parameters()):
        raise UsageError("backbone: not in float32, which ONNX export expects beside the integers")
    with tempfile.TemporaryDirectory() as scratch:  # torch writes large weights into files of their own
        traced_file = Path(scratch) / FILE
        _trace(function.of(onnx_network(backbone)), _varying(calls), traced_file)
        model: Any = onnx.load(traced_file)
    integers = _finish(model)
    large = sum(len(one.raw_data) for one in model.graph.initializer) > LARGEST_FILE
    onnx.save(model, file, save_as_external_data=large, location=f"{file.name}.data")
    onnx.checker.check_model(file)
    return integers


def onnx_network(backbone: nn.Module) -> nn.Module:
    """Return a copy of a backbone whose quantized layers and attentions are in ONNX's operators."""
    network = copy.deepcopy(backbone)
    for name, layer in quantized_layers(network).items():
        replace_layer(network, name, OnnxLayer(layer, f"backbone: {name}"))
    for name, sites in attention_sites(network).items():
        for operand in OPERANDS:
            quantizer = getattr(sites, operand)
            if quantizer is not None:
                setattr(sites, operand, traced(quantizer, f"backbone: {name}, {operand}"))
    return network.eval()


def _varying(calls: Sequence[Inputs]) -> list[str]:
    """Return the inputs whose first dimension differs between calls: the rows of a batch."""
    return [name for name in calls[0] if len({tuple(inputs[name].shape[:1]) for inputs in calls}) > 1]


def _trace(function: NamedBackbone, varying: list[str], file: Path) -> None:
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tracing: sizes that do not vary become constants, as they should
        torch.onnx.export(
            function,
            tuple(function.example.values()),
            file,
            input_names=list(function.names),
            output_names=[PREDICTION],
            dynamic_axes={name: {0: "rows"} for name in (*varying, PREDICTION)},
            opset_version=TRACED_OPSET,
            dynamo=False,  # the other exporter needs one more package, and does not know our functions' symbols
        )


def _finish(model: Any) -> int:
    """Store codes of 4 bits as such, and declare the opset that has them; return how many weights are integers.

    A weight whose codes and zero points are all below 16 is one, whatever its scheme.
    """
    import onnx

    graph = model.graph
    stored = {one.name: one for one in graph.initializer}
    same = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Identity"}
    weights = [node for node in graph.node if node.op_type == "DequantizeLinear" and node.input[0] in stored]
    for node in weights:
        node.input[2] = _origin(node.input[2], same)  # torch keeps equal zero points of several layers once
        codes, zero_point = (onnx.numpy_helper.to_array(stored[name]) for name in (node.input[0], node.input[2]))
        if codes.dtype == np.uint8 and max(codes.max(), zero_point.max()) < 16:
            for place, values in ((0, codes), (2, zero_point)):
                halves = f"{node.input[place]}_of_4_bits"
                if halves not in stored:
                    stored[halves] = _of_4_bits(values, halves)
                node.input[place] = halves
    used = {name for node in graph.node for name in node.input}
    del graph.initializer[:]
    graph.initializer.extend(one for name, one in stored.items() if name in used)
    changed = {node.op_type for node in graph.node} & set(CHANGED)
    assert not changed, f"{changed} means something else in opset {OPSET}"
    next(one for one in model.opset_import if one.domain == "").version = OPSET
    return len(weights)


def _origin(name: str, same: dict[str, str]) -> str:
    while name in same:
        name = same[name]
    return name


def _of_4_bits(codes: NDArray[np.uint8], name: str) -> Any:
    """Return a tensor of UINT4, the first of two codes in the low half of a byte."""
    import onnx

    flat = codes.reshape(-1)
    pairs = np.pad(flat, (0, len(flat) % 2)).reshape(-1, 2)
    packed = (pairs[:, 0] | (pairs[:, 1] << 4)).astype(np.uint8)
    return onnx.helper.make_tensor(name, onnx.TensorProto.UINT4, codes.shape, packed.tobytes(), raw=True)
