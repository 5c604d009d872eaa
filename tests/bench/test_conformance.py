"""The conformance suite passes what keeps its contract, and says of what does not which part it breaks."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from admbench import arithmetic, methods, metrics
from admbench.bench.cli.app import main
from admbench.bench.conformance import check_plugin
from admbench.bench.conformance.method_subject import Subject
from admbench.bench.conformance.tiny_models import TINY_MODELS
from admbench.bench.suites import registry as suites
from admbench.bench.suites.base import Suite, SuiteItem
from admbench.errors import UsageError
from admbench.methods.full_precision import Float32
from admbench.methods.naive import Naive
from admbench.metrics.clap import ClapScore
from admbench.metrics.frechet import FrechetDistance


def failed(name: str) -> dict[str, str]:
    """What fails, with why."""
    return {finding.check: finding.detail for finding in check_plugin(name) if finding.state == "failed"}


@pytest.fixture(autouse=True)
def nothing_stays_registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    from admbench.bench.conformance.findings import listed

    for registry in (methods.registry, metrics.registry, suites):
        monkeypatch.setattr(registry, "_registered", {})
    yield
    listed.cache_clear()


LONG = (
    "awq",
    "convrot",
    "dirotq",
    "eda-dm",
    "efficientdm",
    "passionsr",
    "ptq4dm",
    "q-dit",
    "qera",
    "qncd",
    "svdquant",
    "svdquant-gptq",
    "tcaq-dm",
    "tfmq-dm",
)
"""Methods that search or learn for long even when they are configured small, and are checked with the slow tests."""
OF_FILES = ("ready-made", "diffusers-quantized")
"""They read files of the model's weights, and the tiny networks have none (tests/methods/test_ready_made.py and
test_diffusers_folder.py)."""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow(140) if name in LONG else ())
        for name in methods.BUILTIN
        if name not in OF_FILES
    ],
)
def test_built_in_methods_pass(name: str) -> None:
    if (reason := methods.registry.info(name).unavailable) is not None:
        pytest.skip(reason)
    assert failed(name) == {}


@pytest.mark.parametrize("name", list(metrics.BUILTIN))
def test_built_in_metrics_pass(name: str) -> None:
    if (reason := metrics.registry.info(name).unavailable) is not None:
        pytest.skip(reason)
    assert failed(name) == {}


@pytest.mark.parametrize("name", suites.builtin)
def test_built_in_suites_pass(name: str) -> None:
    assert failed(name) == {}


def test_a_model_passes(plugins: None) -> None:
    assert failed("fake-adm") == {}


@pytest.mark.slow
def test_an_embedded_model_passes() -> None:
    assert failed("tiny-make-an-audio") == {}


class Named(Naive):
    name = "some-other-name"


class Verbose(Naive):
    summary = "two\nlines"


class Unsorted(Naive):
    family = "magic"  # type: ignore[assignment]


class TrainsUnsaid(Naive):
    family = "fine-tuning"


class Cites(Naive):
    paper = "a paper"  # type: ignore[assignment]


class Destroys(Naive):
    def quantize(self, model: Any, calibration: Any) -> Any:
        result = super().quantize(model, calibration)
        model.backbone.conv_in.weight.data.zero_()
        return result


class LeavesAHook(Naive):
    def quantize(self, model: Any, calibration: Any) -> Any:
        model.backbone.conv_in.register_forward_pre_hook(lambda module, args: None)
        return super().quantize(model, calibration)


class Dices(Naive):
    def quantize(self, model: Any, calibration: Any) -> Any:
        result = super().quantize(model, calibration)
        result.module.conv_in.bias.data += torch.rand(len(result.module.conv_in.bias))
        return result


class SaysThatItIsFixed(Naive):
    varies = False  # type: ignore[assignment]

    def needs_calibration(self, model: Any) -> bool:
        return True


class RoundsAt16(Naive):
    def quantize(self, model: Any, calibration: Any) -> Any:
        result = super().quantize(model, calibration)
        result.module.conv_in.bias.data += 1e-3
        return result


class TakesAnySet(Naive):
    def check_calibration(self, model: Any, calibration: Any) -> Any:
        return calibration

    def quantize(self, model: Any, calibration: Any) -> Any:
        if calibration is not None:
            calibration = copy.copy(calibration)
            object.__setattr__(calibration, "weights_sha256", model.weights_sha256)
        return super().quantize(model, calibration or self.calibrate(model, ["x"] * 16, seed=0))


class TakesAnyPrompts(Naive):
    def calibrate(self, model: Any, prompts: Any, *, seed: int) -> Any:
        return super().calibrate(model, [*prompts, *["more"] * 16], seed=seed)


class Breaks(Naive):
    def quantize(self, model: Any, calibration: Any) -> Any:
        result = super().quantize(model, calibration)
        result.module.conv_out.bias.data.fill_(torch.nan)
        return result


class Unpackable(Float32):
    name = "broken"

    def quantize(self, model: Any, calibration: Any) -> Any:
        result = super().quantize(model, calibration)
        result.module.conv_in.register_forward_hook(lambda module, args, output: output + 1)
        return result


BROKEN = {
    "another name": (Named, "is a method that lists can show", "'some-other-name'"),
    "summary": (Verbose, "is a method that lists can show", "more than one line"),
    "no known family": (Unsorted, "is a method that lists can show", "expected one of floating point, rounding"),
    "trains and does not say so": (TrainsUnsaid, "is a method that lists can show", "is not of track post-training"),
    "no Paper": (Cites, "is a method that lists can show", "an admbench.taxonomy.Paper"),
    "changes weights": (Destroys, "leaves the full-precision backbone as it was", "its weights"),
    "leaves a hook": (LeavesAHook, "leaves the full-precision backbone as it was", "its hooks"),
    "not seeded": (Dices, "gives the same twice, bit for bit", "seed what is random"),
    "fixed": (SaysThatItIsFixed, "says whether other calibration data may change it", "gives another"),
    "w16a16": (RoundsAt16, "w16a16 is full precision, bit for bit", "AudioLDM's U-Net"),
    "any set": (TakesAnySet, "refuses a missing calibration set, and that of another model", "none at all is accepted"),
    "any prompts": (TakesAnyPrompts, "refuses too few prompts", "it is configured to take 3"),
    "NaN": (Breaks, "quantizes", "NaN or infinity"),
    "hook in the product": (Unpackable, "packs and loads again, bit for bit", "predicts other numbers"),
}


@pytest.fixture
def one_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check methods on the first of the two networks alone: what is broken on one is said of that one."""
    first = dict(list(TINY_MODELS.items())[:1])
    monkeypatch.setattr("admbench.bench.conformance.method_subject.TINY_MODELS", first)


