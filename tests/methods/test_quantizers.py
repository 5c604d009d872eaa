"""Groups, codebooks, dynamic ranges and tables over timesteps: what holds for every kind of quantizer."""

import copy

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from admbench.methods.core.numbers.codebooks import NF4_LEVELS, FloatZeroQuantizer, Log2Quantizer, NF4Quantizer
from admbench.methods.core.numbers.dynamic import DynamicQuantizer
from admbench.methods.core.numbers.quantizer import Quantizer
from admbench.methods.core.numbers.scheme import Scheme
from admbench.methods.core.numbers.search import fit_mse
from admbench.methods.core.numbers.timesteps import (
    Clock,
    TimestepTable,
    attach_clock,
    clocks_of,
    timesteps_of_calls,
)

GROUPS = Scheme(bits=4, granularity="group", symmetric=False, group_size=8)
NF4 = Scheme(bits=4, granularity="group", symmetric=True, group_size=8, codebook="nf4")
LOG2 = Scheme(bits=4, granularity="tensor", symmetric=False, codebook="log2")
HQQ = Scheme(bits=3, granularity="group", symmetric=False, group_size=8, zero="float")
TABLE = Scheme(bits=8, granularity="tensor", symmetric=False)
ENDS = torch.tensor([[0.0, -1.0], [500.0, -2.0], [999.0, -8.0]])  # timestep, smallest input; the largest is 0


@pytest.fixture
def weight():
    return torch.randn(6, 4, 2, 2, generator=torch.Generator().manual_seed(0))


WEIGHT_QUANTIZERS = {
    "group": lambda values: Quantizer.min_max(GROUPS, values),
    "group, mse": lambda values: fit_mse(GROUPS, values),
    "nf4": lambda values: NF4Quantizer.fit(NF4, values),
    "float zero": lambda values: FloatZeroQuantizer.fit(HQQ, values),
}


@pytest.mark.parametrize("fit", WEIGHT_QUANTIZERS.values(), ids=WEIGHT_QUANTIZERS)
def test_simulation_is_what_the_codes_say_and_rounding_again_changes_nothing(fit, weight):
    quantizer = fit(weight)
    codes, rounded = quantizer.codes(weight), quantizer.fake_quantize(weight)
    assert codes.dtype == torch.uint8
    assert int(codes.max()) <= quantizer.scheme.code_max
    assert torch.equal(quantizer.dequantize(codes), rounded)
    assert torch.equal(quantizer.codes(rounded), codes)
    assert quantizer.scale.shape == (6, 2)


@pytest.mark.parametrize("fit", WEIGHT_QUANTIZERS.values(), ids=WEIGHT_QUANTIZERS)
def test_a_group_has_numbers_of_its_own(fit, weight):
    rounded = fit(weight).fake_quantize(weight).reshape(6, 2, 8)
    for row in range(6):
        for group in range(2):
            alone = weight.reshape(6, 2, 8)[row, group].reshape(1, 8)
            assert torch.equal(fit(alone).fake_quantize(alone)[0], rounded[row, group])


@pytest.mark.parametrize("fit", WEIGHT_QUANTIZERS.values(), ids=WEIGHT_QUANTIZERS)
def test_zeros_and_constants_stay_finite_and_near(fit):
    values = torch.zeros(3, 8)
    values[1] = 1e-20
    values[2] = -7.0
    rounded = fit(values).fake_quantize(values)
    assert torch.equal(rounded[0], torch.zeros(8))
    torch.testing.assert_close(rounded, values, rtol=1e-5, atol=1e-30)


def test_groups_are_never_worse_than_channels_on_weights_with_outliers(weight):
    weight[:, 0, 0, 0] *= 30
    channel = Scheme(bits=4, granularity="channel", symmetric=False)
    error = {
        scheme.granularity: (Quantizer.min_max(scheme, weight).fake_quantize(weight) - weight).square().mean()
        for scheme in (GROUPS, channel)
    }
    assert error["group"] < error["channel"]


