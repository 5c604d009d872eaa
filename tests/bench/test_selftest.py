"""The self test holds kernels against simulation, says what it skips and why, and fails where something is wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from admbench.bench.cli.app import main
from admbench.bench.studies import selftest
from admbench.bench.studies.kernel_check import LEAST_DB, check_kernel
from admbench.bench.studies.selftest import Check, SkippedCheck, passed, plan, report
from admbench.errors import BenchError
from admbench.methods.core.kernels.cuda import CUDA_KERNELS
from admbench.methods.core.kernels.onednn_kernels import INT8_KERNELS
from admbench.methods.core.kernels.select import KERNELS
from admbench.methods.core.layers.quantized import QuantizedLayer
from admbench.methods.core.processor import has_vnni


@pytest.mark.parametrize("kernel", [one for one in KERNELS if one.device == "cpu"], ids=lambda one: one.name)
def test_kernels_of_this_processor_agree_with_the_simulation(kernel) -> None:
    computed, worst, refused = check_kernel(kernel, "cpu")
    if not computed:
        pytest.skip(str(refused))
    assert worst is None or worst > LEAST_DB


@pytest.mark.skipif(not has_vnni(), reason="8-bit products saturate on this processor")
@pytest.mark.parametrize("kernel", CUDA_KERNELS, ids=lambda one: one.name)
def test_the_arithmetic_of_cuda_kernels_passes_on_the_cpu(kernel) -> None:
    computed, worst, _ = check_kernel(replace(kernel, refuse=lambda layer: None), "cpu")
    assert computed
    assert worst is None or worst > LEAST_DB


class Wrong(nn.Module):
    """Forgets the bias."""

    def __init__(self, layer: QuantizedLayer) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x) - 0.01 * self.layer.bias


def test_a_kernel_that_is_a_little_wrong_fails() -> None:
    kernel = replace(INT8_KERNELS[0], build=Wrong, refuse=lambda layer: None)
    _, worst, _ = check_kernel(kernel, "cpu")
    assert worst is not None
    assert worst < LEAST_DB


def test_a_check_that_fails_or_is_skipped_says_why_and_the_others_go_on() -> None:
    def skipped():
        raise SkippedCheck("not here")

    def broken():
        raise RuntimeError("CUDA error: an illegal address\nand more")

    def wrong():
        raise BenchError("12.0 dB")

    checks = [
        Check("skipped", 1, skipped),
        Check("broken", 1, broken),
        Check("wrong", 1, wrong),
        Check("long", 1000, skipped),
        Check("good", 1, lambda: ("fine", {"one": 1})),
    ]
    outcomes = list(selftest.selftest("cpu", 60, checks))
    assert [(one.state, one.detail) for one in outcomes] == [
        ("skipped", "not here"),
        ("failed", "RuntimeError: CUDA error: an illegal address"),
        ("failed", "12.0 dB"),
        ("skipped", "takes about 1000 s, and 60 are left"),
        ("passed", "fine"),
    ]
    assert not passed(outcomes)
    assert passed([outcomes[0], outcomes[4]])
    assert not passed([outcomes[0]]), "nothing was checked"
    found = json.loads(json.dumps(report("cpu", outcomes)))
    assert [one["numbers"] for one in found["checks"]] == [{}, {}, {}, {}, {"one": 1}]


def test_the_plan_has_every_kernel_a_grid_and_the_backbones(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["selftest", "--plan"]) == 0
    names = [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()]
    assert names == [check.name for check in plan("cpu")]
    assert {f"kernel {one.name}" for one in KERNELS} <= set(names)
    assert {"grid", "time audioldm-s-full-v2", "time tango", "time stable-audio-open-1.0"} <= set(names)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_the_device_everything_is_skipped_and_the_command_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "report.json"
    assert main(["selftest", "--device", "cuda", "--json", str(file)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith("skipped\t") and line.endswith("there is no CUDA device") for line in lines)
    found = json.loads(file.read_text())
    assert not found["passed"]
    assert len(found["checks"]) == len(lines) == len(plan("cuda"))


def test_another_device_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["selftest", "--device", "tpu"]) == 2
    assert 'error: --device "tpu": expected cpu or cuda' in capsys.readouterr().err


@pytest.mark.skipif(not has_vnni(), reason="8-bit products saturate on this processor")
def test_on_the_cpu_kernels_are_checked_and_what_takes_too_long_is_skipped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    few = [check for check in plan("cpu") if "int8-linear" in check.name or check.name == "time tango"]
    monkeypatch.setattr(selftest, "plan", lambda device: few)
    assert main(["selftest", "--minutes", "1"]) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    states = {name: (state, detail) for state, name, _, detail in lines}
    assert states["kernel onednn-int8-linear"][0] == "passed"
    assert states["kernel cuda-int8-linear"] == ("skipped", "a kernel for cuda")
    assert states["time tango"][1].startswith("takes about 420 s")
