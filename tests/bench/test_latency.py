"""Latency: rounds are interleaved and counted right, costs follow from shapes, and the command leaves a section.

How fast anything is, is never asserted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from admbench import arithmetic
from admbench.bench import api
from admbench.bench.cli.app import main
from admbench.bench.cli.latency import ENGINE_NAMES
from admbench.bench.measurement import environment, latency_section
from admbench.bench.measurement.cost import LayerCost, cost_section, layer_costs
from admbench.bench.measurement.engines import ENGINES, Engine, EngineBackbone, recorded_call
from admbench.bench.measurement.latency import Settings, float_bits_in
from admbench.bench.measurement.roofline import Roof, roofline_section
from admbench.bench.measurement.timing import LEAST_REPEATS, OtherWork, Samples, interleave
from admbench.bench.models.sqnr import sqnr_db
from admbench.bench.run.runner import run_grid
from admbench.leaderboard.record import Latency
from admbench.methods.core.numbers.scheme import LayerScheme, activation_scheme, weight_scheme
from admbench.methods.core.processor import has_vnni


class Clock:
    """A clock that the calls themselves move on."""

    def __init__(self) -> None:
        self.now, self.order = 0.0, []

    def __call__(self) -> float:
        return self.now

    def taking(self, name: str, seconds: Iterator[float]):
        def call() -> None:
            self.order.append(name)
            self.now += next(seconds)

        return call


def test_rounds_take_turns_and_the_warm_up_does_not_count():
    clock = Clock()
    calls = {"a": clock.taking("a", iter([9, 1, 2, 3])), "b": clock.taking("b", iter([7, 4, 5, 6]))}
    samples = interleave(calls, warm_up=1, repeats=3, clock=clock)
    assert clock.order == ["a", "b"] * 4
    assert samples["a"] == Samples(9e3, [1e3, 2e3, 3e3])
    assert samples["b"] == Samples(7e3, [4e3, 5e3, 6e3])


def test_a_limit_shortens_the_warm_up_and_the_repetitions_but_not_below_the_least():
    clock = Clock()
    samples = interleave(
        {"a": clock.taking("a", iter([10.0] * 20))}, warm_up=3, repeats=10, limit_seconds=5, clock=clock
    )
    assert clock.order == ["a"] * (1 + LEAST_REPEATS)
    assert samples["a"].values_ms == [10e3] * LEAST_REPEATS
    clock = Clock()
    samples = interleave(
        {"a": clock.taking("a", iter([1.0] * 20))}, warm_up=3, repeats=10, limit_seconds=9, clock=clock
    )
    assert len(samples["a"].values_ms) == 6, "3 of warm-up and 6 that count take 9 seconds"


def test_percentiles_are_those_of_all_values():
    found = Samples(0.0, [float(value) for value in range(11)]).to_json()
    assert (found["p10"], found["median"], found["p90"]) == (1.0, 5.0, 9.0)
    assert found["values"] == [float(value) for value in range(11)]


def test_other_work_is_no_more_than_the_cores_there_are():
    elsewhere = OtherWork()
    sum(range(300_000))
    assert 0 <= elsewhere.cores() <= torch.multiprocessing.cpu_count()


def test_costs_follow_from_shapes_and_bits():
    net = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1, bias=False), nn.Flatten(), nn.Linear(5 * 4 * 6, 7))
    x = torch.randn(2, 3, 4, 6)
    schemes = {"0": LayerScheme(weight=weight_scheme(4, "channel"), activation=activation_scheme(8))}
    conv, linear = layer_costs(net, lambda: net(x), schemes, {"0": "a-kernel"})
    products = 2 * 5 * 4 * 6 * 3 * 9
    assert (conv.kernel, conv.calls, conv.flops, conv.bit_operations) == ("a-kernel", 1, 2 * products, 32 * products)
    assert conv.bytes_moved == 2 * 3 * 4 * 6 + 5 * 3 * 9 // 2 + 1 + 4 * 2 * 5 * 4 * 6
    assert (linear.kernel, linear.weight_bits, linear.flops) == ("float", 32, 2 * 2 * 7 * 120)
    assert linear.bytes_moved == 4 * (2 * 120 + 7 * 120 + 2 * 7)
    assert linear.bit_operations == 32 * 32 * 2 * 7 * 120
    (_, half) = layer_costs(net, lambda: net(x), schemes, {}, float_bits=16)
    assert half.bit_operations == 16 * 16 * 2 * 7 * 120
    total = cost_section([conv, linear])
    assert total["flops"] == conv.flops + linear.flops
    assert [layer["name"] for layer in total["layers"]] == ["0", "2"]


def test_floating_point_is_as_wide_as_the_widest_weight():
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3).to(torch.bfloat16))
    assert (float_bits_in(net), float_bits_in(net[1]), float_bits_in(nn.Identity())) == (32, 16, 32)


def test_a_layer_that_runs_twice_counts_twice():
    layer = nn.Linear(4, 4)
    twice = layer_costs(nn.Sequential(layer), lambda: layer(layer(torch.randn(3, 4))), {}, {})[0]
    assert (twice.calls, twice.flops) == (2, 2 * 2 * 3 * 16)


def test_sqnr_is_the_ratio_of_powers():
    x = torch.tensor([3.0, -4.0])
    assert sqnr_db(x, x * 1.1) == pytest.approx(20, abs=1e-4)
    assert sqnr_db(x, x) is None


def measured(arguments: list[str], folder: Path) -> dict:
    """Run the command on an embedded model and return the section that it wrote."""
    file = folder / "latency.json"
    common = ["--model", "tiny-tango", "--repeats", "3", "--threads", "1", "--steps", "1", "--json", str(file)]
    assert main(["latency", *common, *arguments]) == 0
    return json.loads(file.read_text())["latency"]


@pytest.mark.skipif(not has_vnni(), reason="8-bit products saturate on this processor")
def test_the_command_writes_the_section_of_a_record(tmp_path, capsys):
    found = measured(["--method", "naive@w8a8", "--random-weights", "--baselines", "fp32"], tmp_path)
    section = Latency.model_validate(found)
    assert section.kernel == "onednn-int8-linear + onednn-int8-conv2d"
    assert len(section.step_ms.values) == len(section.baseline_step_ms.values) == 3
    assert section.speedup == pytest.approx(section.baseline_step_ms.median / section.step_ms.median)
    assert section.real_time_factor > 0
    assert found["threads"] == 1
    assert found["environment"]["cpu"] == environment.cpu_name()
    assert set(found["baselines"]) == {"fp32"}
    assert found["sqnr_db"] > 10
    assert "random weights" in found["ranges"]
    assert found["weight_bytes"]["kernels"] < 0.35 * found["weight_bytes"]["fp32"]
    assert sum(layer["flops"] for layer in found["cost"]["layers"]) == found["cost"]["flops"]
    assert {layer["kernel"] for layer in found["cost"]["layers"]} == set(section.layers)
    assert capsys.readouterr().out.startswith("naive@w8a8\t")


@pytest.mark.skipif(not has_vnni(), reason="8-bit products saturate on this processor")
def test_profile_roofline_and_a_process_of_its_own(tmp_path, capsys):
    picture = tmp_path / "roofline.png"
    more = ["--profile", "--roofline", str(picture), "--alone", "--unpack", "layer"]
    found = measured(["--method", "naive@w4a8", "--baselines", "fp32", *more], tmp_path)
    operators = found["profile"]["operators"]
    assert sum(row["share"] for row in operators) == pytest.approx(1, abs=1e-2)
    assert any(row["name"] == "onednn::qconv2d_pointwise" for row in operators)
    layers = found["roofline"]["layers"]
    assert [layer["name"] for layer in layers] == [layer["name"] for layer in found["cost"]["layers"]]
    assert sum(limit["layers"] for limit in found["roofline"]["limits"].values()) == len(layers)
    assert picture.read_bytes().startswith(b"\x89PNG")
    alone = found["memory"]["alone"]
    assert alone["weight_bytes"] == found["weight_bytes"]["kernels"] < 0.2 * found["weight_bytes"]["fp32"]
    assert 0 < alone["before_bytes"] <= alone["peak_bytes"]
    assert alone["unpack"] == found["unpack"] == "layer"
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("onednn::qconv2d_pointwise\t") for line in lines)


@pytest.mark.skipif(not has_vnni(), reason="8-bit products saturate on this processor")
@pytest.mark.usefixtures("fake_judges")
def test_where_a_cell_runs_in_a_slower_mode_its_step_is_timed_without(make_grid, monkeypatch):
    monkeypatch.setenv(arithmetic.LIMIT, "SSE4_2")  # products do not repeat then, on whatever processor
    monkeypatch.delenv(arithmetic.VARIABLE, raising=False)
    method = "naive@w8a8[prompts=2,timesteps=2,steps=2]"
    grid = make_grid(methods=["fp32", method])
    assert [result.reason for result in run_grid(grid, command="bench run")] == [None, None]
    (record,) = (json.loads(file.read_text()) for file in grid.out.glob("cells/*/naive*/result.json"))
    assert record["environment"]["mkl_cbwr"] == arithmetic.ANYWHERE
    assert record["latency"]["mkl_cbwr"] is None
    assert record["latency"]["step_ms"]["median"] > 0
    assert record["latency"]["roofline"] is None
    assert "bench latency --roofline" in record["latency"]["roofline_reason"]
    (full,) = (json.loads(file.read_text())["latency"]["cost"] for file in grid.out.glob("cells/*/fp32/result.json"))
    counted = record["latency"]["cost"]
    assert full["bit_operations"] == 32 * 32 * full["flops"] // 2
    assert (counted["flops"], counted["batch"]) == (full["flops"], full["batch"])
    assert 8 * 8 // 2 <= counted["bit_operations"] / counted["flops"] < 16 * 16 // 2
    assert counted["bytes_moved"] < full["bytes_moved"]
    assert not list(grid.out.glob("cells/*/naive*/step.json"))


def test_a_layer_takes_no_less_than_its_products_and_its_bytes():
    roof = Roof(float_rate=10.0, integer_rate=40.0, bandwidth=2.0)
    cost = LayerCost("a", "linear", "float", 32, 32, calls=1, flops=100, bit_operations=0, bytes_moved=10)
    assert roof.bound(cost) == (10.0, "products")
    assert roof.bound(replace(cost, kernel="onednn-int8-linear")) == (5.0, "memory")
    section = roofline_section(roof, [cost, replace(cost, name="b")], {"a": 12.0, "b": 60.0})
    assert [layer["limited_by"] for layer in section["layers"]] == ["products", "calls"]
    assert section["limits"]["calls"] == {"layers": 1, "ms": 60e3}


class Eager(Engine):
    """An engine that runs the network as it is."""

    name, summary = "eager", "the network itself"

    def build(self, network, example, threads):
        with torch.no_grad():
            self.expected = network(*example)
        return lambda *tensors: network(*tensors)


class Broken(Engine):
    name, summary, packages, extra = "broken", "nothing", ("json",), "none"

    def build(self, network, example, threads):
        raise RuntimeError("no such operator\nand more")


class Absent(Broken):
    name, packages = "absent", ("no_such_module",)


def test_engines_are_timed_beside_the_method_and_those_that_cannot_be_say_why(monkeypatch):
    monkeypatch.setattr(f"{latency_section.__name__}.ENGINES", {one.name: one for one in (Eager(), Broken(), Absent())})
    model = api.load_model("tiny-tango", random_weights=True)
    found = api.measure_latency(
        model,
        "naive@w8a8",
        baselines=["eager", "broken", "absent"],
        settings=Settings(warm_up=1, repeats=3),
        steps=1,
    )["baselines"]
    assert len(found["eager"]["step_ms"]["values"]) == 3
    assert found["eager"]["compile_seconds"] > 0
    assert found["eager"]["sqnr_db"] is None, "the same numbers"
    assert found["broken"]["reason"] == "RuntimeError: no such operator"
    assert found["absent"]["reason"] == "not installed: no_such_module; pip install admbench[none]"


def test_a_recorded_call_is_a_function_of_its_tensors():
    class Net(nn.Module):
        def forward(self, x, scale=2, *, shift=None, flag=False):
            return ((x * scale + shift) if flag else x,)

    net, x = Net(), torch.ones(2)
    network = recorded_call(net, lambda: net(x, 3, shift=torch.ones(2), flag=True))
    assert torch.equal(network(*network.example), torch.full((2,), 4.0))
    assert torch.equal(network(torch.zeros(2), torch.ones(2)), torch.ones(2))
    engine = EngineBackbone(network)
    assert torch.equal(engine(torch.zeros(2), 3, shift=torch.ones(2), flag=True)[0], torch.ones(2))


def test_the_command_knows_every_engine():
    assert tuple(ENGINES) == ENGINE_NAMES
    assert all(engine.summary for engine in ENGINES.values())


def test_a_method_without_kernels_gets_no_number_but_the_baselines_do(tmp_path, capsys):
    found = measured(["--method", "bf16", "--baselines", "fp32"], tmp_path)
    assert found["kernel"] is None
    assert "no layer is quantized" in found["reason"]
    assert "step_ms" not in found
    assert found["baseline_step_ms"] == found["baselines"]["fp32"]["step_ms"]
    assert len(found["baselines"]["fp32"]["step_ms"]["values"]) == 3
    Latency.model_validate(found)
    assert "no kernel runs" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--method", "naive@w8a8", "--model", "tiny-tangoo"], 'unknown model "tiny-tangoo"'),
        (["--method", "naif@w8a8"], 'unknown method "naif"'),
        (["--method", "naive@w8a8", "--baselines", "fp23"], 'unknown method "fp23"'),
        (["--method", "naive@w8a8", "--seconds", "7"], "makes clips of 2.56 s"),
        (["--method", "naive@w8a8", "--unpack", "twice"], '--unpack "twice": expected once or layer'),
        (["--method", "naive@w8a8", "--json", "no/such/folder.json"], "there is no folder"),
    ],
)
def test_a_mistake_is_one_line(arguments, message, capsys):
    model = [] if "--model" in arguments else ["--model", "tiny-tango"]
    assert main(["latency", *model, *arguments]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert message in lines[0]