@pytest.mark.usefixtures("one_network")
@pytest.mark.parametrize(("plugin", "check", "words"), BROKEN.values(), ids=BROKEN)
def test_a_method_that_breaks_its_contract_is_told_how(plugin: type, check: str, words: str) -> None:
    if plugin is not Named:
        plugin.name = "broken"  # type: ignore[attr-defined]
    methods.register("broken")(plugin)
    assert words in failed("broken")[check]


@pytest.mark.usefixtures("one_network")
def test_where_products_do_not_repeat_a_difference_is_not_blamed_on_the_method(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arithmetic, "repeats", lambda: False)
    Dices.name = "broken"
    methods.register("broken")(Dices)
    found = {finding.check: finding for finding in check_plugin("broken")}
    repeated = found["gives the same twice, bit for bit"]
    assert (repeated.state, f"MKL_CBWR={arithmetic.reproducible_mode()}" in repeated.detail) == ("skipped", True)
    assert found["packs and loads again, bit for bit"].state == "passed"


@pytest.mark.parametrize("name", [name for name in methods.BUILTIN if "-int" not in name and name not in OF_FILES])
def test_efforts_of_the_usual_names_are_cut_down_and_a_method_holds_spec_and_options_alone(name: str) -> None:
    method = Subject(name).method
    assert vars(method).keys() == {"spec", "config"}
    most = {"prompts": 3, "timesteps": 3, "samples": 12, "batch": 4}
    for option, effort in method.config:
        if option in most or option.endswith("iterations"):
            assert effort <= most.get(option, 3), option


