"""Exports compute what our simulation computes, hold our very codes, and say what they cannot express."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
import torch
from torch import nn

from admbench.bench.cli import export as command
from admbench.bench.cli.app import main
from admbench.bench.conformance.tiny_models import TinyModel, tiny_audioldm, tiny_tango
from admbench.bench.exporting import TARGETS
from admbench.bench.exporting.diffusers_pipeline import DiffusersPipeline
from admbench.bench.exporting.exporter import FILE, export, predictions
from admbench.bench.exporting.onnx_model import onnx_network
from admbench.bench.exporting.plain import plain_network, roundings, without_roundings
from admbench.bench.exporting.subject import Inputs, Subject
from admbench.bench.exporting.target import Run, Target, Written
from admbench.bench.measurement.engines import ENGINES, EngineBackbone, recorded_call
from admbench.bench.models.sqnr import sqnr_db
from admbench.errors import CheckpointError, UsageError
from admbench.methods import from_spec
from admbench.methods.core.layers.attention import AttentionSites, attentions, set_sites
from admbench.methods.core.layers.quantized import quantized_layers
from admbench.methods.core.numbers.codebooks import Log2Quantizer
from admbench.methods.core.numbers.scheme import Scheme
from admbench.methods.core.reconstruction.correction import NoiseCorrection, correct

from .exported import quantized_in_every_way, subject_of

Make = Callable[[], TinyModel]
CAPTIONS = ["rain falls", "a dog barks"]
SMALL = {"convrot": "", **dict.fromkeys(("vidit-q", "svdquant-gptq", "dirotq"), "[prompts=2,timesteps=2,steps=2]")}
"""Options with which a method is done in a moment."""
MODELS = pytest.mark.parametrize("make", [tiny_audioldm, tiny_tango], ids=["audioldm", "tango"])


def quantized(model: TinyModel, spec: str) -> nn.Module:
    """Return a model's backbone as a method without calibration leaves it."""
    return from_spec(spec).quantize(model, calibration=None).module


@MODELS
def test_a_plain_network_holds_all_of_the_weights_and_rounds_nothing_else(make: Make) -> None:
    model = make()
    rounding = quantized_in_every_way(model, inputs=True)
    subject = subject_of(model, rounding)
    expected = torch.cat(predictions(subject, without_roundings(rounding)))
    plain = plain_network(rounding, "backbone")
    found = torch.cat(predictions(subject, plain))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))
    assert plain.state_dict().keys() == make().backbone.state_dict().keys()
    assert len(roundings(rounding)) == 2
    assert not torch.equal(torch.cat(predictions(subject, rounding)), expected)


@MODELS
def test_what_is_traced_to_onnx_computes_what_the_simulation_does(make: Make) -> None:
    """The last call has more rows than the others, at different timesteps."""
    model = make()
    rounding = quantized_in_every_way(model, inputs=True)
    subject = subject_of(model, rounding)
    expected = torch.cat(predictions(subject, rounding))
    found = torch.cat(predictions(subject, onnx_network(rounding)))
    # a number in the middle of two codes may fall to either, as a product or a quotient is rounded
    assert (found - expected).pow(2).mean() < 1e-3 * expected.pow(2).mean()


def small(model: TinyModel, spec: str) -> nn.Module:
    """Return a model's backbone as a method leaves it that was calibrated on next to nothing."""
    method = from_spec(spec + SMALL[spec.partition("@")[0]])
    return method.quantize(model, method.calibrate(model, CAPTIONS, seed=0)).module


