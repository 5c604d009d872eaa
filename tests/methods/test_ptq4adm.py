"""`ptq4adm`: its parts by default, the size that was asked for, and packed checkpoints of mixed bits."""

from collections import Counter

import pytest
import torch
from safetensors import safe_open

from admbench import methods
from admbench.errors import UsageError
from admbench.methods.core.checkpoint.reading import load
from admbench.methods.core.layers.allocation import float_bytes, weight_bytes
from admbench.methods.core.layers.kinds import quantizable_layers
from admbench.methods.core.layers.quantized import quantized_layers
from admbench.methods.core.numbers.scheme import weight_scheme

QUICK = "prompts=4,timesteps=2,steps=3,iterations=2,calibration=activation-aware"


def saved(model, bits):
    """Share of the backbone's bytes that the same bits everywhere save."""
    layers = quantizable_layers(model.backbone).values()
    floats = sum(weight_bytes(layer, None) for layer in layers)
    return (floats - sum(weight_bytes(layer, weight_scheme(bits, "channel")) for layer in layers)) / float_bytes(
        model.backbone
    )


def between(model, share):
    """A reduction between that of 8 bits everywhere and that of 4."""
    return round(saved(model, 8) + share * (saved(model, 4) - saved(model, 8)), 4)


def test_bits_are_mixed_to_the_size_that_was_asked_for(model, quantize, predict, tmp_path):
    reduction = between(model, 0.6)
    result = quantize(model, f"ptq4adm@w4a8[{QUICK},reduction={reduction}]")
    by_name = {layer.name: layer.weight_bits for layer in result.report.layers}
    assert Counter(by_name.values()).keys() == {4, 8}
    assert by_name["conv_in"] == by_name["conv_out"] == 8

    result.pack(tmp_path)
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        stored = [file.get_tensor(name) for name in file.keys()]  # noqa: SIM118
    bytes_stored = sum(tensor.numel() * tensor.element_size() for tensor in stored)
    inputs = 5 * len(by_name)  # a scale and a zero point of each layer's input, which the weights' size leaves out
    assert 0 <= float_bytes(model.backbone) * (1 - reduction) - (bytes_stored - inputs) < 2000
    assert torch.equal(predict(model, load(tmp_path)), predict(model, result.module))


def test_a_size_out_of_reach_is_told_what_is_in_reach(audioldm, quantize):
    expected = r"reduction=0.95 is out of reach: with 4 bits everywhere tiny-audioldm saves 0\.\d+"
    with pytest.raises(UsageError, match=expected):
        quantize(audioldm, f"ptq4adm@w4a8[{QUICK},reduction=0.95]")


def test_w8a8_has_nothing_to_allot(audioldm, quantize):
    result = quantize(audioldm, f"ptq4adm@w8a8[{QUICK}]")
    assert {layer.weight_bits for layer in result.report.layers} == {8}


@pytest.mark.parametrize("spec", ["w4a16", "w16a8"])
def test_16_leaves_one_side_alone(audioldm, quantize, spec):
    result = quantize(audioldm, f"ptq4adm@{spec}[{QUICK},reduction={between(audioldm, 0.5)}]")
    for layer in quantized_layers(result.module).values():
        assert (layer.activation_quantizer is None) == (spec == "w4a16")
        assert (layer.weight_quantizer is None) == (spec == "w16a8")


def test_w16a16_is_full_precision_bit_for_bit(model, quantize, predict):
    assert torch.equal(predict(model, quantize(model, "ptq4adm@w16a16").module), predict(model))


def test_its_calibration_covers_prompts_and_activations_and_its_summary_says_where_it_is_from(audioldm):
    method = methods.from_spec("ptq4adm@w4a8")
    assert method.config.recipe_for(audioldm).prompt_source == "coverage-prompt"
    assert method.config.recipe_for(audioldm).sampler == "activation-aware"
    assert "reconstructed from the abstract" in method.summary