def test_the_networks_that_methods_are_checked_on_have_fifty_to_seventy_thousand_weights() -> None:
    for make in TINY_MODELS.values():
        assert 50_000 < sum(parameter.numel() for parameter in make(0).backbone.parameters()) < 71_000


class Lopsided(FrechetDistance):
    name = "lopsided"

    def compute(self, generated: Any, against: Any) -> float:
        return super().compute(generated, against) + 1


class Endless(ClapScore):
    name = "endless"

    def compute(self, generated: Any, against: Any) -> float:
        return float("inf")


def test_a_metric_that_breaks_its_contract_is_told_how() -> None:
    metrics.register("lopsided")(Lopsided)
    metrics.register("endless")(Endless)
    found = failed("lopsided")
    assert "clips are 1 from themselves" in found["is zero where nothing differs, if it is a distance"]
    assert "its statistic has another value" in found["leaves clips out as if they had not been there"]
    assert failed("endless") == {"computes the same finite number twice": "the value is inf, expected a finite float"}


def test_a_suite_that_breaks_its_contract_is_told_how() -> None:
    @suites.register("odd")
    class Odd(Suite):
        name = "odd"
        summary = "a suite with an unsafe id and audio beyond full scale"
        split = "test"
        sha256 = "0" * 64
        items = (SuiteItem("a/b", "a dog barks", 1, reference="a"),)

        def reference_audio(self, item: SuiteItem) -> Any:
            return np.full(10, 2, np.float32)

    assert failed("odd") == {"has captions with ids and seeds": "id 'a/b' is not safe as a file name"}
    Odd.items = (SuiteItem("ab", "a dog barks", 1, reference="a"),)
    assert failed("odd") == {"has the audio that it says it has": "ab: audio beyond full scale"}


@pytest.mark.usefixtures("one_network")
def test_the_command_prints_a_line_per_check(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-plugin", "fp32"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(line.count("\t") == 2 for line in lines)
    assert lines[2].startswith("passed\tquantizes\t")
    assert any(line.startswith("skipped\trefuses too few prompts\t") for line in lines)
    Breaks.name = "broken"
    methods.register("broken")(Breaks)
    assert main(["check-plugin", "broken"]) == 1
    states = [line.partition("\t")[0] for line in capsys.readouterr().out.splitlines()]
    assert states == ["passed", "passed", "failed"] + ["skipped"] * (len(states) - 3)


def test_a_name_that_is_none_or_two_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-plugin", "naife"]) == 2
    assert 'unknown plug-in "naife". Did you mean "naive"?' in capsys.readouterr().err
    metrics.register("naive")(ClapScore)
    with pytest.raises(UsageError, match="method and of a metric: say which with --kind"):
        check_plugin("naive")


def test_a_plugin_that_cannot_be_imported_is_a_mistake(plugins: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-plugin", "cannot-import"]) == 2
    assert "fake_adm_missing" in capsys.readouterr().err


@pytest.mark.usefixtures("one_network")
def test_a_spec_is_checked_as_it_is_given(tmp_path: Path) -> None:
    findings = {finding.check: finding for finding in check_plugin("naive@w4a16[weights=tensor]")}
    assert "naive@w4a16[prompts=3,timesteps=3,steps=4,weights=tensor]" in next(
        finding.detail for finding in findings.values() if "configuration" in finding.check
    )
    assert findings["refuses too few prompts"].state == "skipped"
