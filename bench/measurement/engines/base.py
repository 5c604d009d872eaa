"""What an engine is, and the backbone as engines take it: tensors in, one tensor out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from importlib import util
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree


class Engine(ABC):
    """A compiler or runtime that takes a backbone and runs it its own way."""

    name: ClassVar[str]
    """What `--baselines` calls it."""
    summary: ClassVar[str]
    """One line on what runs."""
    packages: ClassVar[tuple[str, ...]] = ()
    """Modules that it imports."""
    extra: ClassVar[str] = ""
    """Optional dependency of this package that brings them."""
    takes_method: ClassVar[bool] = False
    """Whether it takes the quantized backbone of the method that is measured; else that in full precision."""

    def missing(self) -> str | None:
        """Return why it cannot be built here, None if it can."""
        absent = [name for name in self.packages if util.find_spec(name) is None]
        return f"not installed: {', '.join(absent)}; pip install admbench[{self.extra}]" if absent else None

    @abstractmethod
    def build(self, network: nn.Module, example: Sequence[Tensor], threads: int) -> Callable[..., Tensor]:
        """Compile a network; this may take minutes.

        Args:
            network: `PositionalBackbone`, on the CPU: in full precision, or a simulation where it takes that.
            example: its arguments. An engine that quantizes takes them as its calibration data.
            threads: what it may use.

        Returns:
            A function of the same arguments, float32 out.
        """


class PositionalBackbone(nn.Module):
    """A backbone as a function of tensors alone: everything else of a recorded call stays as it was.

    Args:
        backbone: the network.
        call: positional and keyword arguments of a call of it.
    """

    def __init__(self, backbone: nn.Module, call: tuple[tuple[Any, ...], dict[str, Any]]) -> None:
        super().__init__()
        self.backbone = backbone
        self.leaves, self.structure = pytree.tree_flatten(call)
        self.tensors = [number for number, leaf in enumerate(self.leaves) if isinstance(leaf, Tensor)]

    @property
    def call(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The recorded call."""
        call: tuple[tuple[Any, ...], dict[str, Any]] = pytree.tree_unflatten(self.leaves, self.structure)
        return call

    @property
    def example(self) -> list[Tensor]:
        """The tensors of the recorded call."""
        return [self.leaves[number] for number in self.tensors]

    def forward(self, *tensors: Tensor) -> Tensor:
        """Return the backbone's prediction, given the call's tensors in their order."""
        leaves = list(self.leaves)
        for number, tensor in zip(self.tensors, tensors, strict=True):
            leaves[number] = tensor
        args, kwargs = pytree.tree_unflatten(leaves, self.structure)
        predicted = self.backbone(*args, **kwargs)
        return predicted if isinstance(predicted, Tensor) else predicted[0]


class EngineBackbone(nn.Module):
    """What an engine made of a backbone, in its place: it takes the same call and returns a tuple of the prediction."""

    def __init__(self, run: Callable[..., Tensor]) -> None:
        super().__init__()
        self.run = run

    def forward(self, *args: Any, **kwargs: Any) -> tuple[Tensor]:
        """Run the engine on the tensors among the arguments."""
        leaves, _ = pytree.tree_flatten((args, kwargs))
        return (self.run(*[leaf for leaf in leaves if isinstance(leaf, Tensor)]),)


def recorded_call(backbone: nn.Module, run: Callable[[], object]) -> PositionalBackbone:
    """Return a backbone as a function of the tensors of its first call while `run` runs."""
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
    hook = backbone.register_forward_pre_hook(
        lambda module, args, kwargs: calls.append((args, kwargs)), with_kwargs=True
    )
    try:
        run()
    finally:
        hook.remove()
    with torch.inference_mode(False):  # compilers refuse tensors of inference mode
        call = pytree.tree_map_only(Tensor, torch.clone, calls[0])
    return PositionalBackbone(backbone, call)
