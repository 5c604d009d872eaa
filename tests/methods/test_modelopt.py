"""ModelOpt's bridge: each layer computes what ModelOpt's does, from our checkpoint; without the package it says so."""

from __future__ import annotations

import pytest
import torch

from admbench import methods
from admbench.errors import PluginError, UsageError
from admbench.methods.bridges.modelopt import calibrated
from admbench.methods.core.checkpoint import formats
from admbench.methods.core.layers.quantized import quantized_layers

SPEC = "modelopt-int8@w8a8[prompts=2,timesteps=3,steps=6]"


@pytest.mark.parametrize("smooth", [False, True])
def test_a_layer_computes_what_modelopts_does(smooth, audioldm, prompts, predict, tmp_path):
    pytest.importorskip("modelopt.torch.quantization")
    method = methods.from_spec(SPEC.replace("]", f",smooth={str(smooth).lower()}]"))
    calibration = method.calibrate(audioldm, prompts, seed=0)
    made = method.quantize(audioldm, calibration)
    theirs = calibrated(audioldm, calibration, smooth=smooth)
    ours = quantized_layers(made.module)
    assert len(ours) > 70
    assert any(layer.input_scale is not None for layer in ours.values()) is smooth
    equal = 0
    for name, layer in ours.items():
        other = theirs.get_submodule(name)
        inputs = torch.randn(2, layer.shape[1], *([8, 4] if len(layer.shape) > 2 else []))
        bound = other.input_quantizer.amax
        if smooth and layer.input_scale is not None:
            inputs = inputs * layer.input_scale.view(1, -1, *[1] * (inputs.ndim - 2))
        inputs = inputs / inputs.abs().max() * bound
        with torch.no_grad():
            apart = (layer(inputs) - other(inputs)).abs().max()
        step = bound / 127 * other.weight.abs().max()  # an input between two codes goes to either
        assert apart < 3 * step, name
        equal += int(apart < 1e-4)
    assert equal > 0.7 * len(ours)
    made.pack(tmp_path)
    assert torch.equal(predict(audioldm, formats.load(tmp_path)), predict(audioldm, made.module))
    exact = predict(audioldm)
    own, other = ((predict(audioldm, one) - exact).square().mean() for one in (made.module, theirs))
    assert 0.5 * other < own < 2 * other < 0.1 * exact.square().mean()


def test_it_says_which_bits_it_does_and_how_to_get_the_package(audioldm, prompts, monkeypatch):
    with pytest.raises(UsageError, match=r"does not do w4a8; expected modelopt-int8@w8a8$"):
        methods.from_spec("modelopt-int8@w4a8")
    method = methods.from_spec(SPEC)
    monkeypatch.setattr(type(method), "requires", ("no-such-distribution",))
    with pytest.raises(PluginError, match="pip install no-such-distribution"):
        method.quantize(audioldm, method.calibrate(audioldm, prompts, seed=0))
