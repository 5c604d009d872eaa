"""Embeddings and transposed convolutions are quantized by their weights: per output channel, to the bit in a file."""

import copy
import json
from hashlib import sha256

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from admbench.errors import CheckpointError
from admbench.methods.core.backbone import QuantizedBackbone, make_report
from admbench.methods.core.checkpoint.header import MethodHeader, SourceHeader, sealed
from admbench.methods.core.checkpoint.reading import load
from admbench.methods.core.kernels.select import choose
from admbench.methods.core.layers.kinds import weight_of, weight_only_layers
from admbench.methods.core.layers.quantized import QuantizedLayer, quantized_layers
from admbench.methods.core.layers.transposed import swap_channels
from admbench.methods.core.numbers.dynamic import DynamicQuantizer
from admbench.methods.core.numbers.quantizer import Quantizer
from admbench.methods.core.numbers.scheme import (
    LayerParts,
    LayerScheme,
    Scheme,
    activation_scheme,
    weight_scheme,
)
from admbench.methods.core.weight_only_fallback import apply_weight_only_fallback

from .tiny_components import COMPONENTS, inputs_of, output_of

LAYERS = {
    "transposed 1d": (lambda: nn.ConvTranspose1d(6, 5, 4, stride=2, padding=1), (2, 6, 9)),
    "transposed 1d, groups": (
        lambda: nn.ConvTranspose1d(6, 9, 5, stride=3, output_padding=2, groups=3, dilation=2, bias=False),
        (1, 6, 7),
    ),
    "transposed 2d": (lambda: nn.ConvTranspose2d(4, 3, (3, 5), stride=(2, 1), padding=(1, 2)), (2, 4, 5, 7)),
    "transposed 2d, groups": (lambda: nn.ConvTranspose2d(4, 6, (1, 3), groups=2, stride=2), (1, 4, 3, 5)),
    "embedding": (lambda: nn.Embedding(11, 7), None),
    "embedding, padding": (lambda: nn.Embedding(11, 5, padding_idx=1), None),
}


@pytest.fixture(params=LAYERS)
def layer_and_input(request):
    torch.manual_seed(0)
    make, shape = LAYERS[request.param]
    return make(), torch.randn(shape) if shape else torch.randint(11, (3, 8))


def outputs_of(layer, weight=None):
    """Return views of what belongs to each output channel, in a weight as torch has it."""
    weight = layer.weight if weight is None else weight
    if isinstance(layer, nn.Embedding):
        return list(weight)
    # (in, out / groups, ...), the inputs of a group side by side
    each = layer.out_channels // layer.groups
    return [block[:, channel] for block in weight.chunk(layer.groups) for channel in range(each)]


@pytest.mark.parametrize("bits", [3, 4, 8])
@torch.no_grad()
def test_each_output_channel_is_rounded_by_at_most_half_its_own_step(layer_and_input, bits):
    layer, _ = layer_and_input
    for number, channel in enumerate(outputs_of(layer)):
        channel.mul_(10.0 ** (number % 3))  # a step shared between channels would be ten times too coarse
    scheme = weight_scheme(bits, "channel")
    quantized = QuantizedLayer.from_float(layer, Quantizer.min_max(scheme, weight_of(layer)), None)
    weight = quantized.weight
    if not isinstance(layer, nn.Embedding):
        weight = swap_channels(weight, layer.groups)
    for original, rounded in zip(outputs_of(layer), outputs_of(layer, weight), strict=True):
        low, high = original.min().clamp(max=0), original.max().clamp(min=0)
        reach = 2 * torch.maximum(-low, high) if scheme.symmetric else high - low
        step = reach / (scheme.code_max - scheme.code_min)
        assert (rounded - original).abs().max() <= step / 2 * (1 + 1e-5)


@torch.no_grad()
def test_it_computes_what_torch_does_with_the_weights_that_the_codes_stand_for(layer_and_input):
    layer, x = layer_and_input
    quantizer = Quantizer.min_max(weight_scheme(8, "channel"), weight_of(layer))
    quantized = QuantizedLayer.from_float(layer, quantizer, None)
    expected = copy.deepcopy(layer)
    rounded = quantizer.fake_quantize(weight_of(layer))
    expected.weight.copy_(rounded if isinstance(layer, nn.Embedding) else swap_channels(rounded, layer.groups))
    assert torch.equal(quantized(x), expected(x))
    assert quantized(x).shape == layer(x).shape


