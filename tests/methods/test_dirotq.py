"""`dirotq`: what is kept in 16 bits is where inputs vary most, and what is rounded holds nothing of it."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from admbench import methods
from admbench.bench.models import load_model
from admbench.errors import CheckpointError
from admbench.methods.core.calibration.statistics import input_rows
from admbench.methods.core.checkpoint.header import read_header, sealed
from admbench.methods.core.checkpoint.reading import load
from admbench.methods.core.layers.kinds import quantizable_layers
from admbench.methods.core.layers.quantized import QuantizedLayer, dynamic_input, quantized_layers
from admbench.methods.core.layers.rotation import rotate
from admbench.methods.core.numbers.scheme import Scheme
from admbench.methods.core.reconstruction.error_feedback import gptq_codes
from admbench.methods.dirotq import DiRotQConfig, leading_directions, rotated_gram, solve_layer

INPUTS = Scheme(bits=4, granularity="group", symmetric=False, group_size=16, dynamic=True)
WEIGHTS = Scheme(bits=4, granularity="group", symmetric=False, group_size=16)
STORED = Path(__file__).parent / "checkpoints" / "version-8"


def output_error(layer, rows, config):
    """Return the mean squared error of a layer's outputs as it runs, summed over channels."""
    found = solve_layer(layer.weight.detach(), rows.T @ rows / len(rows), WEIGHTS, config)
    quantized = QuantizedLayer(
        layer,
        weight_codes=found.codes,
        weight_quantizer=found.quantizer,
        activation_quantizer=dynamic_input(INPUTS, layer),
        rotation=found.rotation,
        low_rank=found.branch,
        deflated=found.branch is not None,
    )
    with torch.no_grad():
        return float((quantized(rows) - layer(rows)).square().mean(0).sum())


def released_error(layer, rows, fraction):
    """Return the same of what the released code does, written out anew: a dense basis, the leading part left alone."""
    weight, gram = layer.weight.detach().double(), rows.T.double() @ rows.double() / len(rows)
    high = round(fraction * len(gram))
    _, vectors = torch.linalg.eigh(gram)
    turn, _ = torch.linalg.qr(torch.randn(len(gram) - high, len(gram) - high, dtype=torch.float64))
    low, leading = vectors[:, : len(gram) - high] @ turn, vectors[:, len(gram) - high :]
    own = low.T @ gram @ low
    own.diagonal().add_(0.01 * gram.diagonal().mean())
    scheme = WEIGHTS.for_terms(low.shape[1])
    quantizer, codes = gptq_codes((weight @ low).float(), (own + own.T) / 2, scheme, damping=0)
    rest = dynamic_input(INPUTS, nn.Linear(low.shape[1], 1)).fake_quantize(rows @ low.float())
    out = rest @ quantizer.dequantize(codes).T + (rows @ leading.float()) @ (weight @ leading).half().float().T
    return float((out - rows @ layer.weight.detach().T).square().mean(0).sum())


@torch.no_grad()
def test_the_branch_reads_the_directions_of_most_variance_and_the_rest_nothing_of_them():
    torch.manual_seed(0)
    basis, _ = torch.linalg.qr(torch.randn(64, 64, dtype=torch.float64))
    gram = basis @ torch.diag(torch.arange(64.0, dtype=torch.float64).exp2() / 2**50) @ basis.T
    weight = torch.randn(48, 64)
    down, up = leading_directions(weight, gram, 8)
    shared = torch.linalg.svdvals(down.double() @ basis[:, -8:])
    assert float(shared.min()) == pytest.approx(1, abs=1e-3)
    left = (weight - up.float() @ down.float()) @ down.float().T
    assert float(left.abs().max()) < 2e-3 * float((weight @ down.float().T).abs().max())


@pytest.mark.parametrize("kind", ["linear", "conv"])
@torch.no_grad()
def test_a_deflated_layer_is_exact_in_full_precision(kind):
    torch.manual_seed(0)
    layer = nn.Linear(64, 48) if kind == "linear" else nn.Conv1d(64, 48, 1)
    x = torch.randn(3, 7, 64) if kind == "linear" else torch.randn(3, 64, 7)
    expected, weight = layer(x), layer.weight.clone()
    down, up = leading_directions(rotate(weight, 16, 1), torch.diag(torch.rand(64)).double(), 8)
    parts = {"rotation": 16, "low_rank": (down, up), "deflated": True}
    layer.weight.copy_(QuantizedLayer(layer, **parts).folded(weight))
    deflated = QuantizedLayer(layer, **parts)
    torch.testing.assert_close(deflated(x), expected, rtol=2e-3, atol=2e-3)  # what the branch holds has 16 bits
    torch.testing.assert_close(deflated.effective_weight, weight, rtol=2e-3, atol=2e-3)
    rest = deflated.deflate(deflated.prepare_input(x))
    rest = rest if kind == "linear" else rest.movedim(1, -1)
    assert float((rest @ down.float().flatten(1).T).abs().max()) < 1e-2
    assert deflated.parts.deflated


