"""The registry of kernels, and the choice of one for every quantized layer of a backbone."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from admbench.methods.core.kernels.base import Kernel
from admbench.methods.core.kernels.blocks import Glue, streamline
from admbench.methods.core.kernels.cuda import CUDA_KERNELS
from admbench.methods.core.kernels.onednn import Product
from admbench.methods.core.kernels.onednn_kernels import INT8_KERNELS
from admbench.methods.core.kernels.small import may_be_ours
from admbench.methods.core.kernels.weight_only import INT4_LINEAR
from admbench.methods.core.kernels.weights import Unpack, Weights
from admbench.methods.core.layers.kinds import quantizable_layers, replace_layer
from admbench.methods.core.layers.quantized import QuantizedLayer, quantized_layers
from admbench.methods.core.native.choice import OWN, TORCH
from admbench.methods.core.native.choice import chosen as native_choice
from admbench.methods.core.numbers.timesteps import clocks_of
from admbench.methods.core.processor import has_bf16

KERNELS: tuple[Kernel, ...] = (*INT8_KERNELS, INT4_LINEAR, *CUDA_KERNELS)
"""All kernels."""
DEFAULT = (*INT8_KERNELS, *CUDA_KERNELS)
"""Those that are chosen from unless others are named: `int4-linear` saves memory, and is slower than fp32 where a layer
has more than a few rows, as those of a diffusion backbone do."""

SIMULATED = "simulated"
"""In counts: quantized layers that no kernel computes, so that floating point simulates them."""
FLOAT = "float"
"""In counts: Linear and convolution layers that are not quantized."""


@dataclass(frozen=True)
class Fallback:
    """A quantized layer that stays simulated."""

    layer: str
    """Name in the backbone."""
    reason: str
    """Why no kernel computes it."""


@dataclass(frozen=True)
class WithKernels:
    """A backbone in which kernels compute what they can."""

    module: nn.Module
    """Same class and same call as the backbone that it was made from, and for inference on the CPU alone: weights that
    are arranged for a kernel neither move nor save."""
    chosen: dict[str, str]
    """What computes each Linear and convolution, by its name: a kernel, `simulated`, or `float`."""
    fallbacks: tuple[Fallback, ...]
    """Every quantized layer that is simulated, with the reason, in the order of definition."""
    glue: Glue | None = None
    """Type of what lies between the products of streamlined attentions; None where no block is streamlined."""
    attention: str | None = None
    """What computes streamlined attentions, `torch` or our kernel's name; None where there are none."""
    blocks: Mapping[str, int] = field(default_factory=dict)
    """Number of streamlined blocks by class; see `admbench.methods.core.kernels.blocks`."""

    @property
    def layers(self) -> dict[str, int]:
        """Number of layers per kernel, largest first; also those that are `simulated` and those that stay `float`."""
        return dict(Counter(self.chosen.values()).most_common())

    @property
    def kernels(self) -> tuple[str, ...]:
        """Names of the kernels that run, most layers first; empty if none does."""
        return tuple(name for name in self.layers if name not in (SIMULATED, FLOAT))

    @property
    def reasons(self) -> dict[str, int]:
        """Number of simulated layers per reason, largest first."""
        return dict(Counter(fallback.reason for fallback in self.fallbacks).most_common())


def choose(layer: nn.Module, device: str, kernels: Sequence[Kernel] = DEFAULT) -> tuple[Kernel | None, str]:
    """Return the first of `kernels` that computes a quantized layer on a device, or None and why none does."""
    if type(layer) is not QuantizedLayer:  # a subclass computes something else
        return None, f"no kernel computes a {type(layer).__name__}"
    candidates = [kernel for kernel in kernels if (kernel.kind, kernel.device) == (layer.kind, device)]
    if not candidates:
        return None, f"no integer kernel of a {layer.kind} for device {device}"
    refusals: dict[str, list[str]] = {}
    for kernel in candidates:
        refusal = kernel.refusal(layer)
        if refusal is None:
            return kernel, ""
        refusals.setdefault(refusal, []).append(kernel.name)
    return None, "; ".join(f"{', '.join(names)}: {refusal}" for refusal, names in refusals.items())


