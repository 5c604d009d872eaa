"""Quantized operands of attention."""

import copy

import pytest
import torch

from admbench.methods.core.layers.attention import (
    AttentionSites,
    attention_sites,
    attentions,
    set_sites,
    watch_operands,
)
from admbench.methods.core.numbers.codebooks import Log2Quantizer
from admbench.methods.core.numbers.quantizer import Quantizer
from admbench.methods.core.numbers.scheme import Scheme, activation_scheme

LOG2 = Scheme(bits=8, granularity="tensor", symmetric=False, codebook="log2")


def test_sites_that_round_nothing_change_nothing_but_the_order_of_sums(model, predict):
    quantized = copy.deepcopy(model.backbone)
    names = list(attentions(quantized))
    assert names
    for name in names:
        set_sites(quantized, name, AttentionSites({}))
    torch.testing.assert_close(predict(model, quantized), predict(model), rtol=1e-4, atol=1e-5)


def test_operands_are_seen_and_attention_weights_sum_to_one(model, predict):
    watched, seen = copy.deepcopy(model.backbone), {}
    watch_operands(watched, lambda name, operand, values: seen.setdefault((name, operand), []).append(values))
    predict(model, watched)
    assert {name for name, _ in seen} == set(attentions(model.backbone))
    assert {operand for _, operand in seen} == {"query", "key", "softmax", "value"}
    for (_, operand), values in seen.items():
        if operand == "softmax":
            torch.testing.assert_close(values[0].sum(-1), torch.ones(values[0].shape[:-1]))


@pytest.mark.parametrize("operand", ["query", "key", "softmax", "value"])
def test_fewer_bits_in_an_operand_are_further_from_full_precision(audioldm, predict, operand):
    exact, errors = predict(audioldm), {}
    for bits in (8, 3):
        quantized = copy.deepcopy(audioldm.backbone)
        top = 1.0 if operand == "softmax" else 3.0
        quantizer = Quantizer.from_range(activation_scheme(bits), torch.tensor(top - 1 - top * 1.0), torch.tensor(top))
        for name in attentions(quantized):
            set_sites(quantized, name, AttentionSites({operand: quantizer}))
        errors[bits] = (predict(audioldm, quantized) - exact).square().mean()
    assert 0 < errors[8] < errors[3]


def test_sites_tell_their_schemes_and_are_found(audioldm):
    quantized = copy.deepcopy(audioldm.backbone)
    name = next(iter(attentions(quantized)))
    set_sites(quantized, name, AttentionSites({"softmax": Log2Quantizer.fit(LOG2, torch.tensor(1.0))}))
    found = attention_sites(quantized)
    assert list(found) == [name]
    assert found[name].scheme.softmax == LOG2
    assert found[name].scheme.query is None
    with pytest.raises(KeyError):
        set_sites(quantized, "conv_in", AttentionSites({}))