def test_a_rotated_gram_matrix_is_that_of_rotated_inputs():
    torch.manual_seed(0)
    rows = torch.randn(50, 16 * 3)
    turned = rotate(rows.view(50, 16, 3), 4, 1).flatten(1)
    torch.testing.assert_close(rotated_gram(rows.T @ rows, 16, 4), turned.T @ turned, rtol=1e-4, atol=1e-3)


def test_what_lies_in_few_directions_is_not_rounded():
    torch.manual_seed(0)
    layer = nn.Linear(64, 48)
    rows = torch.randn(512, 6) @ torch.randn(6, 64) * 5 + torch.randn(512, 64) * 0.1
    whole = output_error(layer, rows, DiRotQConfig(preset="quick", fraction=0))
    assert output_error(layer, rows, DiRotQConfig(preset="quick")) < 0.01 * whole


def test_layers_that_read_several_positions_have_no_branch(audioldm, quantize):
    layers = quantized_layers(quantize(audioldm, "dirotq@w4a4[positions=64]").module)
    several = {name for name, layer in layers.items() if layer.shape[2:] not in ((), (1,), (1, 1))}
    assert several
    assert several == {name for name, layer in layers.items() if not layer.parts.rank}
    assert all(layer.deflated for name, layer in layers.items() if name not in several)
    assert all(layer.parts.rank == round(layer.shape[1] / 8) for name, layer in layers.items() if layer.parts.rank)


@pytest.mark.slow(30)
@pytest.mark.parametrize("layer", ["0.attn1.to_q", "0.attn2.to_k", "1.attn1.to_out.0", "1.ff.net.0.proj", "2.ff.net.2"])
def test_without_a_dense_basis_the_error_is_that_of_the_released_code(layer):
    """On layers of a trained transformer with their own inputs, at W4A4; the reference has our zero points."""
    model = load_model("tiny-dit")
    drawn = methods.from_spec("naive@w4a4[prompts=2,timesteps=2]").calibrate(model, ["rain", "a dog barks"], seed=0)
    full = f"transformer_blocks.{layer}"
    own = quantizable_layers(model.backbone)[full]
    bare = nn.Linear(own.in_features, own.out_features, bias=False)
    bare.weight = own.weight
    ((_, rows),) = input_rows(model, drawn, [full], 512)
    torch.manual_seed(0)
    assert output_error(bare, rows, DiRotQConfig(preset="quick")) <= 1.05 * released_error(bare, rows, 0.125)


def test_a_stored_checkpoint_still_loads_deflated_inputs(audioldm):
    header = read_header(STORED)
    assert header.format_version == 8
    assert {layer.parts.deflated for layer in header.layers.values()} == {True, False}
    audioldm.backbone = load(STORED)
    stored = load_file(STORED / "expected.safetensors")
    inputs = {name.removeprefix("inputs."): tensor for name, tensor in stored.items() if name != "output"}
    with torch.no_grad():
        torch.testing.assert_close(audioldm.call_backbone(inputs), stored["output"], rtol=0.05, atol=0.05)


@pytest.mark.attack("packed checkpoint, edited to fit its hashes")
def test_deflated_inputs_have_a_version_of_their_own_and_a_branch(tmp_path):
    folder = shutil.copytree(STORED, tmp_path / "packed")
    path = folder / "quantization.json"
    header = json.loads(path.read_text())
    path.write_text(json.dumps(sealed(header | {"format_version": 7})))
    with pytest.raises(CheckpointError, match="version 7 has no deflated inputs"):
        read_header(folder)
    bare = next(name for name, layer in header["layers"].items() if not layer["parts"]["rank"])
    header["layers"][bare]["parts"]["deflated"] = True
    path.write_text(json.dumps(sealed(header)))
    with pytest.raises(CheckpointError, match=rf"layers\.{bare}: .*a deflated input needs a low-rank branch"):
        load(folder)
