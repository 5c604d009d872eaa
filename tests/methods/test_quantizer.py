"""Properties of quantization that everything else rests on."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydantic import ValidationError

from admbench.methods.core.numbers.quantizer import Quantizer
from admbench.methods.core.numbers.scheme import Scheme, activation_scheme, weight_scheme

unhurried = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
schemes = st.builds(
    Scheme,
    bits=st.integers(2, 8),
    granularity=st.sampled_from(["tensor", "channel"]),
    symmetric=st.booleans(),
)
LARGE = float(np.float32(1e30))
floats = st.floats(-LARGE, LARGE, width=32)
tensors = hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=4, max_side=5), elements=floats).map(
    torch.from_numpy
)


@unhurried
@given(schemes, tensors)
def test_quantizing_what_is_quantized_changes_nothing(scheme, values):
    quantizer = Quantizer.min_max(scheme, values)
    once = quantizer.fake_quantize(values)
    assert torch.equal(quantizer.fake_quantize(once), once)


@unhurried
@given(schemes, tensors)
def test_codes_and_simulation_are_the_same_numbers(scheme, values):
    quantizer = Quantizer.min_max(scheme, values)
    codes = quantizer.codes(values)
    assert codes.dtype == torch.uint8
    assert scheme.code_min <= int(codes.min()) <= int(codes.max()) <= scheme.code_max
    assert torch.equal(quantizer.dequantize(codes), quantizer.fake_quantize(values))


@unhurried
@given(schemes, tensors)
def test_the_error_inside_the_range_is_at_most_half_a_step(scheme, values):
    quantizer = Quantizer.min_max(scheme, values)
    error = (quantizer.fake_quantize(values) - values).double().abs().flatten(1)
    step = quantizer.scale.double().reshape(-1, 1)
    assert bool((error <= step * (0.5 + 1e-4)).all())


@unhurried
@given(schemes, tensors)
def test_zero_stays_zero(scheme, values):
    zeros = torch.zeros_like(values)
    assert torch.equal(Quantizer.min_max(scheme, values).fake_quantize(zeros), zeros)


@unhurried
@given(schemes, floats)
def test_a_constant_is_kept_to_half_a_step_and_zeros_exactly(scheme, constant):
    values = torch.full((3, 4), constant)
    values[0] = 0
    quantizer = Quantizer.min_max(scheme, values)
    quantized = quantizer.fake_quantize(values)
    assert bool(torch.isfinite(quantized).all())
    assert torch.equal(quantized[0], torch.zeros(4))
    assert torch.allclose(quantized, values, rtol=1e-5, atol=1e-37)


@unhurried
@given(st.integers(2, 8), st.booleans(), st.integers(0, 2**32 - 1), st.floats(0, 3))
def test_one_scale_per_channel_is_never_worse_than_one_per_tensor(bits, symmetric, seed, spread):
    """For weights as they are, roughly normal: on purpose-made grids the coarser step can be the luckier one."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(16, 288, generator=generator) * torch.exp(spread * torch.randn(16, 1, generator=generator))
    error = {}
    for granularity in ("tensor", "channel"):
        scheme = Scheme(bits=bits, granularity=granularity, symmetric=symmetric)
        error[granularity] = torch.mean((Quantizer.min_max(scheme, weight).fake_quantize(weight) - weight) ** 2)
    assert error["channel"] <= error["tensor"]


def test_a_gradient_passes_straight_through_inside_the_range_and_not_outside():
    quantizer = Quantizer.from_range(activation_scheme(4), torch.tensor(-1.0), torch.tensor(2.0))
    values = torch.tensor([-5.0, -0.93, 0.04, 1.9, 7.0], requires_grad=True)
    quantizer.fake_quantize(values).sum().backward()
    assert values.grad.tolist() == [0, 1, 1, 1, 0]


@unhurried
@given(schemes, st.integers(0, 2**32 - 1))
def test_the_gradient_of_a_step_size_is_that_of_lsq(scheme, seed):
    """LSQ, eq. 3: rounded minus exact inside the range, the bound outside; summed over what shares the step."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(3, 40, generator=generator)
    quantizer = Quantizer.min_max(scheme, values * 0.7)
    with torch.no_grad():
        expected_output = quantizer.fake_quantize(values)
    quantizer.scale.requires_grad_(True)
    output = quantizer.fake_quantize(values)
    assert torch.equal(output, expected_output)
    weights = torch.randn(3, 40, generator=generator)
    (output * weights).sum().backward()
    scale = quantizer.scale.detach().reshape(-1, 1)
    zero = quantizer.zero_point.float().reshape(-1, 1)
    ratio = values * scale.reciprocal()
    low, high = scheme.code_min - zero, scheme.code_max - zero
    slope = torch.where(ratio.round() < low, low, torch.where(ratio.round() > high, high, ratio.round() - ratio))
    expected = (slope * weights).sum(1) if scheme.granularity == "channel" else (slope * weights).sum()
    assert torch.allclose(quantizer.scale.grad, expected, rtol=1e-4, atol=1e-4)


def test_rounding_without_a_gradient_to_pass_builds_no_graph():
    quantizer = Quantizer.from_range(activation_scheme(4), torch.tensor(-1.0), torch.tensor(2.0))
    assert not quantizer.fake_quantize(torch.randn(4)).requires_grad


def test_values_outside_the_range_are_clamped_to_its_ends():
    quantizer = Quantizer.from_range(activation_scheme(8), torch.tensor(-1.0), torch.tensor(2.0))
    low, high = quantizer.fake_quantize(torch.tensor([-50.0, 50.0])).tolist()
    assert low == pytest.approx(-1, abs=0.01)
    assert high == pytest.approx(2, abs=0.01)


def test_halves_round_to_even():
    quantizer = Quantizer(
        Scheme(bits=8, granularity="tensor", symmetric=True), torch.tensor(1.0), torch.tensor(128, dtype=torch.uint8)
    )
    assert quantizer.fake_quantize(torch.tensor([0.5, 1.5, 2.5, -0.5, -1.5])).tolist() == [0, 2, 2, 0, -2]


@pytest.mark.parametrize("bits", range(2, 9))
def test_a_weight_less_its_zero_point_fits_a_signed_byte(bits):
    """Integer kernels hold weights as int8 without a zero point."""
    weight = torch.cat([torch.rand(4, 50), -torch.rand(4, 50), torch.randn(4, 50)])
    quantizer = Quantizer.min_max(weight_scheme(bits, "channel"), weight)
    steps = quantizer.codes(weight).int() - quantizer.zero_point.int().reshape(-1, 1)
    assert -128 <= int(steps.min()) <= int(steps.max()) <= 127


@pytest.mark.parametrize("bits", [1, 9, 16, 0, -4])
def test_a_scheme_has_2_to_8_bits(bits):
    with pytest.raises(ValidationError):
        Scheme(bits=bits, granularity="tensor", symmetric=True)
