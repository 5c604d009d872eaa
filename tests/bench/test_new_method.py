"""`bench new-method` writes a package that works as it is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from admbench.bench.cli.app import main
from admbench.bench.conformance.tiny_models import tiny_tango
from admbench.methods.core.layers.quantized import quantized_layers
from admbench.methods.spec import MethodSpec

from .written_packages import assert_complete, run_its_tests


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("new") / "power-of-three"
    assert main(["new-method", "power-of-three", "--out", str(folder), "--quiet"]) == 0
    return folder


def test_the_package_has_its_entry_point_its_method_and_its_test(package: Path) -> None:
    assert_complete(package, "method", "power-of-three")


def test_its_own_tests_pass_where_it_is_installed(package: Path, tmp_path: Path) -> None:
    assert "4 passed" in run_its_tests(package, tmp_path / "site")


def test_as_it_is_written_it_rounds_to_nearest(package: Path) -> None:
    names: dict[str, Any] = {"__name__": "power_of_three"}
    exec(compile((package / "power_of_three.py").read_text(), "power_of_three.py", "exec"), names)
    model = tiny_tango()
    method = names["PowerOfThree"](MethodSpec.parse("power-of-three@w4a16[prompts=1,timesteps=1,steps=1]"))
    made = method.quantize(model, method.calibrate(model, ["rain"], seed=0))
    for name, layer in quantized_layers(made.module).items():
        weight, (low, high) = model.backbone.get_submodule(name).weight, layer.weight.flatten(1).aminmax(dim=1)
        inside = weight.flatten(1).clamp(low[:, None], high[:, None])  # of the range that was found
        scale = layer.weight_quantizer.scale.expand(len(weight))
        assert ((layer.weight.flatten(1) - inside).abs() <= scale[:, None] * 0.5001).all()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("naive", '"naive" is already the name of a method, of admbench'),
        ("Power", "expected lower-case words with hyphens"),
        ("../up", "expected lower-case words with hyphens"),
        ("class", "a word of Python's own"),
    ],
)
def test_a_name_that_a_method_cannot_have_is_refused(
    name: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new-method", name, "--out", str(tmp_path / "out")]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    assert main(["new-method", "power-of-three", "--out", str(tmp_path)]) == 2
    assert "holds other files" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
