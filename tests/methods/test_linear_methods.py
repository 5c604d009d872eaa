"""Methods made for Linear layers: smoothing, second-order rounding, activation-aware scales, codebooks, branches."""

import pytest
import torch
from torch import nn

from admbench import methods
from admbench.bench.models import load_model
from admbench.errors import UsageError
from admbench.methods.awq import GRID, as_it_runs, by_gram, choose, clipped, search_scale
from admbench.methods.core.calibration.statistics import (
    ChannelStatistics,
    channel_statistics,
    input_grams,
    input_rows,
    output_error,
    patches,
)
from admbench.methods.core.checkpoint.reading import load
from admbench.methods.core.layers.kinds import over_inputs, quantizable_layers, with_weight
from admbench.methods.core.layers.quantized import QuantizedLayer, quantized_layers
from admbench.methods.core.numbers.fitting import fit_weight
from admbench.methods.core.numbers.quantizer import Quantizer
from admbench.methods.core.numbers.scheme import LayerScheme, Scheme, activation_scheme, weight_scheme
from admbench.methods.core.reconstruction.branch import leading_components
from admbench.methods.core.reconstruction.error_feedback import gptq_codes
from admbench.methods.core.reconstruction.run_layer import RunLayer
from admbench.methods.core.reconstruction.smoothed_branch import CANDIDATES, decompose
from admbench.methods.core.reconstruction.smoothing import smoothed, smoothing_scale
from admbench.methods.hqq import fit_zero_points
from admbench.methods.qera import error_branch, reconstruct

CHANNEL = weight_scheme(4, "channel")
GROUPS = Scheme(bits=4, granularity="group", symmetric=False, group_size=8)
SPECS = [
    "smoothquant@w4a8",
    "smoothquant@w8a8[activations=token]",
    "gptq@w4a16[positions=64]",
    "gptq@w4a8[positions=64,group=0]",
    "awq@w4a16[positions=64]",
    "hqq@w4a16",
    "nf4@w4a16",
    "svdquant@w4a4[positions=64,rank=2]",
    "svdquant-gptq@w4a4[positions=64,rank=2,iterations=1]",
    "q-dit@w4a8[positions=64,tried=64]",
    "dirotq@w4a4[positions=64]",
    "vidit-q@w4a8",
    "sqd@w4a8",
    "sqd@w8a8[inputs=static,rank=2]",
    "convrot@w4a8",
    "qera@w4a16[positions=64,rank=2]",
]
LAYERS = {
    "linear": (lambda: nn.Linear(6, 5, bias=False), (4, 7, 6)),
    "conv1d": (lambda: nn.Conv1d(6, 5, 3, stride=2, padding=1, bias=False), (4, 6, 9)),
    "conv2d": (lambda: nn.Conv2d(6, 5, (3, 5), padding=(1, 2), stride=(2, 1), bias=False), (4, 6, 7, 9)),
    "dilated": (lambda: nn.Conv2d(6, 5, 3, dilation=(2, 1), padding="same", bias=False), (4, 6, 7, 9)),
}


