"""How long one iteration of AdaRound takes: the package's loop beside a textbook one, on blocks of AudioLDM's U-Net.

    python -m benchmarks.adaround [--iterations 20] [--batch 8] [--threads 1] [--released q-diffusion/]

The textbook loop is what published implementations do, written here after the papers (AdaRound, arXiv 2004.10568;
Q-Diffusion, arXiv 2302.04304): each layer computes its soft weight with autograd whenever it runs, the rounding term is
computed from the roundings a second time, each layer's roundings are a parameter of their own of Adam, and gradients of
all parameters of the block are computed. Both loops start from the same nearest codes, learn from the same samples and
end at the same objective; they are timed in turns. `wall` is what the clock says, `cpu` the process's own time, which
other work on the machine disturbs less. What is
timed is an iteration with the rounding term, which the first fifth of the iterations do without.

With `--released`, the folder of a checkout of Xiuyu-Li/q-diffusion, its authors' own loop is timed beside them, see
`benchmarks.released`.
"""

from __future__ import annotations

import argparse
import copy
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from admbench.methods.core.layers.blocks import Block, BlockInputs
from admbench.methods.core.layers.kinds import QuantizableLayer, quantizable_layers, replace_layer
from admbench.methods.core.layers.quantized import QuantizedLayer
from admbench.methods.core.numbers.quantizer import Quantizer, along
from admbench.methods.core.numbers.scheme import weight_scheme
from admbench.methods.core.reconstruction.adaround import GAMMA, ZETA, AdaRound
from admbench.methods.core.reconstruction.objective import BlockTask, Effort, iterate, objective
from benchmarks.cases import CASES, SAMPLES, Case, Loop, Times
from benchmarks.released import ReleasedLoop

AT_A_TIME = 5
"""Iterations of a loop before it is the next one's turn."""
PROGRESS = 0.6
"""Where in the course of learning iterations are timed."""


class TextbookLayer(nn.Module):
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


def textbook_loop(case: Case, effort: Effort) -> Callable[[], None]:
    """Return one iteration of the textbook loop."""
    original, inputs = case.block(), case.inputs()
    target = _target(original, inputs)
    module = copy.deepcopy(original)
    for name, layer in quantizable_layers(original).items():
        replace_layer(module, name, TextbookLayer(copy.deepcopy(layer), _nearest(layer)))
    layers = [layer for layer in module.modules() if isinstance(layer, TextbookLayer)]
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


def timed(one: Callable[[], None]) -> Loop:
    """Return the loop over an iteration; two that are not timed come first."""

    def run(iterations: int) -> list[Times]:
        one(), one()
        times = []
        for _ in range(iterations):
            wall, cpu = time.perf_counter(), time.process_time()
            one()
            times.append((time.perf_counter() - wall, time.process_time() - cpu))
        return times

    return run


def compare(loops: dict[str, Loop], iterations: int) -> dict[str, Times]:
    """Return the median time of an iteration of each loop, ms; they run in turns, a few iterations at a time."""
    times: dict[str, list[Times]] = {name: [] for name in loops}
    for _ in range(math.ceil(iterations / AT_A_TIME)):
        for name, loop in loops.items():
            times[name] += loop(AT_A_TIME)
    return {
        name: (1e3 * statistics.median(wall for wall, _ in each), 1e3 * statistics.median(cpu for _, cpu in each))
        for name, each in times.items()
    }


def main() -> None:
    """Time the loops on every case and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], prog="python -m benchmarks.adaround")
    parser.add_argument("--iterations", type=int, default=20, help="timed iterations of each loop")
    parser.add_argument("--batch", type=int, default=8, help=f"samples of an iteration, at most {SAMPLES}")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--released", type=Path, help="checkout of Xiuyu-Li/q-diffusion, to time its loop too")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    effort = Effort(1, options.batch)
    print(f"{'block':38} {'loop':10}{'wall, ms':>10}{'cpu, ms':>10}{'package faster by, wall':>25}{'cpu':>8}")
    for case in CASES:
        loops = {"textbook": timed(textbook_loop(case, effort))}
        if options.released is not None:
            loops["released"] = ReleasedLoop(options.released.resolve(), case, options.batch, SAMPLES).run
        loops["package"] = timed(package_loop(case, effort))
        times = compare(loops, options.iterations)
        package_wall, package_cpu = times["package"]
        for name, (wall, cpu) in times.items():
            ratios = f"{wall / package_wall:25.2f}{cpu / package_cpu:8.2f}"
            print(f"{case.name:38} {name:10}{wall:10.1f}{cpu:10.1f}{ratios}", flush=True)


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