@pytest.mark.parametrize("bits", [4, 8])
@torch.no_grad()
def test_zeros_stay_zeros(bits):
    embedding = nn.Embedding(6, 5, padding_idx=2)
    embedding.weight[4] = 0
    transposed = nn.ConvTranspose1d(3, 4, 3, bias=False)
    transposed.weight[:, 1] = 0
    for layer in (embedding, transposed):
        quantizer = Quantizer.min_max(weight_scheme(bits, "channel"), weight_of(layer))
        quantized = QuantizedLayer.from_float(layer, quantizer, None)
        assert not quantized.weight[weight_of(layer) == 0].any()
        assert quantized.weight.any()


def test_only_tables_whose_rows_are_looked_up_as_they_are_are_found():
    class Special(nn.Embedding):
        pass

    shared = nn.Embedding(3, 2)
    module = nn.ModuleDict(
        {
            "table": shared,
            "again": nn.Embedding(3, 2, _weight=shared.weight),
            "special": Special(3, 2),
            "rescaled": nn.Embedding(3, 2, max_norm=1.0),
            "up": nn.ConvTranspose2d(2, 2, 3),
            "linear": nn.Linear(2, 2),
        }
    )
    module["again"].weight = shared.weight
    assert list(weight_only_layers(module)) == ["table", "up"]


TOKEN = Scheme(bits=8, granularity="token", symmetric=False, dynamic=True)


@pytest.mark.parametrize("make", [lambda: nn.Embedding(4, 3), lambda: nn.ConvTranspose1d(4, 3, 2)])
def test_nothing_but_their_weights_is_quantized(make):
    layer, weight = make(), weight_scheme(8, "channel")
    fitted = Quantizer.min_max(weight, weight_of(layer))
    with pytest.raises(ValueError, match="the weights are quantized, and nothing else"):
        QuantizedLayer.from_float(layer, fitted, DynamicQuantizer(TOKEN, -1))
    for scheme, parts in [
        (LayerScheme(weight=weight, activation=activation_scheme(8)), LayerParts()),
        (LayerScheme(weight=weight, activation=TOKEN), LayerParts()),
        (LayerScheme(activation=activation_scheme(8)), LayerParts()),
        (LayerScheme(weight=weight), LayerParts(input_scale=True)),
        (LayerScheme(weight=weight), LayerParts(rank=1)),
    ]:
        with pytest.raises(ValueError, match="the weights are quantized, and nothing else"):
            QuantizedLayer.unfitted(layer, scheme, parts)


def test_no_kernel_claims_them():
    layer = nn.ConvTranspose1d(4, 3, 2)
    quantized = QuantizedLayer.from_float(layer, Quantizer.min_max(weight_scheme(8, "channel"), weight_of(layer)), None)
    assert choose(quantized, "cpu") == (None, "no integer kernel of a conv_transpose1d for device cpu")


def quantize(network, bits=8):
    """What is left of a network that no method has touched."""
    quantized = QuantizedBackbone(
        module=copy.deepcopy(network),
        report=make_report(network, network, 0.0),
        method=MethodHeader(name="none", spec="none@w8a16", version="1", config={}),
        source=SourceHeader(model="tiny", weights_sha256="0" * 64, license=None),
    )
    return apply_weight_only_fallback(quantized, None, None, bits)


