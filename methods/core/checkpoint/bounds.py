"""Bounds on what a configuration from a file may ask for, before and while a network is built from it.

A few bytes of a configuration can ask for more memory than there is, or for more layers than a lifetime builds, even
on the meta device. What a network may have is bounded by what its files hold: a parameter without numbers in a file
has no place in it.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn.modules import module as hooks

from admbench.errors import CheckpointError

MOST_INTEGER = 2**24
"""Largest size that a configuration may name: sixty times the largest vocabulary that is known."""
FEW_LAYERS = 1000
"""Layers that any configuration may name: of Qwen3 it names those from which a window is used, beyond the last."""
MOST_MODULES = 100_000
"""Twenty times as many as the largest network that is known has, whatever its files hold."""
MOST_BUFFER_NUMBERS = 2**27
"""Numbers in buffers, such as masks, which need not be in a file and are computed where it lacks them."""
REGISTERED = 4
"""Times that a number may be registered while a network is built: weight norms and shared tables register twice."""
SLACK = 65_536
"""Numbers, and a fraction of them as modules, that any network may have beside what its files hold."""
NOT_FROM_A_FILE = (
    "attn_implementation",
    "experts_implementation",
    "per_layer_config",
    "quantization_config",
    "transformers_weights",
)
"""Keys by which a configuration would choose the code that runs, or another file of weights, than is known here."""


def check_configuration(what: str, config: Mapping[str, Any], *, most_layers: int) -> None:
    """Refuse a configuration that could not be one of a network with so many tensors, at any depth of it.

    Args:
        what: name for the message, such as the class of the network.
        config: JSON values.
        most_layers: as many as there are tensors.

    Raises:
        CheckpointError: names the key.
    """
    for path, key, value in _entries(config):
        if key.lstrip("_") in NOT_FROM_A_FILE and value not in (None, {}):
            raise CheckpointError(f"{what}: {path} is not for a file to choose; expected a configuration without it")
        numbers = list(_integers(value))
        if "layer" in key or "depth" in key:
            # a list under `depths` says how many layers each stage has; under others it may say which
            layers = sum(numbers) if "depth" in key else max(numbers, default=0)
            if layers > max(most_layers, FEW_LAYERS):
                raise CheckpointError(f"{what}: {path} = {_show(value)} asks for more layers than there are tensors")
        if any(abs(number) > MOST_INTEGER for number in numbers):
            raise CheckpointError(f"{what}: {path} = {_show(value)} is larger than any size that is known")


@contextmanager
def bounded(what: str, *, numbers: int, tensors: int) -> Iterator[None]:
    """Let this thread build no network beyond what files hold; building ends where it goes beyond.

    Args:
        what: name for the message.
        numbers: that the files may hold at most.
        tensors: that the files may hold at most.

    Raises:
        CheckpointError: in the block, where a network grows beyond.
    """
    most = {
        "parameters": REGISTERED * numbers + SLACK,
        "numbers in buffers": min(MOST_BUFFER_NUMBERS, 64 * (numbers + SLACK)),
        "modules": min(MOST_MODULES, 32 * tensors + SLACK // 64),
    }
    found = dict.fromkeys(most, 0)
    owner = threading.get_ident()

    def count(kind: str, amount: int) -> None:
        if threading.get_ident() != owner:
            return  # the hooks are torch's, for all threads
        found[kind] += amount
        if found[kind] > most[kind]:
            raise CheckpointError(f"{what}: the configuration asks for more {kind} than its files hold ({most[kind]})")

    def on_tensor(kind: str, tensor: Tensor | None) -> None:
        count(kind, 0 if tensor is None or isinstance(tensor, nn.UninitializedParameter) else math.prod(tensor.shape))

    with ExitStack() as stack:
        for handle in (
            hooks.register_module_parameter_registration_hook(
                lambda _module, _name, tensor: on_tensor("parameters", tensor)
            ),
            hooks.register_module_buffer_registration_hook(
                lambda _module, _name, tensor: on_tensor("numbers in buffers", tensor)
            ),
            hooks.register_module_module_registration_hook(lambda _module, _name, _child: count("modules", 1)),
        ):
            stack.callback(handle.remove)
        yield


def _entries(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str, Any]]:
    """Yield the path, the key and the value of every entry of an object and of those inside of it."""
    for key, value in config.items():
        path = f"{prefix}{key}"
        yield path, str(key), value
        for item in value if isinstance(value, list | tuple) else (value,):
            if isinstance(item, Mapping):
                yield from _entries(item, f"{path}.")


def _integers(value: Any) -> Iterator[int]:
    """Yield the whole numbers of a value or of a list, but not those under keys of their own."""
    if isinstance(value, list | tuple):
        for item in value:
            yield from _integers(item)
    elif isinstance(value, int):
        yield value


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
