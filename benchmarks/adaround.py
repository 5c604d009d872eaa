"""How long one iteration of AdaRound takes: the package's loop beside a plain one, on blocks of AudioLDM's U-Net.

    python -m benchmarks.adaround [--iterations 20] [--batch 8] [--threads 1]

The plain loop is what published implementations do, written here after the papers (AdaRound, arXiv 2004.10568;
Q-Diffusion, arXiv 2302.04304): each layer computes its soft weight with autograd whenever it runs, the rounding term is
computed from the roundings a second time, each layer's roundings are a parameter of their own of Adam, and gradients of
all parameters of the block are computed. Both loops start from the same nearest codes, learn from the same samples and
end at the same objective; they are timed in turns. `wall` is what the clock says, `cpu` the process's own time, which
other work on the machine disturbs less. What is
timed is an iteration with the rounding term, which the first fifth of the iterations do without.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn
from torch.nn import functional as F

from methods.core.adaround import GAMMA, ZETA, AdaRound
from methods.core.blocks import Block, BlockInputs, BlockKind
from methods.core.layers import QuantizableLayer, QuantizedLayer, quantizable_layers, replace_layer
from methods.core.quantizer import Quantizer, along
from methods.core.reconstruction import BlockTask, Effort, iterate, objective
from methods.core.scheme import weight_scheme

SAMPLES = 32
PROGRESS = 0.6
"""Where in the course of learning iterations are timed."""


@dataclass(frozen=True)
class Case:
    """A block and the shape of its inputs."""

    name: str
    kind: BlockKind
    channels: int
    positions: tuple[int, int]
    """Time and frequency."""
    embedding: int
    """Width of the timestep's and caption's embedding."""
    heads: int

    def block(self) -> nn.Module:
        """Return the block in full precision, with random weights."""
        torch.manual_seed(0)
        if self.kind == "resnet":
            return ResnetBlock2D(in_channels=self.channels, temb_channels=self.embedding, groups=8)
        return BasicTransformerBlock(self.channels, self.heads, self.channels // self.heads, double_self_attention=True)

    def inputs(self) -> BlockInputs:
        """Return random inputs."""
        generator = torch.Generator().manual_seed(1)
        time_steps, bins = self.positions
        if self.kind == "resnet":
            shapes = [(SAMPLES, self.channels, time_steps, bins), (SAMPLES, self.embedding)]
        else:
            shapes = [(SAMPLES, time_steps * bins, self.channels)]
        return BlockInputs(tuple(torch.randn(shape, generator=generator) for shape in shapes), {}, SAMPLES)


CASES = (
    Case("tiny-audioldm resnet", "resnet", 96, (16, 4), 384, 4),
    Case("tiny-audioldm transformer", "transformer", 96, (16, 4), 384, 4),
    Case("tiny-audioldm resnet, innermost", "resnet", 128, (8, 2), 384, 4),
    Case("tiny-audioldm transformer, innermost", "transformer", 128, (8, 2), 384, 4),
    Case("AudioLDM-S resnet", "resnet", 256, (128, 8), 1024, 8),
    Case("AudioLDM-S transformer", "transformer", 256, (128, 8), 1024, 8),
    Case("AudioLDM-S resnet, innermost", "resnet", 640, (32, 2), 1024, 8),
    Case("AudioLDM-S transformer, innermost", "transformer", 640, (32, 2), 1024, 8),
)


class PlainLayer(nn.Module):
    """A layer whose soft weight is computed with autograd at every call."""

    def __init__(self, layer: QuantizableLayer, quantizer: Quantizer) -> None:
        super().__init__()
        self.layer = layer
        self.scale = along(quantizer.scale, layer.weight)
        self.zero = along(quantizer.zero_point, layer.weight).float()
        self.levels = 2**quantizer.scheme.bits - 1
        rest = layer.weight.detach() / self.scale
        rest = rest - rest.floor()
        self.alpha = nn.Parameter(-torch.log((ZETA - GAMMA) / (rest - GAMMA) - 1))

    def height(self) -> Tensor:
        """Return how far up each weight is rounded, 0..1."""
        return torch.clamp(torch.sigmoid(self.alpha) * (ZETA - GAMMA) + GAMMA, 0, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer with its soft weight."""
        codes = torch.clamp(torch.floor(self.layer.weight / self.scale) + self.height() + self.zero, 0, self.levels)
        weight = (codes - self.zero) * self.scale
        if isinstance(self.layer, nn.Linear):
            return F.linear(x, weight, self.layer.bias)
        return F.conv2d(x, weight, self.layer.bias, self.layer.stride, self.layer.padding)  # type: ignore[arg-type]


