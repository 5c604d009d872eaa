"""Kernels in C++ compute what torch computes, and where there are none there is a reason."""

from __future__ import annotations

import copy

import pytest
import torch
from diffusers.models.embeddings import apply_rotary_emb, get_1d_rotary_pos_embed
from torch import Tensor, nn
from torch.nn import functional as F

from admbench import arithmetic, cache
from admbench.methods.core.kernels import small, with_kernels
from admbench.methods.core.kernels.blocks import InPlaceResnetBlock2D
from admbench.methods.core.kernels.codes import InputCodes
from admbench.methods.core.kernels.onednn import Int8Conv1d, Int8Conv2d, Int8Linear
from admbench.methods.core.kernels.select import small_products
from admbench.methods.core.layers.quantized import QuantizedLayer
from admbench.methods.core.native import choice, compiled, products
from admbench.methods.core.native.attention import attention, takes
from admbench.methods.core.native.norm import norm_codes
from admbench.methods.core.native.rows import gated_codes, layer_norm_codes, rotated
from admbench.methods.core.numbers.quantizer import Quantizer
from admbench.methods.core.numbers.scheme import activation_scheme, weight_scheme

REFUSAL = compiled.refusal()
needs_library = pytest.mark.skipif(REFUSAL is not None, reason=str(REFUSAL))
SHAPES = {
    "as in AudioLDM-S": (2, 8, 192, 192, 32),
    "longer than a block of keys": (1, 2, 13, 1100, 16),
    "a query, a key, a pair of features": (1, 1, 1, 1, 2),
    "not a multiple of a vector": (3, 3, 50, 77, 24),
    "wider than the registers": (1, 2, 31, 65, 160),
}


