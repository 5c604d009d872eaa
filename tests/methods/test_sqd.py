"""`sqd`: scales over timesteps, ranges of timesteps, and the branch that takes up what rounding does to the weight."""

import pytest
import torch
from torch import nn

from admbench.methods.core.calibration.statistics import ChannelStatistics
from admbench.methods.core.layers.kinds import over_inputs
from admbench.methods.core.layers.quantized import quantized_layers
from admbench.methods.core.numbers.scheme import Scheme
from admbench.methods.sqd import AtTimesteps, mean_scale, range_table


def _at(low, high):
    low, high = torch.tensor(low), torch.tensor(high)
    return ChannelStatistics(low, high, high)


@torch.no_grad()
def test_sqds_scale_is_the_mean_of_what_smoothquant_has_at_each_timestep():
    """Whatever the width of all inputs at a timestep, channels keep their proportions: a timestep counts as another."""
    layer = nn.Linear(2, 3, bias=False)
    layer.weight.copy_(torch.tensor([[1.0, 4.0], [-0.5, -16.0], [0.2, 1.0]]))
    seen = AtTimesteps((1.0, 900.0), (_at([-4.0, -1.0], [1.0, 1.0]), _at([0.0, -900.0], [100.0, 0.0])))
    eq4 = [[(4 / 1) ** 0.5, (1 / 16) ** 0.5], [(100 / 1) ** 0.5, (900 / 16) ** 0.5]]
    scale = mean_scale(layer, seen, 0.5)
    torch.testing.assert_close(scale, torch.tensor(eq4).log().mean(0).exp())
    wider = AtTimesteps(seen.timesteps, (seen.channels[0], _at([0.0, -9000.0], [1000.0, 0.0])))
    torch.testing.assert_close(mean_scale(layer, wider, 0.5) / scale, torch.full((2,), 10**0.25))
    table = range_table(Scheme(bits=8, granularity="tensor", symmetric=False), seen, torch.tensor([2.0, 10.0]))
    assert table.timesteps.tolist() == [1, 900]
    torch.testing.assert_close(table.scale * 255, torch.tensor([2.0 + 0.5, 90.0 + 50.0]))


@torch.no_grad()
def test_sqds_branch_takes_the_leading_part_of_what_rounding_does_to_the_weight(audioldm, quantize):
    common = "prompts=2,timesteps=3,steps=6"
    with_branch, without = (quantize(audioldm, f"sqd@w4a8[{common},rank={rank}]") for rank in (8, 0))
    pairs = zip(with_branch.report.layers, without.report.layers, strict=True)
    assert all(one.weight_mse < 0.95 * other.weight_mse for one, other in pairs)
    layer = quantized_layers(with_branch.module)["mid_block.attentions.0.proj_in"]
    weight = audioldm.backbone.mid_block.attentions[0].proj_in.weight * over_inputs(layer.input_scale, layer.weight)
    error = (weight - layer.weight).flatten(1)
    left = error - layer.low_rank_up.float() @ layer.low_rank_down.float().flatten(1)
    assert float(left.square().sum()) == pytest.approx(float(torch.linalg.svdvals(error)[8:].square().sum()), rel=0.01)
    static = quantized_layers(quantize(audioldm, f"sqd@w4a8[{common},inputs=static]").module)
    assert {layer.parts.timesteps for layer in static.values()} == {3}
