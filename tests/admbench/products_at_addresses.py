"""Compute 300 narrow products at six addresses each, and print how many do not come out the same to the bit."""

import random
import sys

import torch
from torch import Tensor
from torch.nn.functional import linear

OFFSETS = (0, 4, 16, 64, 1040, 2112)
"""Bytes behind the beginning of a page."""


def at(tensor: Tensor, offset: int) -> Tensor:
    buffer = torch.empty(tensor.numel() + 2048)
    start = (-buffer.data_ptr() % 4096 + offset) // 4
    return buffer[start : start + tensor.numel()].view(tensor.shape).copy_(tensor)


def come_out(inputs: Tensor, weight: Tensor, bias: Tensor) -> set[bytes]:
    moved = [[at(one, offset) for one in (inputs, weight, bias)] for offset in OFFSETS]
    return {linear(*tensors).numpy().tobytes() for tensors in moved}


torch.set_num_threads(int(sys.argv[1]))
torch.manual_seed(0)
drawn = random.Random(0)
differ = 0
for _ in range(300):
    sizes = [drawn.randint(1, 20), drawn.randint(1, 400), drawn.randint(1, 400)]
    drawn.shuffle(sizes)
    rows, inner, columns = sizes
    weight = torch.randn(columns, inner)
    differ += len(come_out(torch.randn(rows, inner), weight, torch.randn(columns))) > 1
print(f"{differ} of 300 differ")