@pytest.fixture
def correlated():
    """Return a weight (16, 32) and the Gram matrix of inputs that go together."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(500, 4, generator=generator) @ torch.randn(4, 32, generator=generator)
    inputs += 0.3 * torch.randn(500, 32, generator=generator)
    return torch.randn(16, 32, generator=generator), inputs.T @ inputs / 500


@pytest.mark.parametrize("name", LAYERS)
@torch.no_grad()
def test_patches_are_what_outputs_are_computed_from(name):
    make, shape = LAYERS[name]
    torch.manual_seed(0)
    layer, x = make(), torch.randn(shape)
    outputs = layer(x).movedim(-1 if name == "linear" else 1, -1).flatten(0, -2)
    torch.testing.assert_close(patches(layer, x, 10_000, seed=0) @ layer.weight.flatten(1).T, outputs)


@torch.no_grad()
def test_the_output_error_is_the_mean_square_of_what_changes(correlated):
    weight, _ = correlated
    inputs, change = torch.randn(200, 32), torch.randn_like(weight)
    direct = ((inputs @ (weight + change).T - inputs @ weight.T) ** 2).sum(1).mean()
    torch.testing.assert_close(output_error(change, inputs.T @ inputs / 200), direct)


def test_gptq_is_rounding_to_nearest_where_inputs_are_uncorrelated(correlated):
    weight, _ = correlated
    quantizer, codes = gptq_codes(weight, torch.diag(torch.rand(32) + 0.1), CHANNEL)
    nearest = Quantizer.min_max(CHANNEL, weight)
    assert torch.equal(quantizer.scale, nearest.scale)
    assert torch.equal(codes, nearest.codes(weight))


@pytest.mark.parametrize("scheme", [CHANNEL, GROUPS], ids=["channel", "group"])
def test_gptq_has_less_output_error_than_rounding_to_nearest(correlated, scheme):
    weight, gram = correlated
    quantizer, codes = gptq_codes(weight, gram, scheme)
    nearest = Quantizer.min_max(scheme, weight).fake_quantize(weight)
    assert output_error(quantizer.dequantize(codes) - weight, gram) < 0.7 * output_error(nearest - weight, gram)


def test_gptq_leaves_weights_of_dead_inputs_at_the_nearest(correlated):
    weight, gram = correlated
    gram[5], gram[:, 5] = 0, 0
    quantizer, codes = gptq_codes(weight, gram, CHANNEL)
    assert torch.equal(codes[:, 5], quantizer.codes(weight)[:, 5])


def test_scaling_and_clipping_never_raise_the_output_error(correlated):
    weight, gram = correlated
    magnitude = gram.diagonal().sqrt()
    nearest = output_error(Quantizer.min_max(GROUPS, weight).fake_quantize(weight) - weight, gram)
    scale = search_scale(weight, GROUPS, magnitude, by_gram(weight, gram))
    scaled = weight * scale
    error = (Quantizer.min_max(GROUPS, scaled).fake_quantize(scaled)) / scale - weight
    assert output_error(error, gram) <= nearest * (1 + 1e-5)
    block = torch.block_diag(*[gram[g : g + 8, g : g + 8] for g in range(0, 32, 8)])
    unclipped = output_error(Quantizer.min_max(GROUPS, weight).fake_quantize(weight) - weight, block)
    error = clipped(weight, gram, GROUPS).fake_quantize(weight) - weight
    assert output_error(error, block) <= unclipped * (1 + 1e-5)


def test_hqq_lowers_the_error_that_it_minimizes_and_stops(correlated):
    weight, _ = correlated
    weight[0, 0] = 20  # what p < 1 forgives
    scheme = Scheme(bits=2, granularity="group", symmetric=False, group_size=32, zero="float")
    start, optimized = (fit_zero_points(scheme, weight, iterations) for iterations in (0, 20))
    error = [float((one.fake_quantize(weight) - weight).abs().mean()) for one in (start, optimized)]
    assert error[1] < error[0]


def test_a_branch_holds_the_leading_components(correlated):
    weight, _ = correlated
    down, up = leading_components(weight, 16)
    torch.testing.assert_close(up.float() @ down.float(), weight, rtol=0.01, atol=0.01)
    down, up = leading_components(weight, 4)
    left = float((weight - up.float() @ down.float()).square().sum())
    assert left == pytest.approx(float(torch.linalg.svdvals(weight)[4:].square().sum()), rel=0.01)


NF4 = Scheme(bits=4, granularity="group", symmetric=True, group_size=8, codebook="nf4")


def test_qeras_branch_is_the_best_of_its_rank_for_the_outputs(correlated):
    """Against the form that the paper has, by the root of R and its inverse."""
    weight, gram = correlated
    error = weight - fit_weight(NF4, weight).fake_quantize(weight)
    down, up = error_branch(error, gram, 4)
    values, vectors = torch.linalg.eigh(gram.double())
    root, inverse = (vectors * values.sqrt()) @ vectors.T, (vectors / values.sqrt()) @ vectors.T
    left, singular, right = torch.linalg.svd(error.double() @ root)
    expected = (left[:, :4] * singular[:4]) @ right[:4] @ inverse
    torch.testing.assert_close(up.double() @ down.double(), expected, rtol=1e-2, atol=1e-4)
    remains = float(output_error(error - up.float() @ down.float(), gram))
    assert remains == pytest.approx(float(singular[4:].square().sum()), rel=1e-3)
    plain_down, plain_up = leading_components(error, 4)  # of least error in the weight itself
    assert remains < 0.9 * float(output_error(error - plain_up.float() @ plain_down.float(), gram))


def test_turns_of_rounding_and_branch_never_raise_the_output_error(correlated):
    weight, gram = correlated

    def error(iterations):
        quantizer, codes, (down, up) = reconstruct(weight, gram, NF4, 4, iterations)
        return float(output_error(weight - quantizer.dequantize(codes) - up.float() @ down.float(), gram))

    alone = float(output_error(weight - fit_weight(NF4, weight).fake_quantize(weight), gram))
    found = [error(iterations) for iterations in (1, 2, 5)]
    assert found[0] < 0.5 * alone
    assert found == sorted(found, reverse=True)


@torch.no_grad()
def test_smoothing_saves_a_layer_whose_input_has_an_outlier_channel():
    torch.manual_seed(0)
    layer, x = nn.Linear(32, 16), torch.randn(100, 32)
    x[:, 3] *= 100
    seen = ChannelStatistics(x.amin(0), x.amax(0), x.abs().mean(0))
    policy = {
        "activation": Scheme(bits=8, granularity="tensor", symmetric=False),
        "weight": weight_scheme(8, "channel"),
    }
    scheme = QuantizedLayer.from_float(layer, None, None).scheme.model_copy(update=policy)
    errors = []
    for scale in (torch.ones(32), smoothing_scale(layer, seen, 0.5)):
        errors.append(float((smoothed("layer", layer, scheme, scale, seen)(x) - layer(x)).square().mean()))
    assert errors[1] < 0.2 * errors[0]


def test_statistics_are_those_of_the_inputs(audioldm, prompts):
    method = methods.from_spec("smoothquant@w8a8[prompts=2,timesteps=2,steps=2]")
    calibration = method.calibrate(audioldm, prompts, seed=0)
    values = []
    hook = audioldm.backbone.conv_in.register_forward_pre_hook(lambda module, args: values.append(args[0]))
    found = channel_statistics(audioldm, calibration, ["conv_in", "conv_out"])
    hook.remove()
    flat = torch.cat(values).transpose(0, 1).flatten(1)
    torch.testing.assert_close(found["conv_in"].low, flat.amin(1))
    torch.testing.assert_close(found["conv_in"].largest, flat.abs().amax(1))
    torch.testing.assert_close(found["conv_in"].mean_magnitude, flat.abs().mean(1))
    (name, gram), *_ = input_grams(audioldm, calibration, ["conv_in"], 10**6)
    rows = torch.cat([patches(audioldm.backbone.conv_in, part, 10**6, seed=0) for part in values])
    assert name == "conv_in"
    torch.testing.assert_close(gram, rows.T @ rows / len(rows), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("spec", SPECS)
def test_a_method_gives_finite_predictions_and_a_checkpoint_of_the_same_bits(
    spec, audioldm, quantize, predict, tmp_path
):
    exact = predict(audioldm)
    result = quantize(audioldm, spec)
    predicted = predict(audioldm, result.module)
    assert bool(torch.isfinite(predicted).all())
    assert not torch.equal(predicted, exact)
    assert float((predicted - exact).square().mean()) < float(exact.square().mean())
    assert torch.equal(predict(audioldm), exact)  # the model is left as it is
    result.pack(tmp_path / "packed")
    assert torch.equal(predict(audioldm, load(tmp_path / "packed")), predicted)
    ends = quantized_layers(result.module)
    assert {ends[name].scheme.weight.bits for name in ("conv_in", "conv_out")} == {8}


@pytest.mark.parametrize(
    "name", ["smoothquant", "gptq", "awq", "hqq", "nf4", "svdquant", "vidit-q", "convrot", "qera", "sqd"]
)
def test_16_bits_are_full_precision_bit_for_bit(name, audioldm, quantize, predict):
    assert torch.equal(predict(audioldm, quantize(audioldm, f"{name}@w16a16").module), predict(audioldm))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("hqq@w4a8", "hqq@w4a16"),
        ("nf4@w4a8", "nf4@w4a16"),
        ("nf4@w3a16", "4 bits"),
        ("qera@w4a8", "qera@w4a16"),
        ("qera@w3a16", "qera@w4a16"),
        ("smoothquant@w8a8[alpha=2]", "alpha"),
    ],
)
def test_what_a_method_cannot_do_is_refused(spec, message, audioldm, quantize):
    with pytest.raises(UsageError, match=message):
        quantize(audioldm, spec)


@pytest.mark.parametrize(
    "name", ["smoothquant", "gptq", "awq", "svdquant", "vidit-q", "sqd", "svdquant-gptq", "q-dit", "dirotq"]
)
def test_a_calibration_set_of_another_model_is_refused(name, audioldm, other_audioldm, prompts):
    method = methods.from_spec(f"{name}@w4a8[prompts=2,timesteps=2,steps=2]")
    calibration = method.calibrate(other_audioldm, prompts, seed=0)
    with pytest.raises(UsageError, match="drawn from"):
        method.quantize(audioldm, calibration)


def _run_layer(kind, outlier, activation=8):
    """Return a layer with inputs that have an outlier channel or none, under W4 in groups and dynamic inputs."""
    torch.manual_seed(0)
    layer = nn.Linear(64, 48) if kind == "linear" else nn.Conv2d(32, 24, 3, padding=1)
    rows = torch.randn(256, layer.weight[0].numel()) * torch.rand(layer.weight[0].numel()).add(0.2)
    channel = rows.view(256, layer.weight.shape[1], -1)
    channel[:, 5] *= outlier
    inputs = Scheme(bits=activation, granularity="group", symmetric=True, group_size=16, dynamic=True)
    run = RunLayer.of(layer, LayerScheme(weight=GROUPS, activation=inputs), rows)
    ends = channel.amin((0, 2)), channel.amax((0, 2))
    return run, ChannelStatistics(*ends, channel.abs().mean((0, 2)))


@torch.no_grad()
def _authors_error(run, seen, alpha, beta, rank):
    """Return the output error of one smoothing, written out anew: branch, rounded residual, rounded inputs."""
    weight = run.layer.weight.flatten(1)
    taps = weight.shape[1] // len(seen.low)
    channels = run.layer.weight.abs().transpose(0, 1).flatten(1).amax(1)
    scale = (seen.largest**alpha / channels**beta).repeat_interleave(taps)
    smooth, rows = weight * scale, run.rows / scale
    left, values, right = torch.linalg.svd(smooth, full_matrices=False)
    branch = (left[:, :rank] * values[:rank]) @ right[:rank]
    residual = Quantizer.min_max(run.scheme, smooth - branch).fake_quantize(smooth - branch)
    grouped = rows.view(len(rows), -1, 16, taps)
    step = grouped.abs().amax(2, keepdim=True).clamp(min=1e-20) / (2 ** (run.activation.scheme.bits - 1) - 1)
    rounded = ((grouped / step).round() * step).flatten(1)
    return float((rounded @ residual.T + rows @ branch.T - rows @ weight.T).square().mean(0).sum())


@pytest.mark.parametrize("kind", ["linear", "conv"])
@pytest.mark.parametrize(("outlier", "bits"), [(1, 4), (40, 4), (40, 8)])
def test_svdquants_smoothing_is_that_of_least_error_as_the_layer_runs(kind, outlier, bits):
    run, seen = _run_layer(kind, outlier, bits)
    found = decompose(run, seen, rank=8, iterations=1)
    smooth = found.residual
    rounded = Quantizer.min_max(run.scheme, smooth).fake_quantize(smooth)
    error = run.error(found.scale, rounded, found.branch)
    tried = [_authors_error(run, seen, alpha, beta, 8) for alpha, beta in CANDIDATES]
    assert len(tried) == 39
    assert error <= 1.05 * min(tried)
    assert error <= 1.001 * tried[CANDIDATES.index((0.0, 0.0))]
    more = decompose(run, seen, rank=8, iterations=5)
    again = Quantizer.min_max(run.scheme, more.residual).fake_quantize(more.residual)
    assert run.error(more.scale, again, more.branch) <= error
    # what was judged is what the layer computes
    layer = QuantizedLayer.from_float(
        run.layer,
        Quantizer.min_max(run.scheme, more.residual),
        run.activation,
        weight=more.residual,
        input_scale=more.scale,
        low_rank=more.branch,
    )
    if kind == "linear":
        output = (layer(run.rows) - run.layer(run.rows)).detach()
        assert float(output.square().mean(0).sum()) == pytest.approx(
            run.error(more.scale, again, more.branch), rel=1e-3
        )


@pytest.mark.parametrize("exponent", [0.0, 0.25, 0.5, 0.75])
def test_awqs_search_never_loses_to_a_fixed_exponent(correlated, exponent):
    weight, gram = correlated
    magnitude = gram.diagonal().sqrt()

    def error(scale):
        scaled = weight * scale
        return float(output_error(fit_weight(GROUPS, scaled).fake_quantize(scaled) / scale - weight, gram))

    fixed = magnitude.clamp(min=1e-4) ** exponent
    found = search_scale(weight, GROUPS, magnitude, by_gram(weight, gram))
    assert error(found) <= error(fixed / (fixed.max() * fixed.min()).sqrt())


@pytest.mark.parametrize("kind", ["linear", "conv"])
@pytest.mark.parametrize("outlier", [1, 40])
@torch.no_grad()
def test_awqs_choices_never_lose_to_a_fixed_exponent_and_to_whole_ranges_as_the_layer_runs(kind, outlier):
    """Inputs rounded to 4 bits in a static range, which is the scale's to widen or narrow."""
    run, seen = _run_layer(kind, outlier)
    gram, layer = run.rows.T @ run.rows / len(run.rows), run.layer

    def inputs(scale):
        return Quantizer.min_max(activation_scheme(4), seen.range_over(scale))

    found = choose("to_v", layer, gram, run.scheme, seen, as_it_runs(run, inputs))

    def error(scale, quantizer=None):
        scaled = layer.weight * over_inputs(scale, layer.weight)
        quantized = QuantizedLayer.from_float(
            layer, quantizer or fit_weight(run.scheme, scaled), inputs(scale), weight=scaled, input_scale=scale
        )
        x = run.rows if kind == "linear" else run.rows.view(-1, *layer.weight.shape[1:])
        if kind == "conv":  # each patch as an image, of which the middle is what the patch is of
            return float((quantized(x) - layer(x))[..., 1, 1].square().mean(0).sum())
        return float((quantized(x) - layer(x)).square().mean(0).sum())

    own = error(found.scale, found.quantizer)
    for step in range(GRID):
        fixed = seen.mean_magnitude.clamp(min=1e-4) ** (step / GRID)
        assert own <= error(fixed / (fixed.max() * fixed.min()).sqrt()) * (1 + 1e-5)


