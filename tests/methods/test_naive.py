"""`naive` on the two kinds of backbone."""

import pytest
import torch
from torch import nn

from admbench import methods
from admbench.errors import UsageError
from admbench.methods.core.layers.kinds import quantizable_layers
from admbench.methods.core.layers.quantized import quantized_layers


def relative_error(prediction: torch.Tensor, target: torch.Tensor) -> float:
    return ((prediction - target).norm() / target.norm()).item()


def test_more_bits_are_closer_to_full_precision(model, quantize, predict):
    target = predict(model)
    specs = ["naive@w8a8", "naive@w6a8", "naive@w4a8", "naive@w3a8", "naive@w2a8"]
    errors = [relative_error(predict(model, quantize(model, spec).module), target) for spec in specs]
    assert errors == sorted(errors)
    assert errors[0] < 0.1 < errors[-1]


def test_every_layer_is_quantized_and_reported(model, quantize):
    result = quantize(model, "naive@w4a6")
    layers = {layer.name: layer for layer in result.report.layers}
    assert layers.keys() == quantizable_layers(model.backbone).keys() == quantized_layers(result.module).keys()
    assert result.report.unquantized == ()
    for name, layer in layers.items():
        edge = name in ("conv_in", "conv_out")
        assert (layer.weight_bits, layer.activation_bits) == ((8, 8) if edge else (4, 6))
        assert layer.weight_granularity == "channel"
        assert 0 < layer.weight_scale_min <= layer.weight_scale_max
        assert layer.weight_sqnr_db > (35 if edge else 12)
        assert layer.activation_low <= 0 <= layer.activation_high
    assert result.report.simulated
    assert result.report.parameters == sum(parameter.numel() for parameter in model.backbone.parameters())
    assert 0.9 < result.report.quantized_fraction < 1
    assert 4 < result.report.nominal_bits_per_weight < 6
    assert type(result.module) is type(model.backbone)


def test_w16a16_is_full_precision_bit_for_bit(model, quantize, predict):
    result = quantize(model, "naive@w16a16")
    assert torch.equal(predict(model, result.module), predict(model))
    assert not result.report.simulated
    assert result.report.quantized_fraction == 0
    assert result.report.nominal_bits_per_weight == 32


def test_16_leaves_one_side_alone(audioldm, quantize):
    weights_only = quantized_layers(quantize(audioldm, "naive@w4a16").module)
    assert all(layer.activation_quantizer is None for layer in weights_only.values())
    original = quantizable_layers(audioldm.backbone)
    for name, layer in quantized_layers(quantize(audioldm, "naive@w16a4").module).items():
        assert layer.activation_quantizer is not None
        assert torch.equal(layer.weight, original[name].weight)


def test_one_scale_per_tensor_is_the_option(audioldm, quantize, predict):
    target = predict(audioldm)
    per_tensor = quantize(audioldm, "naive@w4a8[weights=tensor]")
    assert {layer.weight_granularity for layer in per_tensor.report.layers} == {"tensor"}
    assert per_tensor.method.config["weights"] == "tensor"
    per_channel = quantize(audioldm, "naive@w4a8")
    errors = [relative_error(predict(audioldm, result.module), target) for result in (per_channel, per_tensor)]
    assert errors[0] < errors[1]


def test_ranges_can_clip_outliers(audioldm, quantize):
    with torch.no_grad():
        audioldm.backbone.mid_block.resnets[0].conv1.weight[0, 0, 0, 0] = 3
    widest, percentile, mse = (
        {layer.name: layer for layer in quantize(audioldm, f"naive@w4a4[ranges={rule}]").report.layers}
        for rule in ("minmax", "percentile", "mse")
    )
    assert all(mse[name].weight_mse <= widest[name].weight_mse for name in widest)
    for clipped in (percentile, mse):
        assert all(widest[name].activation_low <= clipped[name].activation_low + 1e-6 for name in widest)
    assert mse["mid_block.resnets.0.conv1"].weight_scale_max < widest["mid_block.resnets.0.conv1"].weight_scale_max


