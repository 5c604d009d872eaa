"""Integer kernels give what simulated quantization gives, or say why they cannot."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from diffusers.models.embeddings import get_1d_rotary_pos_embed
from diffusers.models.transformers.stable_audio_transformer import StableAudioDiTModel
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from admbench.methods.core.kernels import KERNELS, select, with_kernels
from admbench.methods.core.kernels.blocks import BLOCKS, InPlaceResnetBlock2D
from admbench.methods.core.kernels.codes import InputCodes
from admbench.methods.core.kernels.cuda import IntMMLinear
from admbench.methods.core.kernels.onednn import Int8Conv2d, Int8Linear
from admbench.methods.core.kernels.select import choose, default_glue, resident_bytes
from admbench.methods.core.kernels.transformer_blocks import FusedAttention, FusedGEGLU, InPlaceDiTBlock
from admbench.methods.core.kernels.weights import Weights
from admbench.methods.core.layers.kinds import replace_layer
from admbench.methods.core.layers.quantized import QuantizedLayer, quantized_layers
from admbench.methods.core.numbers.dynamic import DynamicQuantizer
from admbench.methods.core.numbers.quantizer import Quantizer
from admbench.methods.core.numbers.scheme import Scheme, activation_scheme, weight_scheme
from admbench.methods.core.numbers.timesteps import Clock, TimestepTable
from admbench.methods.core.processor import has_bf16, has_vnni, product_refusal

from .rounding import FLIPS, assert_layers_agree, assert_near_exact

needs_vnni = pytest.mark.skipif(not has_vnni(), reason="8-bit products saturate on this processor")
W8A8 = pytest.param("naive@w8a8", marks=needs_vnni)
"""Among specs: the one whose layers have no kernel without VNNI."""


def skip_if_saturating(weight_bits: int, activation_bits: int) -> None:
    if product_refusal(1, 2**activation_bits - 1, 2 ** (weight_bits - 1) - 1) is not None:
        pytest.skip("products of these bits saturate on this processor")


LAYERS = {
    "linear": (lambda: nn.Linear(64, 48), (5, 64)),
    "linear, sequence": (lambda: nn.Linear(32, 16), (3, 7, 32)),
    "linear, odd, no bias": (lambda: nn.Linear(7, 5, bias=False), (1, 7)),
    "conv1d": (lambda: nn.Conv1d(6, 4, 3, stride=2, padding=1), (2, 6, 9)),
    "conv1d, valid": (lambda: nn.Conv1d(6, 4, 3), (2, 6, 9)),
    "conv1d, dilated, grouped, odd": (lambda: nn.Conv1d(9, 3, 5, dilation=2, groups=3), (8, 9, 31)),
    "conv2d": (lambda: nn.Conv2d(32, 16, 3, padding=1), (2, 32, 8, 4)),
    "conv2d, 1x1": (lambda: nn.Conv2d(16, 48, 1), (3, 16, 9, 5)),
    "conv2d, odd channels, not square": (lambda: nn.Conv2d(7, 5, (3, 5), padding=(1, 2)), (1, 7, 11, 6)),
    "conv2d, strided": (lambda: nn.Conv2d(6, 4, 3, stride=(2, 1), padding=1, bias=False), (8, 6, 9, 7)),
    "conv2d, grouped and dilated": (lambda: nn.Conv2d(6, 4, 3, groups=2, dilation=2), (5, 6, 9, 8)),
    "conv2d, depthwise": (lambda: nn.Conv2d(8, 8, 3, groups=8, padding=1), (2, 8, 6, 5)),
    "conv2d, same padding": (lambda: nn.Conv2d(6, 4, 3, padding="same", dilation=2), (1, 6, 5, 9)),
}


def quantized(layer: nn.Module, weight: Scheme | None, activation: Scheme | None, x: Tensor) -> QuantizedLayer:
    return QuantizedLayer.from_float(
        layer,
        Quantizer.min_max(weight, layer.weight) if weight else None,
        Quantizer.min_max(activation, x) if activation else None,
    )


@torch.no_grad()
def assert_equal_to_simulation(layer: QuantizedLayer, x: Tensor, expected_kernel: str) -> None:
    kernel, reason = choose(layer, "cpu", KERNELS)
    assert kernel is not None, reason
    assert kernel.name == expected_kernel
    out = kernel.build(layer)(x)
    simulated = layer(x)
    assert out.dtype == torch.float32
    assert out.shape == simulated.shape
    assert_near_exact(layer, x, out, simulated)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("bits", [(8, 8), (4, 8), (3, 8), (2, 8), (4, 4), (8, 6)])
@pytest.mark.parametrize("granularity", ["channel", "tensor"])
def test_8_bit_products_equal_simulated_quantization(name, bits, granularity):
    skip_if_saturating(*bits)
    torch.manual_seed(0)
    make, shape = LAYERS[name]
    layer, x = make(), torch.randn(shape) + 0.7  # not centred: the input's zero point is none of the usual ones
    subject = quantized(layer, weight_scheme(bits[0], granularity), activation_scheme(bits[1]), x)
    assert_equal_to_simulation(subject, x, f"onednn-int8-{subject.kind}")


DYNAMIC = [Scheme(bits=8, granularity=rows, symmetric=False, dynamic=True) for rows in ("token", "sample")]
DYNAMIC += [Scheme(bits=8, granularity="token", symmetric=True, dynamic=True)]
DYNAMIC += [Scheme(bits=4, granularity="token", symmetric=False, dynamic=True)]


@pytest.mark.parametrize("scheme", DYNAMIC, ids=lambda scheme: f"{scheme.granularity}-{scheme.bits}-{scheme.symmetric}")
@pytest.mark.parametrize("bits", [8, 4, 2])
@pytest.mark.parametrize("name", [name for name in LAYERS if name.startswith("linear")])
def test_inputs_with_a_range_per_row_equal_simulated_quantization(name, bits, scheme):
    skip_if_saturating(bits, scheme.bits)
    torch.manual_seed(0)
    make, shape = LAYERS[name]
    layer, x = make(), torch.randn(shape) * torch.logspace(-3, 3, shape[0]).view(-1, *[1] * (len(shape) - 1)) + 0.7
    quantizer = Quantizer.min_max(weight_scheme(bits, "channel"), layer.weight)
    subject = QuantizedLayer.from_float(layer, quantizer, DynamicQuantizer(scheme, -1))
    assert_equal_to_simulation(subject, x, "onednn-int8-linear-dynamic")


@needs_vnni
@torch.no_grad()
def test_a_row_of_zeros_and_rows_of_other_sizes_do_not_touch_each_other():
    torch.manual_seed(0)
    layer, token = nn.Linear(64, 16), DYNAMIC[0]
    quantizer = Quantizer.min_max(weight_scheme(8, "channel"), layer.weight)
    kernel = choose(QuantizedLayer.from_float(layer, quantizer, DynamicQuantizer(token, -1)), "cpu")[0]
    product = kernel.build(QuantizedLayer.from_float(layer, quantizer, DynamicQuantizer(token, -1)))
    x = torch.stack([torch.zeros(64), torch.randn(64) * 1e-4, torch.randn(64) * 1e4])
    assert torch.equal(product(x)[0], layer.bias)
    torch.testing.assert_close(product(x), torch.cat([product(row[None]) for row in x]))


@pytest.mark.parametrize("activation", [activation_scheme(8), activation_scheme(4), *DYNAMIC], ids=str)
@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("rows", [(1,), (40,), (2, 9)])
@torch.no_grad()
def test_the_arithmetic_of_the_cuda_kernel_is_that_of_the_simulation(rows, bits, activation):
    """Its operator runs on the CPU too."""
    skip_if_saturating(bits, activation.bits)
    torch.manual_seed(0)
    layer, x = nn.Linear(64, 48), torch.randn(*rows, 64) + 0.7
    quantizer = DynamicQuantizer(activation, -1) if activation.dynamic else Quantizer.min_max(activation, x)
    weight = Quantizer.min_max(weight_scheme(bits, "channel"), layer.weight)
    subject = QuantizedLayer.from_float(layer, weight, quantizer)
    out = IntMMLinear(subject)(x)
    assert out.shape == subject(x).shape
    assert_near_exact(subject, x, out)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_the_cuda_kernel_on_a_gpu():
    x = torch.randn(40, 64)
    subject = quantized(nn.Linear(64, 48), weight_scheme(8, "channel"), activation_scheme(8), x).cuda()
    kernel, reason = choose(subject, "cuda")
    assert kernel is not None, reason
    torch.testing.assert_close(kernel.build(subject)(x.cuda()), subject(x.cuda()))


PARTS = {
    "scale": lambda n, out: {"input_scale": torch.rand(n) + 0.5},
    "shift": lambda n, out: {"input_shift": torch.randn(n)},
    "branch": lambda n, out: {"low_rank": 2},
    "all": lambda n, out: {"input_scale": torch.rand(n) + 0.5, "input_shift": torch.randn(n), "low_rank": 2},
    "rotation": lambda n, out: {"rotation": 4},
    "all, rotated": lambda n, out: PARTS["all"](n, out) | {"rotation": 16},
}


NO_PADDING = ["linear", "linear, sequence", "linear, odd, no bias", "conv1d, valid", "conv2d, 1x1"]
ROTATED = [part for part in PARTS if "rotat" in part]
CAN_BE_ROTATED = ["linear", "linear, sequence", "conv2d, 1x1"]
"""Of a multiple of 16 channels."""
LAYERS_WITH_PARTS = [
    (name, ranges, part)
    for name in NO_PADDING
    for ranges in ("static", "dynamic")
    for part in PARTS
    if (ranges == "static" or name.startswith("linear")) and (part not in ROTATED or name in CAN_BE_ROTATED)
]
LAYERS_WITH_PARTS += [(name, "static", part) for name in ("conv1d", "conv2d, strided") for part in ("scale", "branch")]


@pytest.mark.parametrize(("name", "ranges", "part"), LAYERS_WITH_PARTS)
@needs_vnni
def test_scaled_shifted_and_rotated_inputs_and_low_rank_branches_are_computed_beside_the_product(name, ranges, part):
    torch.manual_seed(0)
    make, shape = LAYERS[name]
    layer, x = make(), torch.randn(shape) + 0.7
    parts = PARTS[part](layer.weight.shape[1], len(layer.weight))
    if "low_rank" in parts:
        down = torch.randn(2, *layer.weight.shape[1:]) * 0.1
        parts["low_rank"] = down.half(), torch.randn(len(layer.weight), 2).half()
    weight = Quantizer.min_max(weight_scheme(8, "channel"), layer.weight)
    prepared = QuantizedLayer(layer, weight_codes=weight.codes(layer.weight), weight_quantizer=weight, **parts)
    seen = prepared.prepare_input(x)
    activation = (
        DynamicQuantizer(DYNAMIC[0], -1) if ranges == "dynamic" else Quantizer.min_max(activation_scheme(8), seen)
    )
    subject = QuantizedLayer(
        layer,
        weight_codes=weight.codes(layer.weight),
        weight_quantizer=weight,
        activation_quantizer=activation,
        **parts,
    )
    suffix = "-dynamic" if ranges == "dynamic" else ""
    assert_equal_to_simulation(subject, x, f"onednn-int8-{subject.kind}{suffix}")


def test_what_a_kernel_computes_beside_the_product_is_named_and_tried():
    """A part that layers get later is refused until a kernel names it: one that took all by themselves left it out."""
    tried = {"low_rank": "rank"}
    made = {tried.get(key, key) for make in PARTS.values() for key in make(16, 16)} | {"timesteps"}
    assert set().union(*(kernel.parts for kernel in KERNELS)) == made


@pytest.mark.parametrize("name", ["linear", "linear, sequence", "conv1d", "conv2d", "conv2d, strided"])
@pytest.mark.parametrize("timesteps", [[900], [10], [500, 500], [900, 10]])
@needs_vnni
def test_a_scale_per_timestep_is_that_of_the_call_even_where_rows_differ(name, timesteps):
    torch.manual_seed(0)
    make, shape = LAYERS[name]
    layer, clock = make(), Clock()
    clock.set(torch.tensor(timesteps))
    x = torch.randn(2 * len(timesteps), *shape[1:]) + 0.7
    table = TimestepTable(
        activation_scheme(8),
        torch.tensor([0.01, 0.02, 0.03]),
        torch.tensor([100, 3, 250], dtype=torch.uint8),
        torch.tensor([0.0, 500.0, 999.0]),
        clock,
    )
    subject = QuantizedLayer.from_float(layer, Quantizer.min_max(weight_scheme(8, "channel"), layer.weight), table)
    assert_equal_to_simulation(subject, x, f"onednn-int8-{subject.kind}")


@pytest.mark.parametrize("low", [0.0, -1.0, -3.9, -4.0])
@needs_vnni
def test_any_zero_point_of_the_input_is_exact_under_zero_padding(low):
    torch.manual_seed(0)
    x = torch.rand(2, 8, 6, 5) * 4 + low
    subject = quantized(nn.Conv2d(8, 6, 3, padding=2), weight_scheme(8, "channel"), activation_scheme(8), x)
    assert_equal_to_simulation(subject, x, "onednn-int8-conv2d")


@pytest.mark.parametrize("batch", range(1, 9))
@needs_vnni
def test_every_batch_size(batch):
    torch.manual_seed(batch)
    x = torch.randn(batch, 24, 7, 3)
    subject = quantized(nn.Conv2d(24, 40, 3, padding=1), weight_scheme(8, "channel"), activation_scheme(8), x)
    assert_equal_to_simulation(subject, x, "onednn-int8-conv2d")


@pytest.mark.parametrize("sign", [-1.0, 1.0])
@pytest.mark.parametrize("make", [lambda: nn.Linear(4096, 32), lambda: nn.Conv2d(512, 32, 3)], ids=["linear", "conv2d"])
@needs_vnni
def test_the_largest_codes_do_not_saturate(make, sign):
    """Every input code 255, every weight at the end of its range: the largest sums there are."""
    layer = make()
    nn.init.constant_(layer.weight, sign)
    x = torch.full((2, 4096) if isinstance(layer, nn.Linear) else (1, 512, 4, 3), 2.0)
    subject = quantized(layer, weight_scheme(8, "channel"), activation_scheme(8), x)
    assert subject.activation_quantizer.codes(x).min() == 255
    assert_equal_to_simulation(subject, x, f"onednn-int8-{subject.kind}")


@torch.no_grad()
def test_the_operator_itself_is_exact_at_255_times_minus_128():
    """Weight codes of ours stop at -127; the operator is tried with the last one."""
    if not has_vnni():
        pytest.skip("8-bit products saturate on this processor")
    weights, one = torch.full((16, 1024), -128, dtype=torch.int8), torch.ones(16)
    packed = torch.ops.onednn.qlinear_prepack(weights, None)
    codes, zero = torch.full((3, 1024), 255, dtype=torch.uint8), torch.zeros(16, dtype=torch.int32)
    out = torch.ops.onednn.qlinear_pointwise(
        codes, 1.0, 0, packed, one, zero, None, 1.0, 0, torch.float32, "none", [], ""
    )
    assert torch.equal(out, torch.full((3, 16), -128.0 * 255 * 1024))


@given(
    st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=50),
    st.floats(-50, 0, width=32),
    st.floats(0, 50, width=32),
    st.sampled_from([2, 4, 7, 8]),
)
@settings(max_examples=200, deadline=None)
def test_input_codes_are_those_of_the_quantizer(values, low, high, bits):
    quantizer = Quantizer.from_range(activation_scheme(bits), torch.tensor(low), torch.tensor(high))
    x = torch.tensor(values)
    x = torch.cat([x, quantizer.scale * (torch.arange(-20, 20) + 0.5)])  # ties too
    assert torch.equal(InputCodes(quantizer)(x), quantizer.codes(x))


def test_input_codes_of_a_range_as_good_as_nothing_do_not_wrap_around():
    quantizer = Quantizer.from_range(activation_scheme(8), torch.tensor(-2e-16), torch.tensor(0.0))
    x = torch.tensor([1.0, -1.0, 65_504.0, -65_504.0, 0.0])
    assert torch.equal(InputCodes(quantizer)(x), quantizer.codes(x))


def test_input_codes_keep_shape_and_memory_format():
    quantizer = Quantizer.from_range(activation_scheme(8), torch.tensor(-3.0), torch.tensor(2.0))
    x = torch.randn(2, 5, 4, 3).contiguous(memory_format=torch.channels_last)
    codes = InputCodes(quantizer)(x)
    assert codes.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(codes, quantizer.codes(x))


@pytest.mark.parametrize("shape", [(16, 32), (48, 96), (64, 256), (32, 640)])
@pytest.mark.parametrize("rows", [(1,), (7,), (2, 33)])
def test_4_bit_weights_under_float_inputs_equal_simulated_quantization(shape, rows):
    torch.manual_seed(0)
    features, inputs = shape
    x = torch.randn(*rows, inputs)
    subject = quantized(nn.Linear(inputs, features), weight_scheme(4, "channel"), None, x)
    assert_equal_to_simulation(subject, x, "int4-linear")


REFUSED = {
    "weights in floating point": (nn.Linear(32, 16), None, activation_scheme(8), "weights of 16 bits"),
    "asymmetric 8-bit weights": (
        nn.Linear(32, 16),
        Scheme(bits=8, granularity="channel", symmetric=False),
        activation_scheme(8),
        "asymmetric weights of 8 bits",
    ),
    "convolution of floats": (nn.Conv2d(4, 4, 3), weight_scheme(4, "channel"), None, "activations of 16 bits"),
    "4-bit linear of odd size": (nn.Linear(30, 16), weight_scheme(4, "channel"), None, "multiples of 32 inputs"),
    "uneven padding": (
        nn.Conv2d(4, 4, 2, padding="same"),
        weight_scheme(8, "channel"),
        activation_scheme(8),
        "padding that differs between two sides",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_no_kernel_computes_is_refused_with_the_reason(case):
    layer, weight, activation, message = REFUSED[case]
    kernel, reason = choose(quantized(layer, weight, activation, torch.randn(20)), "cpu", KERNELS)
    assert kernel is None
    assert message in reason


def test_other_devices_and_subclasses_of_layers_are_refused():
    class Split(QuantizedLayer):
        pass

    layer = quantized(nn.Linear(32, 16), weight_scheme(8, "channel"), activation_scheme(8), torch.randn(3))
    assert choose(layer, "mps") == (None, "no integer kernel of a linear for device mps")
    if not torch.cuda.is_available():
        assert choose(layer, "cuda")[1].startswith("cuda-int8-linear: there is no CUDA device")
    layer.__class__ = Split
    assert choose(layer, "cpu") == (None, "no kernel computes a Split")


def test_sums_that_could_overflow_are_refused():
    assert product_refusal(2**31 // (255 * 127), 255, 127) is None or not has_vnni()
    assert "32 bits" in str(product_refusal(2**31 // (255 * 127) + 1, 255, 127))


def test_kernel_names_are_unique_and_each_says_what_it_needs():
    assert len({kernel.name for kernel in KERNELS}) == len(KERNELS)
    assert all(kernel.summary and kernel.instruction_sets for kernel in KERNELS)


@pytest.mark.parametrize("spec", [W8A8, "naive@w4a8", "naive@w3a8", "naive@w4a16"])
def test_a_backbone_with_kernels_predicts_what_the_simulated_one_does(model, quantize, predict, spec):
    backbone = quantize(model, spec).module
    result = with_kernels(backbone, kernels=KERNELS, glue="float32")
    assert type(result.module) is type(backbone)
    assert sum(result.layers.values()) == len(quantized_layers(backbone)) + result.layers.get("float", 0)
    assert result.layers.get("simulated", 0) == len(result.fallbacks) == sum(result.reasons.values())
    if not spec.endswith("a16"):
        # left to simulation is what saturates on this processor, such as the 8 bits of the ends, and nothing else
        assert set(result.layers) - {"simulated"} <= {"onednn-int8-linear", "onednn-int8-conv2d", "float"}
        assert all("without VNNI" in reason for reason in result.reasons)
        assert not (has_vnni() and result.reasons)
    expected, out = predict(model, backbone), predict(model, result.module)
    assert (out - expected).pow(2).mean() <= FLIPS * expected.pow(2).mean()
    layers = with_kernels(backbone, kernels=KERNELS, glue="float32", streamlined=False).module
    assert_layers_agree(backbone, layers, lambda: predict(model, backbone))


@needs_vnni
@pytest.mark.parametrize("spec", ["smoothquant@w8a8", "vidit-q@w4a8", "convrot@w8a8", "sqd@w4a8"])
def test_what_methods_put_around_products_is_in_every_layer_with_a_kernel(model, quantize, predict, spec):
    backbone = quantize(model, spec).module
    result = with_kernels(backbone, kernels=KERNELS, glue="float32", streamlined=False)
    assert result.kernels
    assert_layers_agree(backbone, result.module, lambda: predict(model, backbone))


def test_the_backbone_that_kernels_were_made_from_is_left_as_it_is(model, quantize, predict):
    backbone = quantize(model, "naive@w8a8").module
    before, layers = predict(model, backbone), quantized_layers(backbone)
    with_kernels(backbone)
    assert quantized_layers(backbone) == layers
    assert torch.equal(predict(model, backbone), before)


@pytest.mark.parametrize("spec", [W8A8, "naive@w4a8"])
def test_streamlined_blocks_compute_the_very_same_numbers(model, quantize, predict, monkeypatch, spec):
    backbone = quantize(model, spec).module
    result = with_kernels(backbone, glue="float32")
    streamlined = result.module
    classes = {type(block) for block in streamlined.modules()}
    assert InPlaceResnetBlock2D in classes
    assert FusedGEGLU in classes
    assert not {type(block) for block in backbone.modules()} & set(BLOCKS)
    monkeypatch.setattr(select, "streamline", lambda module, glue, native: {})
    out, expected = predict(model, streamlined), predict(model, with_kernels(backbone).module)
    if result.reasons:  # float convolutions of layers that are simulated add in an order that their layout decides
        assert not has_vnni()
        assert (out - expected).pow(2).mean() <= FLIPS * expected.pow(2).mean()
    else:
        assert torch.equal(out, expected)


@needs_vnni
def test_ends_in_floating_point_do_not_leave_channels_last(audioldm, quantize, predict):
    backbone = quantize(audioldm, "naive@w8a8[first_last_bits=16]").module
    result = with_kernels(backbone)
    assert result.layers["float"] == 2
    layouts = []
    for block in result.module.modules():
        if isinstance(block, Int8Conv2d):
            block.register_forward_pre_hook(
                lambda _, args: layouts.append(args[0].is_contiguous(memory_format=torch.channels_last))
            )
    predict(audioldm, result.module)
    assert all(layouts)
    assert backbone.conv_in.weight.is_contiguous(), "the backbone that it was made from is left as it is"


@pytest.mark.parametrize("spec", [W8A8, "naive@w4a8"])
@torch.no_grad()
def test_attention_between_bfloat16_products_is_40_db_from_float32(model, quantize, spec):
    """Both from the same codes; 8-bit inputs alone cost a layer about as much."""
    backbone = quantize(model, spec).module
    results = [with_kernels(backbone, glue=glue) for glue in ("float32", "bfloat16")]
    assert [result.glue for result in results] == ["float32", "bfloat16"]
    assert results[0].blocks["FusedAttention"] == results[1].blocks["FusedAttention"] > 0
    exactly, rounding = (dict(result.module.named_modules()) for result in results)
    attentions = [(name, exact, rounding[name]) for name, exact in exactly.items() if type(exact) is FusedAttention]
    for name, exact, rounded in attentions:
        torch.manual_seed(0)
        x = torch.randn(2, 32, backbone.get_submodule(name).query_dim)
        has_context = len(exact.projections) == 2
        context = torch.randn(2, 5, 12) if has_context else None
        mask = torch.tensor([[[0.0] * 5], [[0.0, 0.0, 0.0, -1e4, -1e4]]]) if has_context else None
        expected, found = exact(x, context, mask), rounded(x, context, mask)
        error = (found - expected).double().square().mean() / expected.double().square().mean()
        assert found.dtype == torch.float32
        assert -10 * error.log10() > 40, name


@needs_vnni
@torch.no_grad()
def test_blocks_of_a_dit_compute_the_very_same_numbers_and_40_db_from_them_in_bfloat16():
    """Rotary positions on half of each head, fewer heads of keys than of queries, SwiGLU."""
    torch.manual_seed(0)
    network = StableAudioDiTModel(
        in_channels=8,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=4,
        num_key_value_attention_heads=2,
        out_channels=8,
        cross_attention_dim=64,
        time_proj_dim=16,
        global_states_input_dim=12,
        cross_attention_input_dim=12,
    )
    angles = get_1d_rotary_pos_embed(8, 34, use_real=True, repeat_interleave_real=False)
    call = (torch.randn(2, 8, 33), torch.tensor([0.3, 0.3]), torch.randn(2, 5, 12), torch.randn(2, 1, 12), angles)
    for name, layer in list(network.named_modules()):
        if isinstance(layer, nn.Linear) and name.startswith("transformer_blocks"):
            seen: list[Tensor] = []
            hook = layer.register_forward_pre_hook(lambda _, args, seen=seen: seen.append(args[0]))
            network(*call)
            hook.remove()
            replace_layer(network, name, quantized(layer, weight_scheme(8, "channel"), activation_scheme(8), seen[0]))
    plain = with_kernels(network, glue="float32", streamlined=False).module(*call).sample
    exact = with_kernels(network, glue="float32")
    assert {name: exact.blocks[name] for name in ("FusedSwiGLU", "FusedAttention", "InPlaceDiTBlock")} == {
        "FusedSwiGLU": 2,
        "FusedAttention": 4,
        "InPlaceDiTBlock": 2,
    }
    assert torch.equal(exact.module(*call).sample, plain)
    rounded = with_kernels(network, glue="bfloat16")
    for name, block in rounded.module.named_modules():
        if isinstance(block, InPlaceDiTBlock):
            x = torch.randn(2, 34, 64)
            arguments = (None, torch.randn(2, 5, 64), None, angles)
            expected = exact.module.get_submodule(name)(x.clone(), *arguments)
            error = (block(x.clone(), *arguments) - expected).double().square().mean()
            change = (expected - x).double().square().mean()
            assert -10 * (error / change).log10() > 35, name


@pytest.mark.parametrize("spec", [W8A8, "naive@w4a8"])
@torch.no_grad()
def test_streamlined_attention_heeds_the_mask_of_its_context(quantize, make_tango, spec):
    """What the mask leaves out changes nothing."""
    module = with_kernels(quantize(make_tango(), spec).module).module
    attention = next(part for part in module.modules() if type(part) is FusedAttention and part.is_cross_attention)
    x, context = torch.randn(1, 8, 8), torch.randn(1, 5, 12)
    mask = torch.tensor([[[0.0, 0.0, 0.0, -1e4, -1e4]]])
    before = attention(x, context, mask)
    context[:, 3:] = torch.randn(1, 2, 12)
    assert torch.equal(attention(x, context, mask), before)
    context[:, :3] = torch.randn(1, 3, 12)
    assert not torch.equal(attention(x, context, mask), before)


@needs_vnni
@torch.no_grad()
def test_products_of_one_input_are_joined_only_where_it_is_quantized_alike():
    torch.manual_seed(0)
    x = torch.randn(6, 32)

    def made(seen: Tensor) -> Int8Linear:
        return Int8Linear(quantized(nn.Linear(32, 16), weight_scheme(8, "channel"), activation_scheme(8), seen))

    one, two, other = made(x), made(x), made(2 * x)
    assert Int8Linear.joined([one, other]) is None
    joined = Int8Linear.joined([one, two])
    second = joined.part(slice(16, None))
    assert torch.equal(joined(x), torch.cat([one(x), two(x)], dim=-1))
    assert torch.equal(second(x), two(x))


@needs_vnni
@torch.no_grad()
def test_a_product_is_added_to_what_is_there_and_rounded_as_asked():
    torch.manual_seed(0)
    x, there = torch.randn(2, 6, 32), torch.randn(2, 6, 16)
    layer = Int8Linear(quantized(nn.Linear(32, 16), weight_scheme(8, "channel"), activation_scheme(8), x))
    codes, plain = layer.quantize(x), layer(x)
    expected = plain + there
    assert layer.from_codes(codes, onto=there) is there
    assert torch.equal(there, expected)
    assert torch.equal(layer.from_codes(codes, dtype=torch.bfloat16), plain.bfloat16())
    gelu = nn.functional.gelu(plain)
    assert (layer.from_codes(codes, activation="gelu") - gelu).abs().max() <= 1e-6 * gelu.abs().max()


@pytest.mark.parametrize("spec", [W8A8, "naive@w4a8", "naive@w3a8[weights=tensor]"])
def test_weights_unpacked_at_every_call_give_the_same_from_less_memory(model, quantize, predict, spec):
    backbone = quantize(model, spec).module
    once, layer = (with_kernels(backbone, unpack=unpack).module for unpack in ("once", "layer"))
    expected = predict(model, once)
    for _ in range(2):
        assert torch.equal(predict(model, layer), expected)
    quantized_weights = sum(part.weight_codes.numel() for part in quantized_layers(backbone).values())
    saved = 0 if "w8" in spec else 0.4 * quantized_weights
    assert resident_bytes(layer) <= resident_bytes(once) - saved


@given(st.integers(2, 8), st.integers(1, 5), st.integers(1, 9))
@settings(max_examples=30, deadline=None)
def test_packed_weights_come_back(bits, outputs, inputs):
    codes = torch.randint(2**bits, (outputs, inputs), dtype=torch.uint8)
    zero_point = torch.randint(2**bits if bits < 8 else 1, (outputs,), dtype=torch.uint8) + (128 if bits == 8 else 0)
    weights = Weights(codes, zero_point, bits)
    expected = weights.signed()
    assert torch.equal(expected.int(), codes.int() - zero_point.int()[:, None])
    weights.pack()
    assert torch.equal(weights.signed(), expected)
    assert torch.equal(weights.arranged(torch.neg), -expected)


def test_weight_only_quantization_is_simulated_unless_its_kernel_is_asked_for():
    layer = quantized(nn.Linear(32, 16), weight_scheme(4, "channel"), None, torch.randn(3))
    assert choose(layer, "cpu") == (None, "onednn-int8-linear, onednn-int8-linear-dynamic: activations of 16 bits")
    assert choose(layer, "cpu", KERNELS)[0].name == "int4-linear"


def test_full_precision_has_no_kernel(model):
    result = with_kernels(model.backbone)
    assert (result.kernels, result.fallbacks) == ((), ())
    assert set(result.layers) == {"float"}


@pytest.mark.parametrize("isa", ["AVX2", "AVX512_CORE"])
def test_without_vnni_products_that_would_saturate_are_refused_and_the_others_are_exact(isa):
    """In a child process, since oneDNN reads its limit when it starts."""
    code = (
        "import sys, pytest; sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider', '--import-mode=importlib',"
        " '-k', 'saturating_child', sys.argv[1]]))"
    )
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": isa, "PYTHONPATH": os.pathsep.join(sys.path)}
    child = subprocess.run([sys.executable, "-c", code, __file__], env=environment, capture_output=True, text=True)
    assert child.returncode == 0, child.stdout + child.stderr


def test_saturating_child_has_bfloat16_only_where_its_instructions_may_be_used():
    limited = os.environ.get("ONEDNN_MAX_CPU_ISA") in ("AVX2", "AVX512_CORE")
    assert default_glue() == ("bfloat16" if has_bf16() else "float32")
    assert not (limited and has_bf16())


@pytest.mark.parametrize("weight_bits", [4, 6, 8])
@pytest.mark.parametrize("ranges", ["static", "dynamic"])
@torch.no_grad()
def test_saturating_child(weight_bits, ranges):
    """Every code at its end, under whatever instruction sets this process may use."""
    layer = nn.Linear(512, 16)
    nn.init.constant_(layer.weight, 1.0)
    x = torch.full((2, 512), 2.0)
    subject = quantized(layer, weight_scheme(weight_bits, "channel"), activation_scheme(8), x)
    kernel = "onednn-int8-linear"
    if ranges == "dynamic":
        subject.activation_quantizer, kernel = DynamicQuantizer(DYNAMIC[0], -1), f"{kernel}-dynamic"
    if weight_bits == 8 and not has_vnni():
        assert "saturate in 16 bits" in choose(subject, "cpu")[1]
    else:
        assert_equal_to_simulation(subject, x, kernel)


def test_methods_are_imported_without_their_kernels():
    heavy = "{'admbench.methods.core.kernels', 'torch'}"
    code = f"import admbench.methods, sys; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
