"""The backbone as an ONNX model with our codes, scales and zero points, for ONNX Runtime and what else reads ONNX.

Dimension 0 of every input is free. Quantized layers are in QDQ form: see `onnx_quantizers`.
"""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from admbench.bench.exporting.onnx_quantizers import OnnxLayer, traced
from admbench.bench.exporting.subject import Inputs, NamedBackbone, Subject
from admbench.bench.exporting.target import Run, Target, Written
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
"""Operators whose meaning is another in `OPSET`."""


class OnnxModel(Target):
    """One file, and its weights beside it where they are large."""

    name = "onnx"
    summary = "the backbone in QDQ form, weights as integers of 4 or 8 bits, for ONNX Runtime"
    packages = ("onnx", "onnxruntime")
    extra = "onnxruntime"
    required_sqnr_db = 30.0

    def write(self, subject: Subject, folder: Path) -> Written:
        """See `Target`.

        Raises:
            UsageError: a layer or an attention is quantized in a way that ONNX's operators do not express.
        """
        integers = write_onnx(subject, folder / FILE)
        return Written(f"{FILE}: {', '.join(subject.function.names)} -> {PREDICTION}; {integers} layers of integers", others(subject))

    def load(self, subject: Subject, folder: Path) -> Run:
        """See `Target`: on the CPU, by ONNX Runtime with all of its optimisations."""
        import onnxruntime

        session = onnxruntime.InferenceSession(folder / FILE, providers=["CPUExecutionProvider"])
        known = {node.name for node in session.get_inputs()}

        def run(inputs: Inputs) -> Tensor:
            feed = {name: tensor.numpy() for name, tensor in inputs.items() if name in known}
            return torch.from_numpy(session.run([PREDICTION], feed)[0])

        return run


def others(subject: Subject) -> tuple[str, ...]:
    """Return a line for each quantized component beside the backbone, which an export of the backbone has not."""
    return tuple(f"{name}: not exported" for name in subject.headers if name != "backbone")


def write_onnx(subject: Subject, file: Path) -> int:
    """Write the subject's backbone; return how many of its layers have integer weights."""
    if any(tensor.is_floating_point() and tensor.dtype != torch.float32 for tensor in subject.model.backbone.parameters()):
        raise UsageError("backbone: not in float32; ONNX export expects float32 beside the integers")
    network = onnx_network(subject.model.backbone)
    function = subject.function.of(network)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tracing: shapes that do not vary are constants, as they should be
        torch.onnx.export(
            function,
            tuple(function.example.values()),
            file,
            input_names=list(function.names),
            output_names=[PREDICTION],
            dynamic_axes={name: {0: "rows"} for name in (*function.names, PREDICTION)},
            opset_version=TRACED_OPSET,
            dynamo=False,  # the other exporter needs a package more, and does not know our functions
        )
    return _finish(file)


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


def _finish(file: Path) -> int:
    """Store codes of 4 bits as such, and declare the opset that has them; return how many weights are integers."""
    import onnx

    model: Any = onnx.load(file)
    stored = {one.name: one for one in model.graph.initializer}
    same = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "Identity"}
    weights = [node for node in model.graph.node if node.op_type == "DequantizeLinear" and node.input[0] in stored]
    for node in weights:
        node.input[2] = _origin(node.input[2], same)  # torch keeps equal zero points of layers once
        codes, zero_point = (onnx.numpy_helper.to_array(stored[name]) for name in (node.input[0], node.input[2]))
        if codes.dtype == np.uint8 and max(codes.max(), zero_point.max()) < 16:
            for place, values in ((0, codes), (2, zero_point)):
                halves = f"{node.input[place]}_of_4_bits"
                if halves not in stored:
                    stored[halves] = _of_4_bits(values, halves)
                node.input[place] = halves
    used = {name for node in model.graph.node for name in node.input}
    del model.graph.initializer[:]
    model.graph.initializer.extend(one for name, one in stored.items() if name in used)
    changed = {node.op_type for node in model.graph.node} & set(CHANGED)
    assert not changed, f"{changed} means something else in opset {OPSET}"
    next(one for one in model.opset_import if one.domain == "").version = OPSET
    onnx.checker.check_model(model)
    onnx.save(model, file)
    return len(weights)


def _origin(name: str, same: dict[str, str]) -> str:
    while name in same:
        name = same[name]
    return name


def _of_4_bits(codes: np.ndarray[Any, Any], name: str) -> Any:
    """Return a tensor of UINT4, the first of two codes in the low half of a byte."""
    import onnx

    flat = codes.reshape(-1)
    pairs = np.pad(flat, (0, len(flat) % 2)).reshape(-1, 2)
    packed = (pairs[:, 0] | (pairs[:, 1] << 4)).astype(np.uint8)
    return onnx.helper.make_tensor(name, onnx.TensorProto.UINT4, codes.shape, packed.tobytes(), raw=True)
