"""`bias-correction` keeps the contract of methods, and leaves no layer with a mean error that its bias could take."""

import pytest
from bias_correction import mean_errors

from admbench import methods
from admbench.bench.conformance import check_plugin
from admbench.bench.conformance.tiny_models import tiny_audioldm, tiny_tango
from admbench.methods.core.layers.quantized import quantized_layers


@pytest.mark.parametrize("bits", ["w4a8", "w4a16", "w16a8"])
def test_it_keeps_the_contract(bits):
    failed = [str(finding) for finding in check_plugin(f"bias-correction@{bits}") if finding.state == "failed"]
    assert failed == []


@pytest.mark.parametrize("make", [tiny_audioldm, tiny_tango])
def test_the_mean_error_of_a_layer_with_a_bias_is_gone(make):
    model = make()
    method = methods.from_spec("bias-correction@w3a4[prompts=2,timesteps=2,steps=2]")
    calibration = method.calibrate(model, ["a dog barks", "rain falls"], seed=0)
    corrected = quantized_layers(method.quantize(model, calibration).module)
    plain = quantized_layers(methods.from_spec("naive@w3a4").quantize(model, calibration).module)
    before, after = (mean_errors(model, calibration, layers) for layers in (plain, corrected))
    biased = [name for name, layer in corrected.items() if layer.bias is not None and name in after]
    assert len(biased) > 20
    for name in biased:
        assert after[name].abs().max() < 1e-5 < before[name].abs().max()