@pytest.mark.parametrize("component", COMPONENTS)
@pytest.mark.parametrize("bits", [3, 4, 8])
def test_they_come_back_from_a_checkpoint_bit_for_bit(component, bits, tmp_path):
    network, x = COMPONENTS[component](), inputs_of(component)
    quantized = quantize(network, bits)
    predicted = output_of(quantized.module, x)
    quantized.pack(tmp_path / "packed", component)
    loaded = load(tmp_path / "packed")
    assert torch.equal(output_of(loaded, x), predicted)
    assert not torch.equal(predicted, output_of(network, x))
    stored = load_file(tmp_path / "packed" / "model.safetensors")
    for name, layer in quantized_layers(loaded).items():
        assert torch.equal(layer.weight_codes, quantized.module.get_submodule(name).weight_codes)
        assert stored[f"{name}.weight_codes"].numel() == -(-layer.weight_codes.numel() * bits // 8)


def test_a_table_that_two_places_share_is_one_layer_in_both(tmp_path):
    quantized = quantize(COMPONENTS["text_encoder"]())
    quantized.pack(tmp_path / "packed", "text_encoder")
    for network in (quantized.module, load(tmp_path / "packed")):
        assert network.shared is network.encoder.embed_tokens
        assert isinstance(network.shared, QuantizedLayer)
    names = load_file(tmp_path / "packed" / "model.safetensors").keys()
    assert sorted(name for name in names if "shared" in name or "embed_tokens" in name) == [
        "shared.weight_codes",
        "shared.weight_scale",
        "shared.weight_zero_point",
    ]


def test_the_report_counts_them():
    network = COMPONENTS["vocoder"]()
    report = quantize(network).report
    kinds = {layer.name: (layer.kind, layer.shape, layer.weight_bits, layer.activation_bits) for layer in report.layers}
    # (in, out, k) = (8, 4, 4) and (4, 2, 5) in torch
    assert kinds == {
        "upsampler.0": ("conv_transpose1d", (4, 8, 4), 8, None),
        "upsampler.1": ("conv_transpose1d", (2, 4, 5), 8, None),
    }
    assert all(layer.weight_sqnr_db > 30 for layer in report.layers)
    assert report.quantized_fraction == pytest.approx((4 * 8 * 4 + 2 * 4 * 5) / report.parameters)
    assert report.nominal_bits_per_weight == pytest.approx(32 - 24 * report.quantized_fraction)


def test_16_bits_leave_everything_as_it_is():
    assert not quantized_layers(quantize(COMPONENTS["vocoder"](), 16).module)


@torch.no_grad()
def test_a_weight_that_is_not_finite_is_refused_by_name():
    network = COMPONENTS["vocoder"]()
    network.upsampler[1].weight[0, 0, 0] = float("nan")
    with pytest.raises(CheckpointError, match=r"layer upsampler\.1: its weights hold NaN"):
        quantize(network)


def spoil(folder, change_header=None, change_tensors=None):
    tensors = load_file(folder / "model.safetensors")
    if change_tensors is not None:
        change_tensors(tensors)
        save_file(tensors, folder / "model.safetensors")
    header = json.loads((folder / "quantization.json").read_text())
    header["tensors"] = {
        name: sha256(tensor.reshape(-1).view(torch.uint8).numpy().tobytes()).hexdigest()
        for name, tensor in tensors.items()
    }
    if change_header is not None:
        change_header(header["layers"])
    (folder / "quantization.json").write_text(json.dumps(sealed(header)))


ACTIVATION = activation_scheme(8).model_dump()


@pytest.mark.parametrize(
    ("component", "change", "reason"),
    [
        ("text_encoder", lambda layers: layers["shared"].update(kind="linear"), "layers.shared: expected a embedding"),
        ("text_encoder", lambda layers: layers["shared"].update(shape=[12, 23]), "layers.shared: expected a embedding"),
        ("text_encoder", lambda layers: layers["shared"].update(activation=ACTIVATION), "layers.shared: of a layer"),
        ("text_encoder", lambda layers: layers["shared"].update(weight=None), "layers.shared: quantizes nothing"),
        (
            "text_encoder",
            lambda layers: layers.update({"encoder.embed_tokens": layers["shared"]}),
            "layers.encoder.embed_tokens: T5EncoderModel has no such layer to quantize",
        ),
        (
            "vocoder",
            lambda layers: layers["upsampler.0"].update(shape=[8, 4, 4]),  # as torch has it
            "layers.upsampler.0: expected a conv_transpose1d of shape [4, 8, 4]",
        ),
        ("vocoder", lambda layers: layers["upsampler.0"].update(kind="conv1d"), "expected a conv_transpose1d"),
        ("vocoder", lambda layers: layers["upsampler.0"]["parts"].update(rank=1), "layers.upsampler.0: of a layer"),
    ],
)
def test_an_edited_header_is_refused_with_the_layer_named(component, change, reason, tmp_path):
    quantize(COMPONENTS[component]()).pack(tmp_path / "packed", component)
    spoil(tmp_path / "packed", change_header=change)
    with pytest.raises(CheckpointError) as error:
        load(tmp_path / "packed")
    assert reason in str(error.value)


@pytest.mark.parametrize(
    ("component", "name", "change", "reason"),
    [
        ("text_encoder", "shared.weight_codes", lambda codes: codes[:-1].clone(), "expected torch.uint8"),
        ("text_encoder", "shared.weight_codes", lambda codes: codes * 0, "code 0 is below 1"),
        ("text_encoder", "shared.weight_scale", lambda scale: scale[:12].clone(), "expected torch.float32 (23,)"),
        ("vocoder", "upsampler.0.weight_scale", lambda scale: scale.repeat(2), "expected torch.float32 (4,)"),
        ("vocoder", "upsampler.0.weight_scale", lambda scale: -scale, "a scale that its scheme does not allow"),
        ("vocoder", "upsampler.1.weight_zero_point", lambda zero: zero + 1, "a zero point that its scheme"),
    ],
)
def test_an_edited_tensor_is_refused_by_name(component, name, change, reason, tmp_path):
    quantize(COMPONENTS[component]()).pack(tmp_path / "packed", component)
    spoil(tmp_path / "packed", change_tensors=lambda tensors: tensors.update({name: change(tensors[name])}))
    with pytest.raises(CheckpointError) as error:
        load(tmp_path / "packed")
    assert f"tensor {name}: " in str(error.value)
    assert reason in str(error.value)
