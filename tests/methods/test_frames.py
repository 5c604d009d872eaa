"""The frames that methods fill in: presets add up, and a layerwise or blockwise method is what it says of a layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from admbench.errors import UsageError
from admbench.methods import from_spec
from admbench.methods.base import CalibratedConfig, CalibratedMethod, Method
from admbench.methods.blockwise import BlockwiseMethod, ReconstructionConfig, SampledConfig, StepSizeConfig
from admbench.methods.core.calibration.ranges import MinMax, input_ranges
from admbench.methods.core.layers.kinds import quantizable_layers
from admbench.methods.core.layers.quantized import QuantizedLayer, quantized_layers
from admbench.methods.core.numbers.quantizer import Quantizer
from admbench.methods.core.numbers.scheme import weight_scheme
from admbench.methods.layerwise import GramMethod, LayerwiseMethod
from admbench.methods.spec import MethodSpec
from admbench.methods.weight_only import WeightOnlyMethod

OPTIONS = "prompts=2,timesteps=2,steps=2"


class Wider(SampledConfig, StepSizeConfig):
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"quick": {"timesteps": 25}, "paper": {"batch": 32}}


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        ("quick", {"timesteps": 25, "batch": 4, "samples": 96, "step_iterations": 0, "prompts": 16}),
        ("paper", {"timesteps": 25, "batch": 32, "samples": 6400, "step_iterations": 5000, "prompts": 128}),
    ],
)
def test_a_preset_adds_to_those_of_all_base_classes_and_wins_over_them(preset, expected):
    config = Wider.model_validate({"preset": preset}).model_dump()
    assert {key: config[key] for key in expected} == expected


def test_what_is_typed_wins_over_every_preset():
    config = Wider.model_validate({"preset": "paper", "batch": "7", "samples": "5"})
    assert (config.batch, config.samples, config.iterations) == (7, 5, 20_000)


def test_a_class_that_says_nothing_of_presets_has_those_of_its_base():
    class Same(ReconstructionConfig):
        pass

    assert Same(preset="paper").model_dump() == ReconstructionConfig(preset="paper").model_dump()
    assert CalibratedConfig(preset="paper").prompts == 128


class Nearest(LayerwiseMethod[MinMax, None]):
    name, summary, version = "nearest", "to nearest", "1"
    track, family, paper = "post-training", "other", None

    def observe(self, model, calibration):
        return input_ranges(
            model, calibration, [name for name in quantizable_layers(model.backbone) if name != self.idle]
        )

    def quantize_layer(self, name, layer, scheme, seen, solution):
        assert solution is None
        activation = None if scheme.activation is None else Quantizer.from_range(scheme.activation, seen.low, seen.high)
        weight = None if scheme.weight is None else Quantizer.min_max(scheme.weight, layer.weight.detach())
        return QuantizedLayer.from_float(layer, weight, activation)

    idle: ClassVar[str] = "mid_block.resnets.0.conv1"


def drawn(method: Method, model: Any, prompts: list[str]) -> Any:
    return method.calibrate(model, prompts, seed=3)


def test_a_layerwise_method_quantizes_what_it_has_seen_and_nothing_else(model, prompts, quantize):
    method = Nearest(MethodSpec.parse(f"nearest@w4a8[{OPTIONS}]"))
    result = method.quantize(model, drawn(method, model, prompts))
    assert result.report.unquantized == (Nearest.idle,)
    expected = quantized_layers(quantize(model, "naive@w4a8").module)
    for name, layer in quantized_layers(result.module).items():
        assert torch.equal(layer.weight_codes, expected[name].weight_codes)
        assert layer.scheme == expected[name].scheme


class Grams(GramMethod[MinMax, Tensor]):
    name, summary, version = "grams", "notes what it is given", "1"
    track, family, paper = "post-training", "other", None

    def observe(self, model, calibration):
        return input_ranges(model, calibration, quantizable_layers(model.backbone))

    def solve_weight(self, name, layer, gram, scheme, seen):
        terms = layer.weight[0].numel()
        assert gram.shape == (terms, terms)
        assert scheme.group_size is None or terms % scheme.group_size == 0
        return gram

    def quantize_layer(self, name, layer, scheme, seen, solution):
        assert (solution is None) == (scheme.weight is None)
        weight = None if scheme.weight is None else Quantizer.min_max(scheme.weight, layer.weight.detach())
        return QuantizedLayer.from_float(layer, weight, None)


@pytest.mark.parametrize("bits", ["w4a16", "w16a8"])
def test_a_gram_method_solves_for_every_layer_whose_weight_is_quantized(audioldm, prompts, bits):
    method = Grams(MethodSpec.parse(f"grams@{bits}[{OPTIONS},positions=64,group=32]"))
    layers = quantized_layers(method.quantize(audioldm, drawn(method, audioldm, prompts)).module)
    assert layers
    grouped = {name for name, layer in layers.items() if layer.scheme.weight and layer.scheme.weight.group_size}
    assert grouped == (set(layers) - {"conv_in", "conv_out"} if bits == "w4a16" else set())


class Config(SampledConfig):
    pass


class Blocks(BlockwiseMethod):
    name, summary, version = "blocks", "leaves what it is given", "1"
    track, family, paper = "post-training", "other", None
    Config: ClassVar[type[SampledConfig]] = Config

    def reconstruct(self, work, model, calibration):
        assert work.module is model.backbone
        assert calibration.seed == 3


@pytest.mark.parametrize(("option", "count"), [("samples=3", 3), ("samples=100", 8)])
def test_a_blockwise_method_reconstructs_on_as_many_samples_as_it_says(audioldm, prompts, option, count):
    method = Blocks(MethodSpec.parse(f"blocks@w4a8[{OPTIONS},{option}]"))
    calibration = drawn(method, audioldm, prompts)
    assert len(calibration) == 8
    assert len(method.samples(calibration)) == count


@pytest.mark.parametrize("kind", [Nearest, Grams, Blocks])
def test_frames_leave_16_bits_alone_without_data(audioldm, predict, kind):
    method = kind(MethodSpec.parse(f"{kind.name}@w16a16"))
    assert method.calibrate(audioldm, [], seed=0) is None
    result = method.quantize(audioldm, None)
    assert result.module is not audioldm.backbone
    assert not quantized_layers(result.module)
    assert torch.equal(predict(audioldm, result.module), predict(audioldm, audioldm.backbone))


@pytest.mark.parametrize("kind", [Nearest, Grams, Blocks])
def test_frames_refuse_to_go_without_the_set_that_they_need(audioldm, other_audioldm, prompts, kind):
    method = kind(MethodSpec.parse(f"{kind.name}@w4a8[{OPTIONS}]"))
    with pytest.raises(UsageError, match="needs a calibration set"):
        method.quantize(audioldm, None)
    with pytest.raises(UsageError, match="was drawn from"):
        method.quantize(audioldm, drawn(method, other_audioldm, prompts))


def test_a_method_without_data_asks_for_none(audioldm):
    class Simple(Method):
        name, summary, version = "simple", "nothing", "1"
        track, family, paper = "post-training", "other", None

        def quantize(self, model, calibration):
            raise NotImplementedError

    assert Simple(MethodSpec.parse("simple@w4a16")).check_calibration(audioldm, None) is None


class Halves(WeightOnlyMethod):
    name, summary, version = "halves", "scales of half the range", "1"
    track, family, paper = "post-training", "rounding", None

    def fit_weight(self, bits, weight):
        return Quantizer.min_max(weight_scheme(bits, "channel"), weight / 2)


def test_a_method_that_looks_at_weights_alone_fits_scales_and_codes_are_the_nearest(audioldm):
    result = Halves(MethodSpec.parse("halves@w3a16")).quantize(audioldm, None)
    original = quantizable_layers(audioldm.backbone)
    for name, layer in quantized_layers(result.module).items():
        weight = original[name].weight.detach()
        fitted = Quantizer.min_max(weight_scheme(8 if name in ("conv_in", "conv_out") else 3, "channel"), weight / 2)
        assert torch.equal(layer.weight_codes, fitted.codes(weight))
        assert layer.activation_quantizer is None
    with pytest.raises(UsageError, match="expected halves@w3a16"):
        Halves(MethodSpec.parse("halves@w3a8"))


class DrawsItself(Nearest):
    name = "draws-itself"

    def calibrate(self, model, prompts, *, seed):
        return super().calibrate(model, prompts, seed=seed + 1)


def test_what_is_asked_for_is_the_recipe_of_the_options_or_nothing_where_a_method_draws_itself():
    method = Nearest(MethodSpec.parse(f"nearest@w4a8[{OPTIONS}]"))
    assert method.calibration_request == method.config.request
    assert DrawsItself(MethodSpec.parse(f"draws-itself@w4a8[{OPTIONS}]")).calibration_request is None


def test_data_is_needed_unless_nothing_is_quantized_and_has_to_be_the_models(audioldm, other_audioldm, prompts):
    class Plain(CalibratedMethod):
        name, summary, version = "plain", "asks for data", "1"
        track, family, paper = "post-training", "other", None

        def quantize(self, model, calibration):
            raise NotImplementedError

    def checked(bits, model, calibration):
        return Plain(MethodSpec.parse(f"plain@{bits}[{OPTIONS}]")).check_calibration(model, calibration)

    own = drawn(Plain(MethodSpec.parse(f"plain@w4a8[{OPTIONS}]")), audioldm, prompts)
    assert checked("w16a16", audioldm, own) is None
    for bits in ("w4a8", "w4a16", "w16a8"):
        assert checked(bits, audioldm, own) is own
        with pytest.raises(UsageError, match="needs a calibration set of tiny-audioldm"):
            checked(bits, audioldm, None)
        with pytest.raises(UsageError, match="drawn from"):
            checked(bits, other_audioldm, own)


@pytest.mark.parametrize(
    ("spec", "varies"),
    [
        ("fp32", False),
        ("bf16", False),
        ("nf4@w4a16", False),
        ("hqq@w4a16", False),
        ("naive@w4a16", False),
        ("naive@w16a16", False),
        ("naive@w4a8", True),
        ("gptq@w4a16", True),
        ("ptq4adm@w4a8", True),
    ],
)
def test_a_method_says_whether_another_calibration_draw_may_change_it(spec, varies):
    assert from_spec(spec).varies is varies