def test_vidit_q_gives_the_inputs_maxima_the_larger_exponent_and_rotates(audioldm, quantize):
    """As the released code: x * max|W|**alpha / max|X|**(1 - alpha), which is then rotated."""
    spec = "vidit-q@w8a8[prompts=2,timesteps=2,steps=2,momentum=0,alpha=0.25]"
    layers = quantized_layers(quantize(audioldm, spec).module)
    name = "mid_block.resnets.0.conv1"
    weight = audioldm.backbone.get_submodule(name).weight.abs().transpose(0, 1).flatten(1).amax(1)
    largest = (layers[name].input_scale * weight**0.25) ** (1 / 0.75)
    method = methods.from_spec("naive@w8a8[prompts=2,timesteps=2,steps=2]")
    calibration = method.calibrate(audioldm, [f"sound number {index}" for index in range(20)], seed=0)
    seen = channel_statistics(audioldm, calibration.take(calibration.step.argsort(stable=True)[-32:]), [name])[name]
    torch.testing.assert_close(largest, seen.largest, rtol=1e-3, atol=1e-4)
    assert {layer.rotation for layer in layers.values()} == {4, 16, 64}
    assert {
        layer.rotation for layer in quantized_layers(quantize(audioldm, "vidit-q@w8a8[rotation=0]").module).values()
    } == {0}


