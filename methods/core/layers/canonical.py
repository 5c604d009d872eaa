"""Layers that libraries make in other ways, as the canonical Linear and convolution layers that they compute.

What is quantized, or written to a checkpoint, is a canonical layer: one weight, its output channels first.

- Weight normalisation (Salimans and Kingma 2016), which some autoencoders of diffusers are made with: w = g v / |v|
  (eq. 2) is computed at each call from two parameters, which only training needs apart.
- transformers' `Conv1D`, which GPT-2 is made of: a Linear layer with its weight transposed.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import nn
from torch.nn.utils.weight_norm import WeightNorm
from transformers.pytorch_utils import Conv1D

Network = TypeVar("Network", bound=nn.Module)


@contextmanager
def quiet_weight_norm() -> Iterator[None]:
    """Keep torch from warning of the weight norm that diffusers' autoencoders are still made with."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r".*weight_norm. is deprecated", FutureWarning)
        yield


@torch.no_grad()
def make_canonical(network: Network) -> Network:
    """Put canonical layers in the place of those that are made otherwise; return the network, which computes the same.

    >>> with quiet_weight_norm():
    ...     layer = nn.utils.weight_norm(nn.Linear(3, 2))
    >>> sorted(name for name, _ in make_canonical(layer).named_parameters())
    ['bias', 'weight']
    >>> make_canonical(nn.Sequential(Conv1D(2, 3)))
    Sequential(
      (0): Linear(in_features=3, out_features=2, bias=True)
    )
    """
    for module in network.modules():
        for key, hook in list(module._forward_pre_hooks.items()):
            if isinstance(hook, WeightNorm):
                hook.remove(module)
                del module._forward_pre_hooks[key]
        for name, child in module.named_children():
            if type(child) is Conv1D:
                setattr(module, name, _linear(child))
    return network


def _linear(layer: Conv1D) -> nn.Linear:
    inputs, outputs = layer.weight.shape
    linear = nn.Linear(inputs, outputs, device="meta")
    linear.weight = nn.Parameter(layer.weight.T.contiguous(), requires_grad=layer.weight.requires_grad)
    linear.bias = layer.bias
    return linear.train(layer.training)