def plain_loop(case: Case, effort: Effort) -> Callable[[], None]:
    """Return one iteration of the plain loop."""
    original, inputs = case.block(), case.inputs()
    target = _target(original, inputs)
    module = copy.deepcopy(original)
    for name, layer in quantizable_layers(original).items():
        replace_layer(module, name, PlainLayer(copy.deepcopy(layer), _nearest(layer)))
    layers = [layer for layer in module.modules() if isinstance(layer, PlainLayer)]
    optimizer = torch.optim.Adam([layer.alpha for layer in layers], lr=effort.learning_rate)
    generator = torch.Generator().manual_seed(0)
    start, end = effort.beta
    beta = start + (end - start) * (PROGRESS - effort.warm_up) / (1 - effort.warm_up)

    def one() -> None:
        index = torch.randperm(SAMPLES, generator=generator)[: effort.batch_size]
        args, _ = inputs.take(index)
        optimizer.zero_grad()
        loss = objective(module(*args), target[index])
        for layer in layers:
            loss = loss + effort.round_weight * (1 - ((layer.height() - 0.5).abs() * 2).pow(beta)).sum()
        loss.backward()
        optimizer.step()

    return one


def package_loop(case: Case, effort: Effort) -> Callable[[], None]:
    """Return one iteration of the package's loop."""
    original, inputs = case.block(), case.inputs()
    module = copy.deepcopy(original)
    originals = quantizable_layers(original)
    for name, layer in originals.items():
        replace_layer(module, name, QuantizedLayer.from_float(layer, _nearest(layer), None))
    layers = {name: module.get_submodule(name) for name in originals}
    block = Block(case.name, case.kind, tuple(originals))
    task = BlockTask(block, module, layers, inputs, _target(original, inputs))  # type: ignore[arg-type]
    rounding = AdaRound(task.layers, originals, effort)
    module.requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    bf16 = task.gains_from_bf16(effort, task.losses().learned)
    return lambda: iterate(task, [rounding], effort, generator, PROGRESS, bf16=bf16)


def compare(loops: dict[str, Callable[[], None]], iterations: int) -> dict[str, tuple[float, float]]:
    """Return the median wall and processor time of an iteration of each loop, in ms; they are timed in turns."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in loops}
    for number in range(iterations + 2):
        for name, loop in loops.items():
            wall, cpu = time.perf_counter(), time.process_time()
            loop()
            if number >= 2:  # not the first ones
                times[name].append((1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - cpu)))
    return {
        name: (statistics.median(wall for wall, _ in each), statistics.median(cpu for _, cpu in each))
        for name, each in times.items()
    }


def main() -> None:
    """Time both loops on every case and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], prog="python -m benchmarks.adaround")
    parser.add_argument("--iterations", type=int, default=20, help="timed iterations of each loop")
    parser.add_argument("--batch", type=int, default=8, help=f"samples of an iteration, at most {SAMPLES}")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    effort = Effort(1, options.batch)
    print(f"{'block':38} {'plain, ms':>20} {'package, ms':>20} {'times as fast':>16}")
    print(f"{'':38} {'wall':>10}{'cpu':>10} {'wall':>10}{'cpu':>10} {'wall':>8}{'cpu':>8}")
    for case in CASES:
        loops = {"plain": plain_loop(case, effort), "package": package_loop(case, effort)}
        (plain_wall, plain_cpu), (wall, cpu) = compare(loops, options.iterations).values()
        ratios = f"{plain_wall / wall:8.2f}{plain_cpu / cpu:8.2f}"
        print(f"{case.name:38} {plain_wall:10.1f}{plain_cpu:10.1f} {wall:10.1f}{cpu:10.1f} {ratios}", flush=True)


def _nearest(layer: QuantizableLayer) -> Quantizer:
    scheme = weight_scheme(4, "channel")
    assert scheme is not None
    return Quantizer.min_max(scheme, layer.weight)


@torch.no_grad()
def _target(block: nn.Module, inputs: BlockInputs) -> Tensor:
    output: Tensor = block(*inputs.args)
    return output


if __name__ == "__main__":
    main()