def test_convrot_takes_no_data_and_rounds_symmetrically(audioldm):
    method = methods.from_spec("convrot@w4a8")
    assert method.calibrate(audioldm, [], seed=0) is None
    layers = quantized_layers(method.quantize(audioldm, None).module)
    assert {layer.scheme.weight.symmetric for layer in layers.values()} == {True}
    assert {layer.scheme.activation.granularity for layer in layers.values()} == {"token", "sample"}
    assert layers["conv_in"].scheme.weight.bits == 8
    largest = {8: 4, 16: 16, 24: 4, 32: 16, 64: 64}
    assert all(layer.rotation == largest[layer.shape[1]] for layer in layers.values())
    ends = quantized_layers(methods.from_spec("convrot@mxfp4").quantize(audioldm, None).module)
    assert {layer.scheme.weight.codebook for name, layer in ends.items() if name not in ("conv_in", "conv_out")} == {
        "e2m1"
    }


@pytest.mark.slow(60)
@pytest.mark.parametrize("outlier", [1, 40])
@pytest.mark.parametrize("layer", ["0.attn1.to_q", "0.attn2.to_k", "1.attn1.to_out.0", "1.ff.net.0.proj", "2.ff.net.2"])
@torch.no_grad()
def test_svdquants_search_is_as_good_as_its_authors_on_what_a_trained_model_reads(layer, outlier):
    """Their 39 candidates, written out anew, on layers of a trained transformer with their own inputs, at W4A4.

    As they are, and with one input channel of 32 times 40, its weights divided by as much.
    """
    model = load_model("tiny-dit")
    drawn = methods.from_spec("naive@w4a4[prompts=2,timesteps=2]").calibrate(model, ["rain", "a dog barks"], seed=0)
    full = f"transformer_blocks.{layer}"
    own = quantizable_layers(model.backbone)[full]
    ((_, rows),) = input_rows(model, drawn, [full], 128)
    gain = torch.ones(rows.shape[1])
    gain[::32] = outlier
    rows, own = rows * gain, with_weight(own, own.weight / gain)
    inputs = Scheme(bits=4, granularity="group", symmetric=True, group_size=16, dynamic=True)
    run = RunLayer.of(own, LayerScheme(weight=GROUPS, activation=inputs), rows)
    seen = ChannelStatistics(rows.amin(0), rows.amax(0), rows.abs().mean(0))
    found = decompose(run, seen, rank=8, iterations=1)
    rounded = Quantizer.min_max(run.scheme, found.residual).fake_quantize(found.residual)
    tried = [_authors_error(run, seen, alpha, beta, 8) for alpha, beta in CANDIDATES]
    assert run.error(found.scale, rounded, found.branch) <= 1.05 * min(tried)