def test_quantizing_twice_gives_the_same(audioldm, quantize, predict):
    first, second = (predict(audioldm, quantize(audioldm, "naive@w4a8").module) for _ in range(2))
    assert torch.equal(first, second)


def test_the_model_keeps_its_own_backbone(audioldm, quantize, predict):
    before = predict(audioldm)
    quantize(audioldm, "naive@w2a2")
    assert torch.equal(predict(audioldm), before)


def test_weights_alone_need_no_calibration(audioldm, prompts):
    method = methods.from_spec("naive@w4a16")
    assert method.calibration_key(audioldm, prompts, seed=0) is None
    assert method.calibrate(audioldm, prompts, seed=0) is None


def test_methods_of_the_same_recipe_share_a_calibration_set(audioldm, prompts):
    keys = {
        methods.from_spec(spec).calibration_key(audioldm, prompts, seed=0)
        for spec in ("naive@w4a8", "naive@w8a4[weights=tensor]")
    }
    assert len(keys) == 1
    assert keys != {methods.from_spec("naive@w4a8[preset=paper,prompts=16]").calibration_key(audioldm, prompts, seed=0)}


def test_a_calibration_set_is_asked_for_where_it_is_missing(audioldm):
    with pytest.raises(UsageError, match="needs a calibration set of tiny-audioldm"):
        methods.from_spec("naive@w4a8").quantize(audioldm, None)


def test_a_calibration_set_of_other_weights_is_refused(audioldm, other_audioldm, prompts):
    method = methods.from_spec("naive@w4a8[prompts=1,timesteps=1,steps=1]")
    with pytest.raises(UsageError, match="drawn from"):
        method.quantize(audioldm, method.calibrate(other_audioldm, prompts, seed=0))


def test_a_backbone_without_named_ends_is_quantized_by_its_order_of_execution(audioldm, quantize):
    class Backwards(nn.Module):
        """Runs its last layer first."""

        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList([nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)])
            self.never = nn.Linear(2, 2)

        def forward(self, sample: torch.Tensor) -> torch.Tensor:
            for layer in reversed(self.layers):
                sample = layer(sample)
            return sample

    audioldm.backbone = Backwards()
    audioldm.call_backbone = lambda inputs: audioldm.backbone(inputs["sample"])
    for spec, activation_bits in [("naive@w3a4", (8, 4, 8)), ("naive@w3a16", (None,) * 3)]:
        report = quantize(audioldm, spec).report
        quantized = [layer for layer in report.layers if layer.name != "never"]
        assert [layer.weight_bits for layer in quantized] == [8, 3, 8]
        assert tuple(layer.activation_bits for layer in quantized) == activation_bits
    assert quantize(audioldm, "naive@w3a4").report.unquantized == ("never",)
    assert quantize(audioldm, "naive@w16a16").report.layers == ()


def test_layers_of_zeros_and_constant_inputs_do_no_harm(audioldm, quantize, predict):
    with torch.no_grad():
        audioldm.backbone.mid_block.resnets[0].conv1.weight.zero_()
        audioldm.backbone.class_embedding.weight.zero_()
        audioldm.backbone.class_embedding.bias.zero_()
    for spec in ("naive@w4a8", "naive@w8a8", "naive@w2a2"):
        assert bool(torch.isfinite(predict(audioldm, quantize(audioldm, spec).module)).all())


def test_an_averaged_range_lies_within_the_widest(audioldm, quantize):
    """Every batch's range is within the range of all, and so is their average; one batch alone has just its own."""
    widest, averaged = (quantize(audioldm, f"naive@w8a8[ranges={rule},prompts=12]") for rule in ("minmax", "ema"))
    for wide, inner in zip(widest.report.layers, averaged.report.layers, strict=True):
        slack = (wide.activation_high - wide.activation_low) / 255  # a step: the zero point is a whole number
        assert wide.activation_low - slack <= inner.activation_low
        assert inner.activation_high <= wide.activation_high + slack
    assert any(
        inner.activation_high < wide.activation_high
        for wide, inner in zip(widest.report.layers, averaged.report.layers, strict=True)
    )