def test_the_gradient_of_a_group_scale_is_the_sum_over_its_group(weight):
    quantizer = Quantizer.min_max(GROUPS, weight)
    quantizer.scale.requires_grad_(True)
    quantizer.fake_quantize(weight).sum().backward()
    error = (quantizer.fake_quantize(weight) - weight).detach().reshape(6, 2, 8).sum(2)
    torch.testing.assert_close(quantizer.scale.grad, error / quantizer.scale.detach(), rtol=1e-3, atol=1e-4)


def test_groups_fit_what_there_is():
    assert GROUPS.for_terms(12).group_size == 6
    assert GROUPS.for_terms(64).group_size == 8
    assert TABLE.for_terms(12) == TABLE


def test_nf4_has_the_published_levels_and_rounds_to_the_nearest():
    values = torch.tensor([NF4_LEVELS])
    quantizer = NF4Quantizer.fit(Scheme(bits=4, granularity="channel", symmetric=True, codebook="nf4"), values)
    assert quantizer.codes(values).tolist() == [list(range(16))]
    assert torch.equal(quantizer.dequantize(torch.arange(16, dtype=torch.uint8)[None]), values)
    dense = torch.linspace(-1, 1, 1001)[None]
    nearest = (dense[0][:, None] - values[0]).abs().amin(1)
    torch.testing.assert_close((quantizer.fake_quantize(dense) - dense).abs()[0], nearest)


def test_log2_keeps_powers_of_two_and_zero_and_half_an_exponent():
    quantizer = Log2Quantizer.fit(LOG2, torch.tensor([0.25, 1.0]))
    powers = torch.tensor([1.0, 0.5, 2.0**-14, 0.0])
    assert torch.equal(quantizer.fake_quantize(powers), powers)
    values = torch.rand(1000) + 1e-3
    ratio = torch.log2(quantizer.fake_quantize(values) / values)
    assert float(ratio.abs().max()) <= 0.5 + 1e-5
    assert quantizer.fake_quantize(torch.tensor([2.0**-20])).item() == 0


def test_a_floating_point_zero_reaches_both_ends_exactly():
    values = torch.tensor([[3.0, 3.5, 4.0, 5.0, 5.5, 6.0, 6.5, 7.0]])
    rounded = FloatZeroQuantizer.fit(HQQ, values).fake_quantize(values)
    torch.testing.assert_close(rounded[0, [0, -1]], torch.tensor([3.0, 7.0]))


@pytest.mark.parametrize("fit", [WEIGHT_QUANTIZERS["nf4"], WEIGHT_QUANTIZERS["float zero"]])
def test_a_gradient_passes_straight_through_a_codebook(fit, weight):
    quantizer = fit(weight)
    values = weight.clone().requires_grad_(True)
    quantizer.fake_quantize(values).sum().backward()
    assert torch.equal(values.grad, torch.ones_like(values))


DYNAMIC = {
    "token": (Scheme(bits=8, granularity="token", symmetric=False, dynamic=True), -1, (4, 5, 16)),
    "sample": (Scheme(bits=8, granularity="sample", symmetric=True, dynamic=True), 1, (4, 16, 5, 3)),
    "group": (Scheme(bits=4, granularity="group", symmetric=False, group_size=8, dynamic=True), -1, (4, 5, 16)),
    "group of maps": (Scheme(bits=4, granularity="group", symmetric=True, group_size=8, dynamic=True), 1, (4, 16, 3)),
}


@pytest.mark.parametrize(("scheme", "channels", "shape"), DYNAMIC.values(), ids=DYNAMIC)
def test_a_dynamic_range_is_that_of_the_input_and_rows_of_a_batch_do_not_see_each_other(scheme, channels, shape):
    values = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    values[1] *= 1000
    quantizer = DynamicQuantizer(scheme, channels)
    rounded = quantizer.fake_quantize(values)
    assert torch.equal(quantizer.fake_quantize(values[:1]), rounded[:1])
    error = (rounded - values).abs().reshape(4, -1).amax(1)
    reach = values.abs().reshape(4, -1).amax(1)
    assert bool((error <= 2 * reach / (scheme.code_max - scheme.code_min) * 0.51).all())
    scale, zero_point = quantizer.parameters_for(values)
    codes = quantizer.codes(values).reshape(quantizer._grouped(values).shape)
    assert torch.equal(((codes.float() - zero_point) * scale).reshape(shape), rounded)
    torch.testing.assert_close(quantizer.fake_quantize(rounded), rounded, rtol=1e-5, atol=1e-6)  # changes nothing


