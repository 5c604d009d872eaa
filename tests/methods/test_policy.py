"""Which layer gets which bits."""

import copy

import pytest
import torch
from torch import nn

from admbench.errors import CheckpointError, UsageError
from admbench.methods.core.layers.policy import Policy, backbone_ends, quantize_layers, uniform_policy
from admbench.methods.core.layers.quantized import quantized_layers
from admbench.methods.core.numbers.quantizer import Quantizer
from admbench.methods.core.numbers.scheme import FLOAT, LayerScheme, weight_scheme

ENDS = ("conv_in", "conv_out")


@pytest.mark.parametrize(
    ("weight_bits", "activation_bits", "inner", "edge"),
    [(4, 8, (4, 8), (8, 8)), (3, 4, (3, 4), (8, 8)), (4, 16, (4, None), (8, None)), (16, 4, (None, 4), (None, 8))],
)
def test_first_and_last_layer_keep_at_least_8_bits_on_both_sides(weight_bits, activation_bits, inner, edge):
    def bits(scheme: LayerScheme) -> tuple[int | None, int | None]:
        return scheme.weight and scheme.weight.bits, scheme.activation and scheme.activation.bits

    policy = uniform_policy(weight_bits, activation_bits, ENDS)
    assert bits(policy.scheme_of("time_embedding.linear_1")) == inner
    assert bits(policy.scheme_of("conv_in")) == bits(policy.scheme_of("conv_out")) == edge


def test_the_first_rule_that_matches_decides_and_none_leaves_the_layer_alone():
    four, eight = (LayerScheme(weight=weight_scheme(bits, "channel")) for bits in (4, 8))
    policy = Policy((("*.attn1.to_q", eight), ("down.*", four)))
    assert policy.scheme_of("down.0.attn1.to_q") == eight
    assert policy.scheme_of("down.0.conv") == four
    assert policy.scheme_of("up.0.conv") == FLOAT


def test_ends_are_found_by_name_else_by_the_order_of_a_run(audioldm):
    assert backbone_ends(audioldm.backbone) == ("conv_in", "conv_out")
    chain = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    assert backbone_ends(chain, ["1", "0"]) == ("1", "0")
    with pytest.raises(UsageError, match="Sequential has no conv_in and conv_out"):
        backbone_ends(chain)


def test_the_original_is_left_as_it_is_and_shares_nothing_with_the_copy(audioldm):
    before = copy.deepcopy(audioldm.backbone.state_dict())
    policy = Policy((("conv_out", FLOAT), ("*", LayerScheme(weight=weight_scheme(4, "channel")))))
    quantized = quantize_layers(
        audioldm.backbone, policy, fit_weight=Quantizer.min_max, fit_activation=lambda scheme, name: None
    )
    assert "conv_out" not in quantized_layers(quantized)
    with torch.no_grad():
        for parameter in quantized.parameters():
            parameter.add_(1)
    after = audioldm.backbone.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_a_layer_that_never_runs_is_left_alone():
    chain = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    fitted = Quantizer.min_max(weight_scheme(8, "tensor"), torch.ones(2, 2))
    quantized = quantize_layers(
        chain,
        uniform_policy(4, 8, ()),
        fit_weight=Quantizer.min_max,
        fit_activation=lambda scheme, name: fitted if name == "0" else None,
    )
    assert list(quantized_layers(quantized)) == ["0"]


def test_a_weight_that_is_not_finite_is_an_error_that_names_its_layer(audioldm):
    with torch.no_grad():
        audioldm.backbone.mid_block.resnets[0].conv1.weight[0, 0, 0, 0] = float("nan")
    with pytest.raises(CheckpointError, match=r"layer mid_block\.resnets\.0\.conv1: .*NaN"):
        quantize_layers(
            audioldm.backbone,
            uniform_policy(4, 16, ENDS),
            fit_weight=Quantizer.min_max,
            fit_activation=lambda scheme, name: None,
        )