@pytest.mark.parametrize("spec", ["convrot@w4a4", "vidit-q@w4a8", "dirotq@w4a4"])
def test_rotations_are_expressed(spec: str) -> None:
    """In ONNX as a product; in forms of the library's own layers they become part of the weight."""
    model = tiny_tango()
    rounding = small(model, spec)
    assert any(layer.rotation for layer in quantized_layers(rounding).values())
    subject = subject_of(model, rounding)
    expected, found = (torch.cat(predictions(subject, one)) for one in (rounding, onnx_network(rounding)))
    assert (found - expected).pow(2).mean() < 1e-3 * expected.pow(2).mean()
    values = torch.cat(predictions(subject, plain_network(rounding, "backbone")))
    expected = torch.cat(predictions(subject, without_roundings(rounding)))
    torch.testing.assert_close(values, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


def test_ranges_that_are_clipped_by_timestep_are_refused_by_name() -> None:
    rounding = small(tiny_tango(), "svdquant-gptq@w4a4")
    with pytest.raises(UsageError, match=r"backbone: \S+, input: ONNX export does not express ranges that are clipped"):
        onnx_network(rounding)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "make", "inputs"),
    [
        ("onnx", tiny_audioldm, False),
        ("onnx", tiny_tango, True),
        ("openvino", tiny_tango, False),
        ("openvino", tiny_audioldm, True),
    ],
)
def test_a_runtime_computes_what_the_simulation_does(form: str, make: Make, inputs: bool, tmp_path: Path) -> None:
    target = TARGETS[form]
    if target.missing() is not None:
        pytest.skip(str(target.missing()))
    model = make()
    subject = subject_of(model, quantized_in_every_way(model, inputs=inputs))
    made = export(subject, target, tmp_path / "out")
    assert made.sqnr_db is not None
    assert made.sqnr_db > (30 if inputs else 100)
    assert made.written.left_out == ()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "least_db"), [("exported:onnx", 60.0), ("exported:openvino", 20.0)])
def test_an_export_is_an_engine_beside_our_kernels(name: str, least_db: float) -> None:
    """OpenVINO as it comes computes in bf16 where it can, and rounds the inputs of layers with weights of 4 bits."""
    engine = ENGINES[name]
    if engine.missing() is not None:
        pytest.skip(str(engine.missing()))
    model = tiny_tango()
    inputs = subject_of(model, quantized(model, "naive@w4a16")).inputs
    network = recorded_call(model.backbone, lambda: model.backbone(**inputs[0]))
    engine_backbone = EngineBackbone(engine.build(network, network.example, threads=1))
    for call in inputs:
        with torch.no_grad():
            expected = network(*(call[key] for key in inputs[0]))
        ratio = sqnr_db(expected, engine_backbone(**call)[0])
        assert ratio is None or ratio > least_db


