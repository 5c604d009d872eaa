"""The block reconstruction that Q-Diffusion's authors released, timed as it is, from a checkout of theirs.

Nothing of it is in this repository (Xiuyu-Li/q-diffusion, MIT licence): its blocks, its quantizers and its loop are
imported from where it lies. It needs `einops`. What is done to it so that it runs here:

- its loop moves tensors to `cuda`, whatever the machine; here `cuda` is the CPU;
- its ResNet block takes square maps alone, so it gets one with as many positions;
- its transformer block cannot do without a context, so its second attention reads the block's input;
- what it would cache by running a whole model is given: random numbers, as to the other loops;
- gradient checkpointing, with which its scripts for Stable Diffusion compute every forward pass twice, is off.
"""

from __future__ import annotations

import logging
import math
import sys
import time
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from benchmarks.cases import Case, Times

WEIGHTS = {"n_bits": 4, "channel_wise": True, "scale_method": "max"}
ACTIVATIONS = {"n_bits": 8, "channel_wise": False, "scale_method": "max", "leaf_param": False}


class ReleasedLoop:
    """The released loop on one block.

    Args:
        checkout: folder of a checkout of Xiuyu-Li/q-diffusion.
        case: the block.
        batch: samples of an iteration.
        samples: samples to draw them from.

    Raises:
        ImportError: it is no such checkout, or `einops` is missing.
    """

    def __init__(self, checkout: Path, case: Case, batch: int, samples: int) -> None:
        if str(checkout) not in sys.path:
            sys.path.insert(0, str(checkout))
        logging.getLogger("qdiff").setLevel(logging.ERROR)
        import qdiff.block_recon
        import qdiff.quant_model

        self._recon, self._batch = qdiff.block_recon, batch
        holder: Any = nn.Module()
        holder.in_channels, holder.block = case.channels, _block(case)
        self._model = qdiff.quant_model.QuantModel(holder, WEIGHTS, ACTIVATIONS)
        self._block = holder.block
        self._inputs = _inputs(case, samples)
        with torch.no_grad():
            self._block.set_quant_state(False, False)
            self._target = self._block(*self._inputs)
            self._block.set_quant_state(True, False)
            self._block(*[tensor[:1] for tensor in self._inputs])  # sets the ranges of its weights
        self._nearest = {
            name: module.weight_quantizer for name, module in self._block.named_modules() if _is_quantized(module)
        }

    def run(self, iterations: int) -> list[Times]:
        """Do some iterations from the nearest codes, all with the rounding term; return the times of all but two."""
        for name, quantizer in self._nearest.items():
            self._block.get_submodule(name).weight_quantizer = quantizer
        starts: list[Times] = []
        draw = torch.randperm

        def drawing(*args: Any) -> Tensor:
            starts.append((time.perf_counter(), time.process_time()))  # the first thing in an iteration
            return draw(*args)

        cached = list(self._inputs), self._target
        with (
            redirect_stdout(StringIO()),
            patch.object(self._recon, "save_inp_oup_data", lambda *args, **kwargs: cached),
            patch.object(torch.Tensor, "to", _to_cpu),
            patch.object(torch, "randperm", drawing),
        ):
            self._recon.block_reconstruction(
                self._model, self._block, None, self._batch, iters=iterations + 3, warmup=0.0, asym=True
            )
        ends = starts[1:]
        return [(end[0] - start[0], end[1] - start[1]) for start, end in zip(starts, ends, strict=False)][2:]


def _block(case: Case) -> nn.Module:
    from ldm.modules.attention import BasicTransformerBlock
    from ldm.modules.diffusionmodules.openaimodel import ResBlock

    torch.manual_seed(0)
    if case.kind == "transformer":
        return BasicTransformerBlock(case.channels, case.heads, case.channels // case.heads, checkpoint=False)
    block = ResBlock(case.channels, case.embedding, 0.0, use_checkpoint=False)
    block.out_layers[-1].reset_parameters()  # it starts at zero
    return block


def _inputs(case: Case, samples: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    positions = math.prod(case.positions)
    if case.kind == "transformer":
        tokens = torch.randn((samples, positions, case.channels), generator=generator)
        return [tokens, tokens]
    side = math.isqrt(positions)
    shapes = [(samples, case.channels, side, positions // side), (samples, case.embedding)]
    return [torch.randn(shape, generator=generator) for shape in shapes]


def _is_quantized(module: nn.Module) -> bool:
    return type(module).__name__ == "QuantModule"


_TO = torch.Tensor.to


def _to_cpu(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return _TO(self, *["cpu" if arg == "cuda" else arg for arg in args], **kwargs)
