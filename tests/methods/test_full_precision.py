"""`fp32` and `bf16`: the same door, no integers."""

import torch


def test_fp32_is_the_model_bit_for_bit(model, quantize, predict):
    result = quantize(model, "fp32")
    assert torch.equal(predict(model, result.module), predict(model))
    assert result.report.layers == ()
    assert (result.report.quantized_fraction, result.report.nominal_bits_per_weight) == (0, 32)
    assert not result.report.simulated


def test_bf16_computes_in_bfloat16_and_answers_in_float32(model, quantize, predict):
    result = quantize(model, "bf16")
    assert {parameter.dtype for parameter in result.module.parameters()} == {torch.bfloat16}
    prediction, target = predict(model, result.module), predict(model)
    assert prediction.dtype == torch.float32
    assert torch.equal(prediction, prediction.bfloat16().float())
    assert 0 < (prediction - target).norm() / target.norm() < 0.05
    assert (result.report.quantized_fraction, result.report.nominal_bits_per_weight) == (1, 16)
    assert not result.report.simulated


def test_the_model_stays_in_float32(audioldm, quantize):
    quantize(audioldm, "bf16")
    assert {parameter.dtype for parameter in audioldm.backbone.parameters()} == {torch.float32}


def test_a_tuple_is_cast_back_too(audioldm, quantize):
    backbone = quantize(audioldm, "bf16").module
    sample = torch.randn(2, 8, 8, 4)
    with torch.no_grad():
        (prediction,) = backbone(
            sample, 10, encoder_hidden_states=None, class_labels=torch.randn(2, 64), return_dict=False
        )
    assert prediction.dtype == torch.float32
