"""Exports compute what our simulation computes, hold our very codes, and say what they cannot express."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from admbench.bench.conformance.tiny_models import tiny_audioldm, tiny_tango
from admbench.bench.exporting import TARGETS
from admbench.bench.exporting.exporter import export, predictions
from admbench.bench.exporting.plain import plain_network, without_roundings
from admbench.methods import from_spec
from admbench.methods.core.layers.quantized import quantized_layers

from .exported import quantized_in_every_way, subject_of

MODELS = pytest.mark.parametrize("make", [tiny_audioldm, tiny_tango], ids=["audioldm", "tango"])


@MODELS
def test_a_plain_network_holds_all_of_the_weights_and_rounds_nothing_else(make):
    model = make()
    rounding = quantized_in_every_way(model, inputs=True)
    subject = subject_of(model, rounding)
    expected = torch.cat(predictions(subject, without_roundings(rounding)))
    found = torch.cat(predictions(subject, plain_network(rounding, "backbone")))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))
    assert not torch.equal(torch.cat(predictions(subject, rounding)), expected)


@MODELS
@pytest.mark.parametrize("form", ["onnx", "openvino"])
@pytest.mark.parametrize("inputs", [False, True], ids=["weights", "weights and inputs"])
def test_a_runtime_computes_what_the_simulation_does(make, form, inputs, tmp_path):
    """The last call has more rows than the traced one, and rows at different timesteps."""
    target = TARGETS[form]
    if target.missing():
        pytest.skip(str(target.missing()))
    model = make()
    subject = subject_of(model, quantized_in_every_way(model, inputs=inputs))
    made = export(subject, target, tmp_path / "out")
    print(form, inputs, made)
    assert made.sqnr_db is not None
    assert made.sqnr_db > (35 if inputs else 90)


def weights_in(file: Path) -> list[np.ndarray]:
    """Return codes less zero points of each integer weight of an ONNX file, in the graph's order."""
    onnx = pytest.importorskip("onnx")
    graph = onnx.load(file).graph
    stored = {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}
    nodes = [node for node in graph.node if node.op_type == "DequantizeLinear" and node.input[0] in stored]
    return [stored[node.input[0]] for node in nodes]


def test_an_onnx_file_holds_our_codes_in_four_bits_and_eight(tmp_path):
    pytest.importorskip("onnxruntime")
    model = tiny_audioldm()
    backbone = from_spec("naive@w4a16").quantize(model, calibration=None).module
    export(subject_of(model, backbone), TARGETS["onnx"], tmp_path / "out")
    found = weights_in(tmp_path / "out" / "backbone.onnx")
    ours = [layer.weight_codes.flatten().tolist() for layer in quantized_layers(backbone).values()]
    assert sorted(one.astype(int).flatten().tolist() for one in found if one.dtype != np.int8) == sorted(
        codes
        for codes, layer in zip(ours, quantized_layers(backbone).values(), strict=True)
        if layer.weight_quantizer.scheme.bits == 4
    )
