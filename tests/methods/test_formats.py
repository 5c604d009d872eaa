"""Published number formats: held against other people's libraries, packed at their true size, taken by methods."""

import math
from collections import Counter

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from admbench.errors import CheckpointError, UsageError
from admbench.methods import from_spec
from admbench.methods.core.checkpoint.formats import load
from admbench.methods.core.checkpoint.header import FORMAT_VERSION, read_header
from admbench.methods.core.kernels import with_kernels
from admbench.methods.core.layers.allocation import weight_bytes
from admbench.methods.core.layers.quantized import QuantizedLayer, dynamic_input, quantized_layers
from admbench.methods.core.numbers.elements import ELEMENTS
from admbench.methods.core.numbers.fitting import dynamic_quantizer, fit_part, fit_weight, quantizer_class
from admbench.methods.core.numbers.formats import FORMATS
from admbench.methods.core.numbers.gguf import affine_scales, super_groups, symmetric_scales
from admbench.methods.core.numbers.gguf_blocks import to_blocks
from admbench.methods.core.numbers.names import FORMAT_NAMES
from admbench.methods.core.numbers.packing import packed_size
from admbench.methods.core.numbers.scheme import Scheme
from admbench.methods.core.numbers.search import fit_float_lp, fit_lp
from admbench.methods.spec import MethodSpec

ml_dtypes = pytest.importorskip("ml_dtypes")
DTYPES = {"e4m3": "float8_e4m3fn", "e5m2": "float8_e5m2", "e2m1": "float4_e2m1fn"}
FLOATS = [name for name, made in FORMATS.items() if not made.weight.searches]
BITS = {"e4m3": 8, "e5m2": 8, "mxfp8": 8.25, "mxfp4": 4.25, "nvfp4": 4.5}
BITS |= {"q8_0": 8.5, "q4_0": 4.5, "q4_k": 4.5, "q5_k": 5.5, "q6_k": 6.5625}


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_a_spec_knows_every_format_by_its_bits_and_whether_it_is_of_inputs():
    assert {name: (made.bits, made.activation is not None) for name, made in FORMATS.items()} == FORMAT_NAMES
    for name, made in FORMATS.items():
        assert str(from_spec(f"naive@{name}a16").spec) == f"naive@{name}"
        assert from_spec(f"naive@{name}a8").spec.sides == (made, 8)
        wide = MethodSpec.parse(f"naive@{name}a4").of_at_least(8)
        assert wide.sides == (made if made.bits == 8 else 8, 8)
        assert wide.with_bits(16, 16).sides == (16, 16)


@pytest.mark.parametrize("name", ELEMENTS)
def test_every_code_of_an_element_has_the_value_that_ml_dtypes_has(name):
    element = ELEMENTS[name]
    codes = torch.arange(2**element.bits, dtype=torch.uint8)
    theirs = torch.from_numpy(codes.numpy().view(getattr(ml_dtypes, DTYPES[name])).astype("float32"))
    torch.testing.assert_close(element.values, theirs, rtol=0, atol=0, equal_nan=True)
    finite = torch.isfinite(theirs)
    assert torch.equal(element.decode(codes[finite]), theirs[finite])
    assert element.largest == float(ml_dtypes.finfo(getattr(ml_dtypes, DTYPES[name])).max)
    assert element.exponent == math.floor(math.log2(element.largest))
    assert element.are_numbers(codes[finite])
    assert bool(finite.all()) or not element.are_numbers(codes)


def test_what_is_simulated_in_fp8_is_what_torchs_own_product_makes_of_the_codes():
    weight, rows = normal(48, 64), normal(32, 64, seed=1)
    layer = nn.Linear(64, 48, bias=False)
    layer.weight = nn.Parameter(weight)
    form = FORMATS["e4m3"]
    quantizer, inputs = fit_weight(form.weight, weight), dynamic_input(form.activation, layer)
    simulated = QuantizedLayer.from_float(layer, quantizer, inputs)(rows)
    scale, rounded = rows.abs().amax(1, keepdim=True) / 448, inputs.fake_quantize(rows)
    codes, one = quantizer.codes(weight).view(torch.float8_e4m3fn), torch.tensor(1.0)
    product = torch._scaled_mm((rounded / scale).to(torch.float8_e4m3fn), codes.T, one, one, out_dtype=torch.float32)
    torch.testing.assert_close(product * scale * quantizer.scale.view(1, -1), simulated, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ELEMENTS)