def tensors(shape: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Return queries, keys and values, the latter two as parts of one product."""
    batch, heads, queries, keys, size = shape
    torch.manual_seed(0)
    query = torch.randn(batch, queries, heads * size).bfloat16()
    key, value = torch.randn(batch, keys, 2 * heads * size).bfloat16().split(heads * size, dim=-1)
    return query, key, value


def exact(query: Tensor, key: Tensor, value: Tensor, heads: int, bias: Tensor | None = None) -> Tensor:
    """Return attention in float64."""
    apart = [part.double().unflatten(-1, (heads, -1)).transpose(1, 2) for part in (query, key, value)]
    mask = None if bias is None else bias.double()[:, None, None]
    return F.scaled_dot_product_attention(*apart, attn_mask=mask).transpose(1, 2).flatten(2)


def error_db(expected: Tensor, found: Tensor) -> float:
    error = (found.double() - expected).square().mean() / expected.square().mean()
    return float(-10 * error.log10())


@needs_library
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", SHAPES)
def test_attention_is_50_db_from_float64(name, masked):
    shape = SHAPES[name]
    batch, heads, _, keys, _ = shape
    query, key, value = tensors(shape)
    bias = None
    if masked:
        bias = torch.where(torch.arange(keys) > keys // 2, -float("inf"), 0.5).repeat(batch, 1)
    expected = exact(query, key, value, heads, bias)
    assert takes(query, key, value, heads)
    found = attention(query, key, value, heads, bias=bias)
    assert found.shape == expected.shape
    assert found.dtype == torch.float32
    assert error_db(expected, found) > 50


@needs_library
def test_what_is_masked_counts_for_nothing_and_large_scores_do_not_overflow():
    query, key, value = tensors((1, 2, 9, 70, 8))
    bias = torch.zeros(1, 70)
    bias[:, 40:] = -10_000.0
    short = attention(query, key[:, :40], value[:, :40], 2)
    key[:, 40:] = 30.0
    assert torch.equal(attention(query, key, value, 2, bias=bias), short)
    sharp = attention(query * 1e4, key[:, :40], value[:, :40], 2)
    assert sharp.isfinite().all()
    assert error_db(exact(query * 1e4, key[:, :40], value[:, :40], 2), sharp) > 40


@needs_library
def test_codes_are_those_of_the_result_and_threads_change_no_bit():
    query, key, value = tensors((2, 4, 100, 130, 16))
    plain = attention(query, key, value, 4)
    for bits, low in ((8, -0.3), (4, 0.0)):
        numbers = InputCodes(Quantizer.from_range(activation_scheme(bits), torch.tensor(low), torch.tensor(0.25)))
        codes = attention(query, key, value, 4, codes=numbers.numbers)
        assert codes.dtype == torch.uint8
        assert torch.equal(codes, numbers(plain))
        assert codes.unique().numel() > 10
    before = torch.get_num_threads()
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            assert torch.equal(attention(query, key, value, 4), plain)
    finally:
        torch.set_num_threads(before)


@needs_library
@pytest.mark.parametrize(("shape", "groups"), [((2, 64, 9, 5), 32), ((1, 16, 1, 1), 4), ((3, 48, 16, 12), 3)])
@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("silu", [False, True])
@torch.no_grad()
def test_norm_silu_and_codes_in_one_pass_are_those_of_float64_but_for_ties(shape, groups, shifted, silu):
    """Of pictures far from zero too; the border holds the zero point."""
    torch.manual_seed(0)
    picture = (torch.randn(shape) * 2 + 40).contiguous(memory_format=torch.channels_last)
    shift = torch.randn(shape[:2]) if shifted else None
    norm = nn.GroupNorm(groups, shape[1])
    norm.weight.normal_()
    norm.bias.normal_()
    moved = picture if shift is None else picture + shift[:, :, None, None]
    exactly = F.group_norm(moved.double(), groups, norm.weight.double(), norm.bias.double(), norm.eps)
    exactly = F.silu(exactly) if silu else exactly
    quantizer = Quantizer.from_range(activation_scheme(8), torch.tensor(-0.28), torch.tensor(3.0))
    numbers = InputCodes(quantizer)
    codes = norm_codes(picture, norm, numbers.numbers, (1, 2), shift, silu=silu)
    assert codes.is_contiguous(memory_format=torch.channels_last)
    steps = exactly / numbers.scale + numbers.zero_point
    expected = F.pad(steps.clamp(0, 255), (2, 2, 1, 1), value=float(numbers.zero_point))
    assert (codes.double() - expected).abs().max() < 0.5 + 0.02
    assert codes.unique().numel() > 5
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert torch.equal(norm_codes(picture, norm, numbers.numbers, (1, 2), shift, silu=silu), codes)
    finally:
        torch.set_num_threads(before)


@needs_library
@torch.no_grad()
def test_fewer_heads_of_keys_serve_several_of_queries():
    query, key, value = tensors((2, 6, 40, 70, 16))
    few = [part.unflatten(-1, (6, 16))[:, :, ::3].flatten(2) for part in (key, value)]
    repeated = [part.unflatten(-1, (2, 16)).repeat_interleave(3, dim=2).flatten(2) for part in few]
    key, value = torch.cat(few, dim=-1).split(32, dim=-1)
    assert takes(query, key, value, 6)
    assert not takes(query[..., :80], key, value, 5)
    together = torch.cat(repeated, dim=-1).split(96, dim=-1)
    assert torch.equal(attention(query, key, value, 6), attention(query, *together, 6))


def assert_codes(codes: Tensor, exactly: Tensor, numbers: InputCodes) -> None:
    """What codes are rounded from is within 2 % of a code of what it should be."""
    steps = (exactly / numbers.scale + numbers.zero_point).clamp(numbers.lowest, numbers.highest)
    assert codes.dtype == torch.uint8
    assert (codes.double() - steps).abs().max() < 0.5 + 0.02
    assert codes.unique().numel() > 5


@needs_library
@pytest.mark.parametrize("shape", [(2, 33, 256), (1, 5, 24), (3, 1, 16)])
@pytest.mark.parametrize("bits", [8, 4])
@torch.no_grad()
def test_rows_of_a_transformer_in_one_pass_are_those_of_float64(shape, bits):
    """Layer norms far from zero too, gates of both kinds, widths that fill no vector."""
    torch.manual_seed(0)
    numbers = InputCodes(Quantizer.from_range(activation_scheme(bits), torch.tensor(-1.5), torch.tensor(2.5)))
    x, norm = torch.randn(shape) * 3 + 50, nn.LayerNorm(shape[-1])
    norm.weight.normal_()
    norm.bias.normal_()
    exactly = F.layer_norm(x.double(), shape[-1:], norm.weight.double(), norm.bias.double(), norm.eps)
    assert_codes(layer_norm_codes(x, norm, numbers.numbers), exactly, numbers)
    both = torch.randn(*shape[:-1], 2 * shape[-1]) * 2
    hidden, gate = both.double().chunk(2, dim=-1)
    for name, activation in (("gelu", F.gelu), ("silu", F.silu)):
        assert_codes(gated_codes(both, name, numbers.numbers), hidden * activation(gate), numbers)


@needs_library
@pytest.mark.parametrize(("heads", "turning", "size", "turned"), [(3, 2, 64, 32), (4, 4, 16, 16), (2, 1, 8, 4)])
def test_rotary_positions_are_those_of_diffusers(heads, turning, size, turned):
    torch.manual_seed(0)
    x = torch.randn(2, 9, heads * size)
    angles = get_1d_rotary_pos_embed(turned, 9, use_real=True, repeat_interleave_real=False)
    apart = x.unflatten(-1, (heads, size)).transpose(1, 2).clone()
    apart[:, :turning, :, :turned] = apply_rotary_emb(
        apart[:, :turning, :, :turned], angles, use_real=True, use_real_unbind_dim=-2
    )
    expected = apart.transpose(1, 2).flatten(2)
    found = rotated(x, angles, turning, size)
    assert found.dtype == torch.bfloat16
    assert (found.float() - expected).abs().max() <= 2**-8 * expected.abs().max()
    assert error_db(expected.double(), found) > 50


@needs_library
def test_a_residual_block_by_our_kernels_is_40_db_from_torchs(quantize, audioldm, predict):
    backbone = quantize(audioldm, "naive@w8a8").module
    blocks = [
        [part for part in with_kernels(backbone, native=native).module.modules() if type(part) is InPlaceResnetBlock2D]
        for native in (False, True)
    ]
    torch.manual_seed(0)
    used = 0
    with torch.no_grad():
        for theirs, own in zip(*blocks, strict=True):
            used += own.native
            picture = torch.randn(2, theirs.norm1.num_channels, 8, 4).contiguous(memory_format=torch.channels_last)
            time = torch.randn(2, theirs.time_emb_proj.weights.shape[1])
            assert error_db(theirs(picture, time).double(), own(picture, time)) > 40
    assert used


def test_other_types_layouts_and_sizes_are_left_to_torch():
    query, key, value = tensors((1, 2, 3, 4, 8))
    assert takes(query, key, value, 2)
    assert not takes(query.float(), key, value, 2)
    assert not takes(query, key.contiguous(), value, 2)
    assert not takes(query[..., :6], key[..., :6], value[..., :6], 2)


def test_where_nothing_is_compiled_torch_computes_and_the_reason_is_said(monkeypatch):
    monkeypatch.setenv(compiled.VARIABLE, "0")
    assert choice.chosen() == choice.Choice(choice.TORCH, "ADMBENCH_NATIVE=0 in the environment")
    monkeypatch.delenv(compiled.VARIABLE)
    monkeypatch.setattr(compiled.arithmetic, "instruction_sets", lambda: ["avx2"])
    assert "the processor has no avx512f" in choice.chosen().reason
    monkeypatch.setattr(compiled.arithmetic, "instruction_sets", lambda: list(compiled.NEEDED))
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "avx512_core_vnni")
    assert choice.chosen().reason == "oneDNN is limited to AVX512_CORE_VNNI"
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA")
    monkeypatch.setattr(compiled, "compiler", lambda: None)
    assert "no C++ compiler" in choice.chosen().reason


@needs_library
def test_a_compiler_that_fails_is_a_reason_and_no_error(monkeypatch, tmp_path):
    monkeypatch.setenv("ADMBENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(compiled, "compiler", lambda: ("false", "false 1.0"))
    with pytest.raises(compiled.NotCompiledError, match="false: exit code 1: no message"):
        compiled.library()
    assert not [*tmp_path.rglob("*.so")]


@needs_library
def test_what_is_chosen_is_measured_once_and_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("ADMBENCH_CACHE", str(tmp_path))
    tries = []

    def tried() -> choice.Choice:
        tries.append(1)
        return choice.Choice(choice.OWN, "1.00 ms, 2.00 by torch", 1.0, 2.0)

    monkeypatch.setattr(choice, "_tried", tried)
    for _ in range(2):
        choice._measured.cache_clear()  # as another process would find it
        assert choice.chosen().attention == choice.OWN
    assert len(tries) == 1
    (kept,) = (cache.root() / compiled.FOLDER).glob("*.json")
    kept.write_text("{}", encoding="utf-8")
    choice._measured.cache_clear()
    assert choice.chosen().own_ms == 1.0
    assert len(tries) == 2
    choice._measured.cache_clear()


@needs_library
def test_both_ways_are_really_tried():
    found = choice._tried()
    assert found.own_ms is not None
    assert found.torch_ms is not None
    assert found.attention == (choice.OWN if found.own_ms < found.torch_ms else choice.TORCH)


def same(found, expected):
    if "amx_int8" not in arithmetic.instruction_sets():
        assert torch.equal(found, expected)
    rounding = torch.finfo(expected.dtype).eps
    torch.testing.assert_close(found, expected, rtol=rounding, atol=float(expected.abs().max()) * 2**-22)


@needs_library
@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Linear(48, 144), (2, 37, 48)),
        (nn.Linear(192, 20, bias=False), (1, 192)),
        (nn.Linear(16, 80), (13, 16)),
        (nn.Conv2d(32, 100, 3, padding=1), (2, 32, 9, 5)),
        (nn.Conv2d(8, 48, (1, 3), stride=2, padding=(0, 2), dilation=(1, 2)), (3, 8, 7, 12)),
        (nn.Conv2d(64, 16, 1, bias=False), (1, 64, 8, 4)),
        (nn.Conv1d(12, 33, 5, padding=2), (2, 12, 21)),
    ],
)
@torch.no_grad()
def test_small_products_are_onednns_to_the_bit(layer, shape):
    """Of inputs with a zero point, rounded to bfloat16 or added to what is there too, in several shapes; and copied.

    With AMX oneDNN has other kernels, whose sums are the same integers, but which may scale them in another order.
    """
    torch.manual_seed(0)
    x = torch.randn(shape) + 0.3
    weight, activation = weight_scheme(8, "channel"), activation_scheme(8)
    simulated = QuantizedLayer.from_float(
        layer, Quantizer.min_max(weight, layer.weight), Quantizer.min_max(activation, x)
    )
    kinds = {"linear": Int8Linear, "conv1d": Int8Conv1d, "conv2d": Int8Conv2d}
    theirs, own = (kinds[simulated.kind](simulated) for _ in range(2))
    own.native = True
    for rows in (x, torch.cat([x, x * 0.7]), x[:1]):
        expected, found = theirs(rows), own(rows)
        same(found, expected)
        assert found.stride() == expected.stride()
        assert torch.equal(copy.deepcopy(own)(rows), found)
        if isinstance(own, Int8Linear):
            codes = own.quantize(rows)
            gelu = {"activation": "gelu"}
            for options in (
                {"dtype": torch.bfloat16},
                {"onto": torch.randn_like(expected)},
                gelu,
                gelu | {"dtype": torch.bfloat16},
            ):
                onto = {name: value.clone() for name, value in options.items() if name == "onto"}
                same(own.from_codes(codes, **options), theirs.from_codes(codes, **(options | onto)))
    assert (own.small, theirs.small) == (True, False)
    assert small_products(nn.ModuleList([own, theirs])) == 1


@needs_library
def test_beside_amx_small_products_are_tried_and_left_to_onednn_where_they_differ(monkeypatch):
    generator, really = torch.get_rng_state(), "amx_int8" in arithmetic.instruction_sets()
    monkeypatch.setattr(arithmetic, "instruction_sets", lambda: [*compiled.NEEDED, "amx_int8"])
    small._the_same.cache_clear()
    assert small.may_be_ours() or really  # oneDNN's are those without AMX all the same
    small._the_same.cache_clear()
    ours = products.SmallProduct.product
    monkeypatch.setattr(products.SmallProduct, "product", lambda *arguments: ours(*arguments) * (1 + 2**-22))
    assert not small.may_be_ours()
    small._the_same.cache_clear()
    monkeypatch.undo()
    assert torch.equal(torch.get_rng_state(), generator)


def test_products_that_are_large_grouped_or_not_in_fours_are_left_to_onednn():
    assert products.takes((64, 64, 3, 3), 100)
    assert not products.takes((64, 64, 3, 3), 100_000)
    assert not products.takes((64, 16, 3, 3), 100, groups=4)
    assert not products.takes((64, 3), 100)
