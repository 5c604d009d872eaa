"""`svdquant-gptq`: clipped ranges of run time, and a search that never loses to what it starts from."""

import json

import pytest
import torch
from torch import nn

from admbench.errors import CheckpointError
from admbench.methods.core.calibration.statistics import ChannelStatistics
from admbench.methods.core.checkpoint.header import read_header, sealed
from admbench.methods.core.checkpoint.reading import load
from admbench.methods.core.layers.quantized import quantized_layers
from admbench.methods.core.numbers.dynamic import DynamicQuantizer
from admbench.methods.core.numbers.fitting import fit_weight
from admbench.methods.core.numbers.scheme import LayerScheme, Scheme
from admbench.methods.core.numbers.timesteps import ClippedInput, Clock
from admbench.methods.core.reconstruction.run_layer import RunLayer
from admbench.methods.core.reconstruction.smoothed_branch import decompose
from admbench.methods.svdquant_gptq import RATIOS, SVDQuantGPTQConfig, clip_ratios, solve_layer

INPUTS = Scheme(bits=4, granularity="group", symmetric=True, group_size=16, dynamic=True)
WEIGHTS = Scheme(bits=4, granularity="group", symmetric=False, group_size=16)


def test_each_row_is_clipped_by_the_ratio_of_its_timestep():
    values = torch.tensor([[-8.0, 3.0, 4.0, 0.5], [1.0, 2.0, -4.0, 0.0]]).repeat(1, 4)
    clipped = ClippedInput(INPUTS, -1, torch.tensor([0.5, 1.0]), torch.tensor([100.0, 900.0]))
    with pytest.raises(RuntimeError, match="outside of a call"):
        clipped.fake_quantize(values)
    clipped.clock = Clock()
    clipped.clock.set(torch.tensor([120.0, 700.0]))
    scale, _ = clipped.parameters_for(values)
    torch.testing.assert_close(scale.flatten(), torch.tensor([4 / 7, 4 / 7]))
    assert clipped.fake_quantize(values).abs().amax(1).tolist() == pytest.approx([4.0, 4.0])
    whole = DynamicQuantizer(INPUTS, -1)
    assert torch.equal(clipped.fake_quantize(values)[1], whole.fake_quantize(values)[1])
    frames = values.repeat_interleave(3, 0)  # a layer may make several rows of one
    assert torch.equal(clipped.fake_quantize(frames)[::3], clipped.fake_quantize(values))


def _run(tail):
    """Return a layer whose input has, in the second half of its rows, one number in 16 that is larger than others."""
    torch.manual_seed(0)
    layer, rows = nn.Linear(64, 48), torch.randn(512, 16) @ torch.randn(16, 64) / 4
    rows[256:, ::16] *= tail
    run = RunLayer.of(layer, LayerScheme(weight=WEIGHTS, activation=INPUTS), rows)
    return run, ChannelStatistics(rows.amin(0), rows.amax(0), rows.abs().mean(0))


@torch.no_grad()
@pytest.mark.parametrize("tail", [1, 8])
def test_the_searches_never_lose_to_svdquant_and_to_unclipped_ranges_as_the_layer_runs(tail):
    run, seen = _run(tail)
    config = SVDQuantGPTQConfig(rank=4, iterations=2)
    start = decompose(run, seen, 4, 2)
    nearest = fit_weight(WEIGHTS, start.residual).fake_quantize(start.residual)
    before = run.error(start.scale, nearest, start.branch)
    bins = {(1.0, 2.0): 256, (3.0, 4.0): 256}
    solution = solve_layer(run, bins, seen, config)
    rounded = solution.quantizer.dequantize(solution.codes)
    assert run.error(solution.scale, rounded, solution.branch) < 0.98 * before  # what GPTQ gains
    ratios = clip_ratios(run, start, rounded, [256, 256])
    assert set(ratios) <= set(RATIOS)
    for ratio, rows, exact in zip(ratios, run.rows.split(256), run.exact.split(256), strict=True):

        def error(clip, rows=rows, exact=exact):
            clipped = ClippedInput(INPUTS, -1, torch.tensor([clip]), torch.tensor([0.0]))
            part = RunLayer(run.layer, run.scheme, clipped, rows, exact)
            return part.error(solution.scale, rounded, solution.branch)

        assert all(error(ratio) <= error(other) for other in RATIOS)
        assert error(1.0) == RunLayer(run.layer, run.scheme, DynamicQuantizer(INPUTS, -1), rows, exact).error(
            solution.scale, rounded, solution.branch
        )
    assert isinstance(solution.activation, ClippedInput) is (tail == 8)
    if isinstance(solution.activation, ClippedInput):
        assert ratios[0] > ratios[1]
        assert solution.activation.timesteps.tolist() == [1, 2, 3, 4]
        torch.testing.assert_close(solution.activation.clip, torch.tensor(ratios).repeat_interleave(2))


def test_clipped_inputs_are_packed_in_a_version_of_their_own_and_bad_ratios_refused(audioldm, quantize, tmp_path):
    spec = "svdquant-gptq@w4a4[positions=64,rank=2,iterations=1,prompts=2,timesteps=3,steps=6,bins=2]"
    result = quantize(audioldm, spec)
    layers = quantized_layers(result.module)
    assert {layer.parts.timesteps for layer in layers.values()} & {1, 3}
    result.pack(tmp_path)
    header = tmp_path / "quantization.json"
    keys = json.loads(header.read_text())
    assert read_header(tmp_path).format_version == 7
    header.write_text(json.dumps(sealed(keys | {"format_version": 6})))
    with pytest.raises(CheckpointError, match="version 6 has no dynamic inputs that are clipped"):
        read_header(tmp_path)
    name, layer = next((name, layer) for name, layer in layers.items() if layer.parts.timesteps > 1)
    layer.activation_quantizer.clip[0] = 1.5
    result.pack(tmp_path)
    with pytest.raises(CheckpointError, match=f"{name}.activation_clip: holds a clip that its scheme does not allow"):
        load(tmp_path)