def test_elements_round_as_ml_dtypes_does_ties_included_and_saturate(name):
    element, dtype = ELEMENTS[name], getattr(ml_dtypes, DTYPES[name])
    levels = element.levels
    ties = (levels[1:].double() + levels[:-1].double()) / 2
    values = torch.cat([levels, ties.float(), normal(4096) * element.largest / 3, normal(512) * 1e-6])
    values = values.clamp(-element.largest, element.largest)
    theirs = torch.from_numpy(values.numpy().astype(dtype).astype("float32"))
    assert torch.equal(element.decode(element.encode(values)), theirs)
    beyond = torch.tensor([-1e30, 1e30])
    assert element.decode(element.encode(beyond)).tolist() == [-element.largest, element.largest]
    assert int(element.encode(torch.tensor([-0.0]))) == 0


@pytest.mark.parametrize("name", FLOATS)
def test_scales_follow_the_published_rule(name):
    scheme, values = FORMATS[name].weight, normal(6, 96) * torch.logspace(-3, 3, 6)[:, None]
    quantizer = fit_weight(scheme, values)
    size = scheme.group_size or 96
    largest, element = values.reshape(6, -1, size).abs().amax(-1).double(), ELEMENTS[scheme.codebook]
    scale = quantizer.scale.double().reshape(6, -1)
    if scheme.scales == "float32":
        torch.testing.assert_close(scale, largest / element.largest, rtol=1e-6, atol=0)
    elif scheme.scales == "e8m0":
        assert torch.equal(scale, 2.0 ** (largest.log2().floor() - element.exponent))
    else:
        whole = largest.max() / (6 * 448)
        theirs = (largest / 6 / whole).float().numpy().astype(ml_dtypes.float8_e4m3fn).astype("float64")
        torch.testing.assert_close(scale, torch.from_numpy(theirs).clamp(min=2**-9) * whole, rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", FORMATS)
def test_a_weight_is_rounded_once_and_to_what_its_codes_say(name):
    scheme, values = FORMATS[name].weight, normal(5, 8, 3, 3)
    quantizer = fit_weight(scheme.for_terms(72), values)
    codes = quantizer.codes(values)
    rounded = quantizer.dequantize(codes)
    assert codes.dtype == torch.uint8
    assert codes.shape == rounded.shape == values.shape
    assert int(codes.max()) < 2**scheme.bits
    assert quantizer.refuse_codes(codes) is None
    assert torch.equal(quantizer.fake_quantize(values), rounded)
    assert torch.equal(quantizer.dequantize(quantizer.codes(rounded)), rounded)
    below, span, rest = quantizer.neighbours(values)
    assert bool(((rest >= 0) & (rest < 1)).all())
    ends = torch.stack([below, below + span])
    assert torch.equal(quantizer.dequantize(quantizer.codes(ends[0])), ends[0])
    torch.testing.assert_close(quantizer.dequantize(quantizer.codes(ends[1])), ends[1])
    nearest = (ends - values).abs().amin(0)
    # ggml rounds by a scale that is then stored in half precision: a code near the middle of two may be the other one
    slack = 0.07 * float(quantizer.scale.abs().max()) if scheme.scales == "float16" else 1e-5
    assert bool(((rounded - values).abs() <= nearest + slack).all())
    leaf = values.clone().requires_grad_()
    quantizer.fake_quantize(leaf).sum().backward()
    assert torch.equal(leaf.grad, torch.ones_like(leaf))
    low, high = quantizer.reach()
    assert low <= float(rounded.min())
    assert float(rounded.max()) <= high


@pytest.mark.parametrize("name", FORMATS)
def test_all_zeros_stay_zeros_and_huge_and_tiny_numbers_stay_finite(name):
    scheme = FORMATS[name].weight
    for factor in (0.0, 1e-30, 1e30):
        values = torch.stack([normal(256) * factor, torch.zeros(256)])
        quantizer = fit_weight(scheme, values)
        assert torch.isfinite(rounded := quantizer.fake_quantize(values)).all(), factor
        assert not rounded[1].any()


@pytest.mark.parametrize("name", BITS)
def test_the_bits_a_weight_are_those_of_the_format(name):
    layer = nn.Linear(1024, 64, bias=False)
    scales = 64 * 4 if FORMATS[name].weight.granularity == "channel" else 0
    whole = 4 if name == "nvfp4" else 0
    assert weight_bytes(layer, FORMATS[name].weight) == layer.weight.numel() * BITS[name] / 8 + scales + whole


@pytest.mark.parametrize("name", FORMATS)
def test_a_weight_can_be_fitted_part_by_part(name):
    scheme, values = FORMATS[name].weight, normal(4, 512)
    together = scheme.group_size and 256
    if together is None:
        return
    parts = [fit_part(scheme, values[:, at : at + 256], values.abs().max()) for at in (0, 256)]
    whole, joined = fit_weight(scheme, values), quantizer_class(scheme).joined(scheme, parts)
    assert all(torch.equal(buffer, dict(joined.named_buffers())[key]) for key, buffer in whole.named_buffers())
    own = parts[1].of_column(40)
    column = values[:, 256 + 40 : 256 + 41]
    torch.testing.assert_close(own.fake_quantize(column), joined.fake_quantize(values)[:, 296:297])


@pytest.mark.parametrize("name", [name for name, made in FORMATS.items() if made.activation])
@pytest.mark.parametrize("channels", [-1, 1])
def test_inputs_are_rounded_row_by_row_with_scales_of_their_own(name, channels):
    scheme = FORMATS[name].activation
    values = normal(3, 5, 64) if channels == -1 else normal(3, 64, 5)
    quantizer = dynamic_quantizer(scheme, channels)
    rounded = quantizer.fake_quantize(values * torch.tensor([1.0, 1e3, 1e-3])[:, None, None])
    alone = torch.cat(
        [quantizer.fake_quantize(row[None] * factor) for row, factor in zip(values, (1.0, 1e3, 1e-3), strict=True)]
    )
    assert torch.equal(rounded, alone)
    error = (quantizer.fake_quantize(values) - values).square().mean().sqrt() / values.square().mean().sqrt()
    assert error < (0.15 if scheme.bits == 4 else 0.08)
    assert quantizer.codes(values).shape == values.shape
    leaf = values.clone().requires_grad_()
    quantizer.fake_quantize(leaf).sum().backward()
    assert torch.equal(leaf.grad, torch.ones_like(leaf))


@pytest.mark.parametrize("name", FLOATS)
def test_a_searched_scale_never_loses_to_the_formats_own(name):
    scheme, values = FORMATS[name].weight, normal(8, 128, seed=3) ** 3

    def loss(quantizer, p):
        return (quantizer.fake_quantize(values) - values).abs().pow(p).sum()

    assert loss(fit_float_lp(scheme, values), 2) <= loss(fit_weight(scheme, values), 2)
    assert loss(fit_lp(scheme, values), 2.4) <= loss(fit_weight(scheme, values), 2.4)


@pytest.mark.parametrize("bits", [4, 5, 6])
def test_the_search_for_a_block_of_gguf_never_loses_to_its_smallest_and_largest_number(bits):
    """By themselves, before scales of a super-block are rounded to a few bits: normal, one-sided, with outliers."""
    rows = torch.cat([normal(64, 32, seed=bits), normal(64, 32, seed=1).abs() + 2, normal(64, 32, seed=2) ** 3])
    most = 2**bits - 1
    low, high = rows.amin(1).clamp(max=0), rows.amax(1)

    def error(scale, offset, least, most):
        codes = ((rows + offset[:, None]) / scale[:, None]).round().clamp(least, most)
        return (codes * scale[:, None] - offset[:, None] - rows).square().sum(1)

    found, fixed = error(*affine_scales(rows, most), 0, most), error((high - low) / most, -low, 0, most)
    assert (found <= fixed * (1 + 1e-4)).all()
    assert found.sum() < 0.95 * fixed.sum()
    half, none = 2 ** (bits - 1), torch.zeros(len(rows))
    largest = rows.gather(1, rows.abs().argmax(1, keepdim=True)).squeeze(1)
    found, fixed = (error(one, none, -half, half - 1) for one in (symmetric_scales(rows, bits), largest / -half))
    assert (found <= fixed * (1 + 1e-4)).all()
    assert found.sum() < 0.95 * fixed.sum()


@pytest.mark.parametrize(
    "spec",
    [
        *(f"naive@{name}" for name in FORMATS),
        "gptq@nvfp4[positions=64]",
        "gptq@q4_k[positions=64]",
        "smoothquant@mxfp4:mxfp8",
        "q-diffusion@mxfp4a8[samples=4,iterations=3]",
        pytest.param("ptq4adm@nvfp4:e4m3[reduction=0.82,iterations=3]", marks=pytest.mark.slow),
    ],
)
def test_a_checkpoint_of_a_format_comes_back_bit_for_bit_at_its_true_size(spec, audioldm, quantize, predict, tmp_path):
    quantized = quantize(audioldm, spec)
    quantized.pack(tmp_path / "packed")
    loaded = load(tmp_path / "packed")
    assert torch.equal(predict(audioldm, loaded), predict(audioldm, quantized.module))
    assert read_header(tmp_path / "packed").format_version == FORMAT_VERSION
    wanted = FORMATS[from_spec(spec).spec.weight_format].weight
    stored, layers = load_file(tmp_path / "packed" / "model.safetensors"), quantized_layers(loaded)
    sizes = Counter()
    for name, tensor in stored.items():
        layer, _, part = name.rpartition(".")
        sizes[layer] += tensor.nbytes if part.startswith("weight_") else 0
    assert any(layer.scheme.weight == wanted for layer in layers.values())
    for name, layer in layers.items():
        scheme = layer.scheme.weight
        assert sizes[name] == packed_size(layer.weight_codes.numel(), scheme.bits) + scale_bytes(scheme, layer.shape)
    chosen = with_kernels(loaded)
    simulated = {fallback.layer: fallback.reason for fallback in chosen.fallbacks}
    assert all(simulated[name] for name, layer in layers.items() if layer.scheme.weight.published)


def scale_bytes(scheme: Scheme, shape: tuple[int, ...]) -> float:
    scales = math.prod(scheme.scale_shape(shape))
    if not scheme.published:
        return 5 * scales  # with a zero point
    if scheme.scales == "k":
        supers = 2 * scales // super_groups(scheme, scales // shape[0])
        return scales + supers if scheme.symmetric else 2 * packed_size(scales, 6) + 2 * supers
    each = {"float32": 4, "e8m0": 1, "e4m3": 1, "float16": 2}[scheme.scales]
    return scales * each + (4 if scheme.scales == "e4m3" else 0)


@pytest.mark.parametrize("name", ["q8_0", "q4_0"])
def test_bytes_are_those_that_gguf_quantizes_to(name):
    gguf, values = pytest.importorskip("gguf"), normal(16, 256) * torch.logspace(-4, 2, 16)[:, None]
    values[3, 32:64] = 0
    values[5, :4] = torch.tensor([-8.0, 8.0, 4.0, -4.0])
    quantizer = fit_weight(FORMATS[name].weight, values)
    theirs = gguf.quantize(values.numpy(), gguf.GGMLQuantizationType[name.upper()])
    assert torch.equal(to_blocks(quantizer, quantizer.codes(values)), torch.from_numpy(theirs))


@pytest.mark.parametrize("name", [name for name in FORMATS if FORMATS[name].weight.searches])
def test_values_are_those_that_gguf_dequantizes(name):
    gguf, values = pytest.importorskip("gguf"), normal(8, 512, seed=2) * torch.logspace(-3, 2, 8)[:, None]
    quantizer, kind = fit_weight(FORMATS[name].weight, values), gguf.GGMLQuantizationType[name.upper()]
    codes = quantizer.codes(values)
    blocks = to_blocks(quantizer, codes)
    assert blocks.numel() * 8 == values.numel() * BITS[name]
    assert torch.equal(torch.from_numpy(gguf.dequantize(blocks.numpy(), kind)), quantizer.dequantize(codes))
    error = (quantizer.dequantize(codes) - values).square().mean(1) / values.square().mean(1)
    assert error.sqrt().max() < {"q8_0": 0.007, "q4_0": 0.1, "q4_k": 0.08, "q5_k": 0.04, "q6_k": 0.03}[name]
    with pytest.raises(ValueError, match="GGUF has"):
        to_blocks(fit_weight(FORMATS[name].weight.for_terms(24), values[:, :24]), codes[:, :24])


@pytest.mark.parametrize("name", ["mxfp4", "nvfp4"])
def test_four_bit_floats_are_those_of_gguf(name):
    gguf, values = pytest.importorskip("gguf"), normal(6, 128)
    quantizer = fit_weight(FORMATS[name].weight, values)
    codes = quantizer.codes(values)
    if name == "mxfp4":
        theirs = gguf.quantize(values.numpy(), gguf.GGMLQuantizationType.MXFP4).reshape(6, -1, 17)
        assert torch.equal(quantizer.exponents, torch.from_numpy(theirs[..., 0]))
        groups = codes.view(6, -1, 32)
        assert torch.equal(groups[..., :16] | groups[..., 16:] << 4, torch.from_numpy(theirs[..., 1:]))
    else:  # blocks of 64: four scales, and 8 bytes for each 16 numbers
        scales, groups = quantizer.block_scales.view(6, -1, 4), codes.view(6, -1, 4, 16)
        packed = groups[..., :8] | groups[..., 8:] << 4
        blocks = torch.cat([scales, packed.flatten(2)], -1).flatten(1)
        theirs = torch.from_numpy(gguf.dequantize(blocks.numpy(), gguf.GGMLQuantizationType.NVFP4))
        torch.testing.assert_close(theirs * quantizer.tensor_scale, quantizer.dequantize(codes), rtol=1e-6, atol=0)


def test_a_code_that_is_no_number_is_refused(audioldm, tmp_path):
    quantized = from_spec("naive@e4m3").quantize(audioldm, None)
    layer = next(iter(quantized_layers(quantized.module).values()))
    layer.weight_codes.view(-1)[0] = 0x7F
    quantized.pack(tmp_path / "packed")
    with pytest.raises(CheckpointError, match="no number of e4m3"):
        load(tmp_path / "packed")


@pytest.mark.attack("packed checkpoint, edited to fit its hashes")
@pytest.mark.parametrize(
    ("name", "buffer", "number"),
    [
        ("e5m2", "scale", 0.0),
        ("mxfp4", "exponents", 255),
        ("nvfp4", "block_scales", 0),
        ("nvfp4", "block_scales", 0x7F),
        ("nvfp4", "block_scales", 0x81),
        ("nvfp4", "tensor_scale", 0.0),
        ("q8_0", "half_scale", -1.0),
        ("q5_k", "super_min", -1.0),
    ],
)
def test_a_scale_that_the_format_does_not_have_is_refused(name, buffer, number, audioldm, tmp_path):
    quantized = from_spec(f"naive@{name}").quantize(audioldm, None)
    layers = quantized_layers(quantized.module)
    layer = next(
        one
        for one in layers.values()
        if one.scheme.weight.codebook == FORMATS[name].weight.codebook
        and one.scheme.weight.scales == FORMATS[name].weight.scales
    )
    getattr(layer.weight_quantizer, buffer).view(-1)[0] = number
    quantized.pack(tmp_path / "packed")
    with pytest.raises(CheckpointError, match=rf"weight_{buffer}: holds a {buffer.replace('_', ' ')} that its scheme"):
        load(tmp_path / "packed")


def test_a_rule_of_ranges_is_refused_where_the_format_has_its_own():
    for spec in ("naive@q4_k[ranges=mse]", "mixup-prompt@q8_0[ranges=minmax]"):
        with pytest.raises(UsageError, match=r"option ranges: q\d_\w finds its scales by a search of its own"):
            from_spec(spec)
    assert from_spec("naive@q4_ka8[ranges=mse]").config.ranges == "mse"  # of inputs
    assert from_spec("naive@mxfp4[ranges=mse]").config.ranges == "mse"


@pytest.mark.parametrize(
    ("spec", "fragment"),
    [
        ("naive@mxfp5", 'Did you mean "mxfp8"'),
        ("naive@w4:mxfp5", "activation format"),
        ("hqq@mxfp4", "hqq takes no number format"),
        ("bf16@mxfp4", "takes no bits"),
    ],
)
def test_a_format_that_there_is_not_is_told_in_one_line(spec, fragment):
    with pytest.raises(UsageError, match=fragment):
        from_spec(spec)