@pytest.mark.slow
def test_an_onnx_file_holds_our_codes_in_four_bits_and_eight(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    model = tiny_audioldm()
    backbone = quantized(model, "naive@w4a16")
    made = export(subject_of(model, backbone), TARGETS["onnx"], tmp_path / "out")
    assert made.sqnr_db is not None
    assert made.sqnr_db > 100
    graph = onnx.load(tmp_path / "out" / "backbone.onnx").graph
    stored = {one.name: one for one in graph.initializer}
    nodes = [node for node in graph.node if node.op_type == "DequantizeLinear" and node.input[0] in stored]
    found: list[list[int]] = []
    for node in nodes:
        codes, zero_point = (onnx.numpy_helper.to_array(stored[node.input[place]]).astype(int) for place in (0, 2))
        found.append((codes - zero_point.reshape(-1, *[1] * (codes.ndim - 1))).flatten().tolist())
    ours: list[list[int]] = []
    for layer in quantized_layers(backbone).values():
        assert layer.weight_codes is not None
        assert layer.weight_quantizer is not None
        steps = layer.weight_codes.int() - layer.weight_quantizer.zero_point.int().view(
            -1, *[1] * (len(layer.shape) - 1)
        )
        ours.append(steps.flatten().tolist())
    assert sorted(found) == sorted(ours)
    bits = {
        layer.weight_quantizer.scheme.bits for layer in quantized_layers(backbone).values() if layer.weight_quantizer
    }
    types = {stored[node.input[0]].data_type for node in nodes}
    expected = {4: onnx.TensorProto.UINT4, 8: onnx.TensorProto.INT8}
    assert types == {expected[one] for one in bits}


def test_a_gguf_file_holds_our_blocks_and_no_difference(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    model = tiny_tango()
    backbone = quantized(model, "naive@q8_0")
    made = export(subject_of(model, backbone), TARGETS["gguf"], tmp_path / "out")
    assert made.sqnr_db is None
    tensors = {one.name: one for one in gguf.GGUFReader(tmp_path / "out" / "backbone.gguf").tensors}
    assert tensors.keys() == plain_network(backbone, "backbone").state_dict().keys()
    kinds = {one.tensor_type.name for one in tensors.values()}
    assert kinds == {"Q8_0", "F32"}


def test_what_a_form_cannot_express_is_refused_by_name() -> None:
    model = tiny_audioldm()
    with pytest.raises(UsageError, match=r"backbone: \S+, weight: ONNX export has no operators for the codebook nf4"):
        onnx_network(quantized(model, "nf4@w4a16"))
    backbone = quantized(model, "naive@w4a16")
    name = next(iter(attentions(backbone)))
    log2 = Scheme(bits=8, granularity="tensor", symmetric=False, codebook="log2")
    set_sites(backbone, name, AttentionSites({"softmax": Log2Quantizer.fit(log2, torch.tensor(1.0))}))
    with pytest.raises(UsageError, match=rf"{re.escape(name)}, softmax.*codebook log2"):
        onnx_network(backbone)
    correct(backbone, NoiseCorrection(torch.zeros(1), torch.zeros(1)))
    with pytest.raises(UsageError, match="corrected by timestep"):
        plain_network(backbone, "backbone")
    subject = subject_of(model, quantized(model, "naive@w4a16"))
    for backend in ("quanto", "torchao"):
        with pytest.raises(UsageError, match=f"not symmetric codes of 8 bits, which {backend}'s files do not hold"):
            TARGETS[f"diffusers-{backend}"].write(subject, Path("unused"))
    with pytest.raises(UsageError, match="no weight has whole blocks of a format of GGUF"):
        TARGETS["gguf"].write(subject, Path("unused"))


class Wrong(Target):
    """A form whose runtime computes something else."""

    name = "wrong"

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def required_sqnr_db(self, subject: Subject) -> float:
        return 30.0

    def write(self, subject: Subject, folder: Path) -> Written:
        (folder / "file").write_text("written")
        return Written("nothing")

    def load(self, subject: Subject, folder: Path) -> Run:
        function = subject.function

        def run(inputs: Inputs) -> torch.Tensor:
            predicted: torch.Tensor = function(*(inputs[name] for name in function.names))
            return self.factor * predicted

        return run


def test_an_export_that_predicts_something_else_is_not_written(tmp_path: Path) -> None:
    model = tiny_tango()
    subject = subject_of(model, quantized(model, "naive@w4a16"))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "earlier").touch()
    with torch.no_grad(), pytest.raises(CheckpointError, match=r"out: not written: .* 20\.0 dB .* at least 30 dB"):
        export(subject, Wrong(1.1), tmp_path / "out")
    with torch.no_grad(), pytest.raises(CheckpointError, match="predicts NaN or infinity"):
        export(subject, Wrong(float("nan")), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["earlier"]
    with torch.no_grad():
        made = export(subject, Wrong(1.001), tmp_path / "out")
    assert made.sqnr_db == pytest.approx(60, abs=0.1)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [FILE, "file"]


def test_the_command_offers_the_targets_there_are() -> None:
    assert set(get_args(get_args(get_type_hints(command.export, include_extras=True)["form"])[0])) == set(TARGETS)
    assert command.MARK == FILE
    assert all(target.summary for target in TARGETS.values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "--format", "gguf", "--dtype", "bfloat16"], "--dtype bfloat16: goes with --format diffusers"),
        (["nowhere", "--format", "diffusers"], "nowhere: not a packed checkpoint"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", *arguments, "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_pipeline_directory_is_not_taken_for_an_earlier_export(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model_index.json").write_text("{}")
    assert main(["export", "nowhere", "--format", "diffusers", "--out", str(tmp_path)]) == 2
    assert "holds other files" in capsys.readouterr().err


def test_of_a_model_without_a_pipeline_class_diffusers_export_says_so(tmp_path: Path) -> None:
    model = tiny_tango()
    with pytest.raises(UsageError, match="tiny-tango: diffusers has no pipeline class for it"):
        DiffusersPipeline().write(subject_of(model, quantized(model, "naive@w4a16")), tmp_path)
