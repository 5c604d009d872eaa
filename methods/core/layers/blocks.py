"""A backbone's blocks in the order in which it runs them, and the inputs and outputs of each on demand.

A block is a residual unit: a ResNet block or a transformer block, found by the kind of module it is; every quantizable
layer outside of one is a block of its own. Together they hold all quantizable layers that run.

`BlockRuns` gives the inputs of one block at a time, on a fixed list of samples, by running the backbone up to it. What
earlier blocks returned is remembered, in memory and in files within limits, and returned again: asking for each block
in turn computes every block once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from admbench.methods.core.layers.kinds import quantizable_layers
from admbench.methods.core.layers.memory import TensorCache, empty_rows, leaves, map_tree
from admbench.methods.core.layers.quantized import QuantizedLayer
from admbench.methods.protocol import DenoisingModel

BlockKind = Literal["resnet", "transformer", "layer", "temporal", "backbone"]
Unit = Literal["block", "layer"]
PATTERNS: dict[BlockKind, tuple[str, ...]] = {
    "resnet": ("ResnetBlock*", "*ResnetBlock", "*ResBlock"),
    "transformer": ("*TransformerBlock", "*DiTBlock"),
}
"""Names of the classes of blocks, as shell patterns: those of diffusers, and of networks that follow its names."""


@dataclass(frozen=True)
class Block:
    """Part of a backbone that is reconstructed as a whole."""

    name: str
    """Of the module."""
    kind: BlockKind
    layers: tuple[str, ...]
    """Names of its layers that run, in that order."""


def find_blocks(backbone: nn.Module, order: Sequence[str], unit: Unit = "block") -> list[Block]:
    """Return the blocks that hold some layers of a backbone, in the order in which the first layer of each runs.

    Where a block is inside of another, the outer one counts.

    Args:
        backbone: before or after quantization.
        order: names of the layers that take part, in the order in which they run, see `execution_order`.
        unit: `layer` makes every layer a block of its own.
    """
    members: dict[tuple[str, BlockKind], list[str]] = {}
    for name in order:
        found = _block_of(backbone, name) if unit == "block" else (name, "layer")
        members.setdefault(found, []).append(name)
    return [Block(name, kind, tuple(layers)) for (name, kind), layers in members.items()]


@torch.no_grad()
def execution_order(model: DenoisingModel, inputs: dict[str, Tensor]) -> list[str]:
    """Return the names of the backbone's quantizable layers that one call runs, and runs once, in that order."""
    runs: dict[str, int] = {}

    def count(name: str, module: nn.Module, args: tuple[Any, ...]) -> None:
        runs[name] = runs.get(name, 0) + 1

    hooks = [
        layer.register_forward_pre_hook(partial(count, name))
        for name, layer in quantizable_layers(model.backbone).items()
    ]
    try:
        model.call_backbone(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return [name for name, times in runs.items() if times == 1]


def block_layers(backbone: nn.Module, block: Block) -> dict[str, QuantizedLayer]:
    """Return the quantized layers of a block by their names in the backbone."""
    layers = {name: backbone.get_submodule(name) for name in block.layers}
    return {name: layer for name, layer in layers.items() if isinstance(layer, QuantizedLayer)}


@dataclass(frozen=True)
class BlockInputs:
    """The arguments of a block for all samples. Tensors with a row for each sample are joined, others are common."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    rows: int
    """Number of samples."""

    def take(self, index: Tensor | slice) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments of some samples, to call the block with."""
        rows = partial(self._rows, index)
        return map_tree(rows, self.args), map_tree(rows, self.kwargs)

    def _rows(self, index: Tensor | slice, leaf: Any) -> Any:
        return leaf[index] if isinstance(leaf, Tensor) and leaf.ndim and len(leaf) == self.rows else leaf


class BlockOutputs(NamedTuple):
    """What a block returns for all samples."""

    returned: tuple[Tensor, ...]
    """Each tensor of it, (samples, ...); most blocks return one."""
    inner: dict[str, Tensor]
    """What layers inside of it return, (samples, ...), by name."""


class BlockRuns:
    """Runs a backbone on fixed samples, each time up to one block.

    Args:
        model: runs the backbone on a batch; its own backbone is put back after every run.
        backbone: what to run, in full precision or quantized. Blocks may change after they have been asked for, as far
            as their outputs have not: then see `forget`.
        blocks: its blocks, in the order of execution.
        batches: inputs of the backbone, as `DenoisingModel.call_backbone` takes them.
    """

    def __init__(
        self,
        model: DenoisingModel,
        backbone: nn.Module,
        blocks: Iterable[Block],
        batches: Sequence[dict[str, Tensor]],
    ) -> None:
        self._model = model
        self._backbone = backbone
        self._blocks = list(blocks)
        self._batches = batches
        self._sizes = [len(next(iter(batch.values()))) for batch in batches]
        self._outputs: TensorCache[tuple[str, int]] = TensorCache()
        self._batch = 0

    def inputs(self, block: Block) -> BlockInputs:
        """Return what a block is called with, its predecessors as they are now; in files if it is large."""
        args, kwargs = _join(self._calls(block, stop_before=True), self._sizes)
        return BlockInputs(args, kwargs, sum(self._sizes))

    def outputs(self, block: Block, inner: Sequence[str] = ()) -> BlockOutputs:
        """Return what a block returns; in files if it is large.

        Args:
            block: one of the blocks.
            inner: layers of the block, whose outputs are wanted, too.
        """
        seen: dict[str, Tensor] = {}

        def note(name: str, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
            seen[name] = output

        if inner:
            self.forget(block)  # so that its layers run
        hooks = [self._backbone.get_submodule(name).register_forward_hook(partial(note, name)) for name in inner]
        try:
            calls = ((_tensors(output), dict(seen)) for output in self._calls(block, stop_before=False))
            return BlockOutputs(*_join(calls, self._sizes))
        finally:
            for hook in hooks:
                hook.remove()

    def forget(self, block: Block | None = None) -> None:
        """Forget what a block returned, because it has changed; without one, what all returned."""
        self._outputs.forget(lambda key: block is None or key[0] == block.name)

    @torch.no_grad()
    def _calls(self, block: Block, *, stop_before: bool) -> Iterator[Any]:
        with self._replaying(block.name, stop_before):
            for number, inputs in enumerate(self._batches):
                self._batch = number
                try:
                    self._model.call_backbone(inputs)
                except _Reached as reached:
                    yield reached.value

    @contextmanager
    def _replaying(self, target: str, stop_before: bool) -> Iterator[None]:
        """Let blocks return what they returned before, and runs end at the target."""
        own, self._model.backbone = self._model.backbone, self._backbone
        modules = {block.name: self._backbone.get_submodule(block.name) for block in self._blocks}
        before = {name: vars(module).get("forward") for name, module in modules.items()}
        try:
            for name, module in modules.items():
                stop = None if name != target else "before" if stop_before else "after"
                vars(module)["forward"] = partial(self._replay, name, module.forward, stop)
            yield
        finally:
            for name, module in modules.items():
                vars(module).pop("forward", None)
                if before[name] is not None:
                    vars(module)["forward"] = before[name]
            self._model.backbone = own

    def _replay(self, name: str, forward: Any, stop: str | None, *args: Any, **kwargs: Any) -> Any:
        if stop == "before":
            raise _Reached((args, kwargs))
        key = (name, self._batch)
        if key not in self._outputs:
            self._outputs[key] = forward(*args, **kwargs)
        if stop == "after":
            raise _Reached(self._outputs[key])
        return self._outputs[key]


class _Reached(Exception):
    """The run has come to the block that it was for."""

    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value


def _block_of(backbone: nn.Module, layer: str) -> tuple[str, BlockKind]:
    parts = layer.split(".")
    for length in range(1, len(parts)):
        name = ".".join(parts[:length])
        module = type(backbone.get_submodule(name)).__name__
        for kind, patterns in PATTERNS.items():
            if any(fnmatchcase(module, pattern) for pattern in patterns):
                return name, kind
    return layer, "layer"


def _tensors(tree: Any) -> tuple[Tensor, ...]:
    return tuple(leaf for leaf in leaves(tree) if isinstance(leaf, Tensor))


def _join(trees: Iterable[Any], sizes: Sequence[int]) -> Any:
    """Return one tree for the same call on several batches: tensors with a row for each sample one after the other."""
    joined: list[_Leaf] = []
    shape: Any = None
    for tree in trees:
        if not joined:
            shape, joined = tree, [_Leaf(leaf, sizes) for leaf in leaves(tree)]
        for leaf, part in zip(joined, leaves(tree), strict=True):
            leaf.add(part)
    filled = iter(joined)
    return map_tree(lambda _: next(filled).value, shape)


class _Leaf:
    """One leaf of the calls on several batches; room for all rows is taken once."""

    def __init__(self, first: Any, sizes: Sequence[int]) -> None:
        self._sizes = iter(sizes)
        self._size = sizes[0]
        self._done = 0
        is_tensor = isinstance(first, Tensor)
        self._per_row = is_tensor and first.ndim > 0 and len(first) == self._size
        self.value = first
        if self._per_row:
            self.value = empty_rows(sum(sizes), first)
        elif is_tensor and first.is_inference():
            self.value = first.clone()  # a tensor that gradients can be computed with

    def add(self, part: Any) -> None:
        size = next(self._sizes)
        if self._per_row and len(part) == size:
            self.value[self._done : self._done + size] = part
            self._done += size
        elif self._per_row:  # its first dimension was as long as the first batch by chance
            self._per_row, self.value = False, self.value[: self._size].clone()
