"""Which layers get few bits: sensitivity against the direct measurement, allocation against brute force."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from torch import nn

from admbench.errors import DataError, UsageError
from admbench.methods.core.calibration.samplers.recipe import CalibrationRecipe
from admbench.methods.core.calibration.sensitivity import output_noise
from admbench.methods.core.layers.allocation import Choice, allocate, float_bytes, mixed_policy, weight_bytes
from admbench.methods.core.layers.kinds import quantizable_layers
from admbench.methods.core.numbers.quantizer import Quantizer
from admbench.methods.core.numbers.scheme import weight_scheme


class Chain:
    """A model whose backbone is a chain of layers."""

    name = "chain"

    def __init__(self, *layers):
        self.backbone = nn.Sequential(*layers)

    def call_backbone(self, inputs):
        with torch.inference_mode():
            return self.backbone(inputs["x"])


def quantizers(backbone, *widths):
    return {
        name: {bits: Quantizer.min_max(weight_scheme(bits, "channel"), layer.weight) for bits in widths}
        for name, layer in quantizable_layers(backbone).items()
    }


def test_noise_of_a_linear_chain_is_what_matrices_say():
    torch.manual_seed(0)
    model = Chain(nn.Linear(6, 8, bias=False), nn.Linear(8, 5, bias=False))
    x = torch.randn(512, 6)
    candidates = quantizers(model.backbone, 3, 8)
    found = output_noise(model, model.backbone, [{"x": x[:200]}, {"x": x[200:]}], candidates, probes=8, seed=0)
    first, second = (layer.weight.detach() for layer in model.backbone)
    power = (x @ first.T @ second.T).square().sum()
    for bits in (3, 8):
        error = candidates["0"][bits].fake_quantize(first) - first
        assert found["0"][bits] == pytest.approx(((x @ error.T @ second.T).square().sum() / power).item(), rel=0.1)
        error = candidates["1"][bits].fake_quantize(second) - second
        assert found["1"][bits] == pytest.approx(((x @ first.T @ error.T).square().sum() / power).item(), rel=0.1)


def test_it_is_near_what_the_output_shows_when_one_layer_alone_is_rounded(model, prompts):
    """Within a factor of two for nearly every layer, and in nearly the same order."""
    drawn = CalibrationRecipe("uniform", prompts=8, timesteps=3, steps=3, guidance=3.0).draw(model, prompts, seed=0)
    candidates = quantizers(model.backbone, 4)
    estimated = output_noise(model, model.backbone, drawn.batches(16), candidates, probes=2, seed=0)
    whole = {name: tensor[:48] for name, tensor in drawn.inputs.items()}
    measured = {}
    with torch.no_grad():
        target = model.call_backbone(whole)
        for name, layer in quantizable_layers(model.backbone).items():
            if name not in estimated:
                continue
            own = layer.weight.detach().clone()
            layer.weight.copy_(candidates[name][4].fake_quantize(own))
            measured[name] = ((model.call_backbone(whole) - target).square().sum() / target.square().sum()).item()
            layer.weight.copy_(own)
    names = [name for name, noise in measured.items() if noise > 0]
    pairs = np.array([[estimated[name][4], measured[name]] for name in names])
    assert len(names) > 30
    assert spearmanr(*pairs.T).statistic > 0.9
    assert np.mean(np.abs(np.log2(pairs[:, 0] / pairs[:, 1])) < 1) > 0.9


def test_it_leaves_the_backbone_as_it_is(audioldm, prompts, predict):
    next(audioldm.backbone.parameters()).requires_grad_(True)
    frozen = [not parameter.requires_grad for parameter in audioldm.backbone.parameters()]
    before = predict(audioldm)
    drawn = CalibrationRecipe("uniform", prompts=2, timesteps=1, steps=2, guidance=3.0).draw(audioldm, prompts, seed=0)
    output_noise(audioldm, audioldm.backbone, drawn.batches(2), quantizers(audioldm.backbone, 4), seed=0)
    assert torch.equal(predict(audioldm), before)
    assert [not parameter.requires_grad for parameter in audioldm.backbone.parameters()] == frozen
    assert all(parameter.grad is None for parameter in audioldm.backbone.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in audioldm.backbone.modules())


def test_an_output_of_zeros_has_no_noise_to_speak_of():
    model = Chain(nn.Linear(3, 3, bias=False))
    with pytest.raises(DataError, match="output on the calibration set is zero"):
        output_noise(model, model.backbone, [{"x": torch.zeros(2, 3)}], quantizers(model.backbone, 4), seed=0)


layers = st.lists(
    st.lists(st.tuples(st.integers(1, 60), st.floats(0, 100)), min_size=1, max_size=3), min_size=1, max_size=6
)


@settings(deadline=None, max_examples=60)
@given(layers, st.floats(0, 1))
def test_the_allocation_is_the_best_of_all(layers, share):
    choices = {
        str(number): [Choice(bits, size, noise) for bits, (size, noise) in enumerate(options)]
        for number, options in enumerate(layers)
    }
    smallest = sum(min(choice.bytes for choice in options) for options in choices.values())
    largest = sum(max(choice.bytes for choice in options) for options in choices.values())
    limit = smallest + math.floor(share * (largest - smallest))
    taken = allocate(choices, limit)
    possible = [some for some in product(*choices.values()) if sum(choice.bytes for choice in some) <= limit]
    best = min(sum(choice.noise for choice in some) for some in possible)
    assert all(taken[name] in options for name, options in choices.items())
    assert sum(choice.bytes for choice in taken.values()) <= limit
    assert sum(choice.noise for choice in taken.values()) == pytest.approx(best, rel=1e-9, abs=1e-9)


def test_noise_of_very_different_sizes_is_still_told_apart():
    """Layers whose noise spans ten orders of magnitude; the small ones matter where the large ones are settled."""
    rng = np.random.default_rng(0)
    choices = {
        str(number): [Choice(4, 50, noise), Choice(8, 100, noise / 256)]
        for number, noise in enumerate(10.0 ** rng.uniform(-10, 0, 12))
    }
    taken = allocate(choices, 12 * 50 + 6 * 50)
    loudest = sorted(choices, key=lambda name: -choices[name][0].noise)[:6]
    assert {name for name, choice in taken.items() if choice.bits == 8} == set(loudest)


def test_a_limit_that_cannot_be_kept_is_an_error():
    with pytest.raises(UsageError, match="30 bytes at the fewest bits, which is more than 29"):
        allocate({"a": [Choice(4, 10, 1), Choice(8, 20, 0)], "b": [Choice(4, 20, 1)]}, 29)


def test_bytes_are_those_of_codes_scales_and_zero_points():
    layer = nn.Conv2d(4, 6, 3)
    assert weight_bytes(layer, None) == 6 * 36 * 4
    assert weight_bytes(layer, weight_scheme(4, "channel")) == 6 * 36 // 2 + 6 * 5
    assert weight_bytes(layer, weight_scheme(8, "tensor")) == 6 * 36 + 5
    assert float_bytes(layer) == (6 * 36 + 6) * 4


def test_a_mixed_policy_has_the_bits_of_each_layer_and_leaves_others_alone():
    policy = mixed_policy({"first": 8, "middle": 4, "last": 8}, 6, ("first", "last"), 8)
    schemes = {name: policy.scheme_of(name) for name in ("first", "middle", "last", "other")}
    assert [schemes[name].weight.bits for name in ("first", "middle", "last")] == [8, 4, 8]
    assert [schemes[name].activation.bits for name in ("first", "middle", "last")] == [8, 6, 8]
    assert schemes["other"].weight is None
    assert mixed_policy({"a": 4}, 16, (), 8).scheme_of("a").activation is None