def default_glue() -> Glue:
    """Return bfloat16 where the processor has instructions for its products, else float32."""
    return "bfloat16" if has_bf16() else "float32"


@torch.no_grad()
def with_kernels(
    module: nn.Module,
    device: str = "cpu",
    kernels: Sequence[Kernel] = DEFAULT,
    glue: Glue | None = None,
    unpack: Unpack = "once",
    streamlined: bool = True,
    native: bool | None = None,
) -> WithKernels:
    """Put a kernel in the place of every quantized layer that one supports; the others stay as they are, counted.

    Args:
        module: backbone as a method or a packed checkpoint gives it; left as it is. The result shares its numbers,
            except for weights that a kernel wants arranged in its own way.
        device: type of the device that it runs on.
        kernels: what to choose from, most preferred first.
        glue: type of what lies between the products of attentions; None is bfloat16 where the processor multiplies it,
            else float32. See `kernels.blocks`.
        unpack: when weights of few bits become the bytes that kernels compute with; see `kernels.weights`.
        streamlined: whether blocks are computed with fewer passes over memory, or as diffusers has them, so that every
            layer is called on its own.
        native: whether attention between bfloat16 products, and norms and gates beside it, are computed by our
            kernels in C++, with a little other roundings; never with glue in float32. None is where
            `core.native.choice` says so. Small products are ours unless this is False: they are the same to the
            bit, as `kernels.small` says.
    """
    quantized = quantized_layers(module)
    shared = [*module.parameters(), *module.buffers(), *quantized.values(), *clocks_of(module)]
    result = copy.deepcopy(module, {id(item): item for item in shared})
    chosen = dict.fromkeys(quantizable_layers(module), FLOAT)
    fallbacks = []
    for name, layer in quantized.items():
        kernel, reason = choose(layer, device, kernels)
        chosen[name] = SIMULATED if kernel is None else kernel.name
        if kernel is None:
            fallbacks.append(Fallback(name, reason))
        else:
            replace_layer(result, name, kernel.build(layer))
    glue = glue or default_glue()
    small = streamlined and native is not False and may_be_ours()
    if native is None:
        native = glue == "bfloat16" and streamlined and native_choice().attention == OWN
    native = native and glue == "bfloat16"
    blocks = streamline(result, glue, native) if streamlined else {}
    for part in result.modules():
        if isinstance(part, Product):
            part.native = small
    if unpack == "layer":
        for part in result.modules():
            if isinstance(part, Weights):
                part.pack()
    attention = (OWN if native else TORCH) if "FusedAttention" in blocks else None
    return WithKernels(result.eval(), chosen, tuple(fallbacks), glue if blocks else None, attention, blocks)


def small_products(module: nn.Module) -> int:
    """Return how many products of a backbone with kernels our kernel in C++ computes; known after its first call."""
    return sum(isinstance(part, Product) and bool(part.small) for part in module.modules())


def resident_bytes(module: nn.Module) -> int:
    """Return the bytes of all numbers that a backbone holds in memory, each storage once, whatever they are kept as."""
    sizes: dict[int, int] = {}
    for part in module.modules():
        own = [*part.parameters(recurse=False), *part.buffers(recurse=False), *vars(part).values()]
        inside = [inner for item in own if isinstance(item, Tensor) for inner in _inner_tensors(item)]
        sizes |= {id(item): item.numel() * item.element_size() for item in inside}
    return sum(sizes.values())


def _inner_tensors(tensor: Tensor) -> list[Tensor]:
    """Return the tensors that one is made of: itself, but for the tensors of packages, which wrap codes and scales."""
    tensor = tensor.data if isinstance(tensor, nn.Parameter) and hasattr(tensor.data, "__tensor_flatten__") else tensor
    if not hasattr(tensor, "__tensor_flatten__"):
        return [tensor]
    names, _ = tensor.__tensor_flatten__()
    return [inner for name in names for inner in _inner_tensors(getattr(tensor, name))]