def table():
    parts = [Quantizer.from_range(TABLE, low, torch.tensor(0.0)) for _, low in ENDS]
    scale, zero_point = (torch.stack([getattr(part, name) for part in parts]) for name in ("scale", "zero_point"))
    return TimestepTable(TABLE, scale, zero_point, ENDS[:, 0].clone())


class Backbone(nn.Module):
    """Rounds its sample by a table."""

    def __init__(self):
        super().__init__()
        self.quantizer = table()

    def forward(self, sample, timestep):
        return self.quantizer.fake_quantize(sample)


def test_a_table_takes_the_nearest_timestep_of_each_row():
    backbone = Backbone()
    attach_clock(backbone)
    sample = torch.full((3, 2), -100.0)
    torch.testing.assert_close(backbone(sample, 510)[:, 0], torch.full((3,), -2.0))
    torch.testing.assert_close(backbone(sample, timestep=torch.tensor([998]))[:, 0], torch.full((3,), -8.0))
    mixed = backbone(sample, torch.tensor([0, 499, 2000]))
    torch.testing.assert_close(mixed[:, 0], torch.tensor([-1.0, -2.0, -8.0]))
    frames = torch.full((6, 2), -100.0)  # two rows of each sample
    torch.testing.assert_close(
        backbone(frames, torch.tensor([0, 499, 2000]))[:, 0], -torch.tensor([1.0, 1, 2, 2, 8, 8])
    )


def test_copies_of_a_backbone_have_clocks_of_their_own():
    backbone = Backbone()
    attach_clock(backbone)
    other = copy.deepcopy(backbone)
    assert clocks_of(other)[0] is not clocks_of(backbone)[0]
    backbone(torch.zeros(1, 1), 0)
    torch.testing.assert_close(other(torch.tensor([[-100.0]]), 999), torch.tensor([[-8.0]]))
    assert clocks_of(backbone)[0].timesteps.tolist() == [0.0]


def test_a_table_outside_of_a_call_is_an_error():
    with pytest.raises(RuntimeError, match="outside of a call"):
        table().fake_quantize(torch.zeros(1))
    lonely = table()
    lonely.clock = Clock()
    lonely.clock.set(torch.tensor([0, 999]))
    with pytest.raises(RuntimeError, match="3 rows at 2 timesteps"):
        lonely.fake_quantize(torch.zeros(3, 1))


@pytest.mark.parametrize(
    "wrong",
    [
        {"granularity": "group"},
        {"granularity": "channel", "group_size": 8},
        {"granularity": "token"},
        {"granularity": "tensor", "dynamic": True},
        {"granularity": "tensor", "codebook": "nf4", "bits": 3, "symmetric": True},
        {"granularity": "channel", "codebook": "log2"},
        {"granularity": "tensor", "zero": "float", "symmetric": True},
    ],
)
def test_schemes_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValidationError):
        Scheme(**{"bits": 4, "symmetric": False, **wrong})


def test_a_backbone_is_asked_what_it_is_told_and_does_not_run(audioldm):
    """Some models tell a backbone its time in other units than those of a call's inputs."""
    call = next(audioldm.trajectories(["a", "b"], seeds=[0, 1], steps=2, guidance=3.0, batch_size=2))
    batches = [call.inputs, {**call.inputs, "timestep": torch.tensor([1, 2, 3, 4])}]
    own = audioldm.backbone
    own.conv_in.register_forward_pre_hook(lambda module, args: pytest.fail("it runs"))
    assert timesteps_of_calls(audioldm, batches).tolist() == [999, 999, 999, 999, 1, 2, 3, 4]

    audioldm.call_backbone = lambda inputs: own(inputs["sample"], timestep=inputs["timestep"][:1] / 1000)
    assert timesteps_of_calls(audioldm, batches[:1]).tolist() == pytest.approx([0.999] * 4)
    audioldm.call_backbone = lambda inputs: own(inputs["sample"])
    assert timesteps_of_calls(audioldm, batches) is None
