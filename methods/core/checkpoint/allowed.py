"""Which network classes a checkpoint may name. It is data from outside: it names a class, never an import path.

Whoever has networks that checkpoints are to name allows them here, by `library:Class`; nothing is imported until a
checkpoint names one. What is allowed from the start are networks that the methods are held to by themselves.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from admbench.errors import PluginError
from admbench.registry import load_target

Network = TypeVar("Network", bound=type)

_ALLOWED: dict[str, str | type[Any]] = {}
"""Name of a class -> where it is, or itself."""


def allow_networks(targets: Iterable[str]) -> None:
    """Let checkpoints name classes, each given as `module:Class`, such as `diffusers:UNet2DConditionModel`.

    A class of diffusers is built from keyword arguments, any other from an object of its `config_class`.

    Raises:
        PluginError: another class of that name is allowed already.
    """
    for target in targets:
        _allow(target.rpartition(":")[2], target)


def allow_architecture(network: Network) -> Network:
    """Let checkpoints name a class that is built from an object of its `config_class`; a decorator.

    Raises:
        PluginError: another class of that name is allowed already.
    """
    _allow(network.__name__, network)
    return network


def allowed_names() -> list[str]:
    """Return the names of all classes that are allowed."""
    return [*_ALLOWED]


def allowed_class(name: str) -> type[Any] | None:
    """Return the class of that name if checkpoints may name it."""
    found = _ALLOWED.get(name)
    if isinstance(found, str):
        network: type[Any] = load_target(found)
        return network
    return found


def _allow(name: str, network: str | type[Any]) -> None:
    before = _ALLOWED.setdefault(name, network)
    if _place(before) != _place(network):
        raise PluginError(f"network class {name} is claimed by both {_place(before)} and {_place(network)}")


def _place(network: str | type[Any]) -> str:
    return network if isinstance(network, str) else f"{network.__module__}:{network.__qualname__}"


allow_networks(
    (
        "diffusers:UNet2DConditionModel",
        "diffusers:DiTTransformer2DModel",
        "diffusers:PixArtTransformer2DModel",
        "diffusers:AutoencoderKL",
        "diffusers:AutoencoderOobleck",
        "transformers:T5EncoderModel",
        "transformers:GPT2Model",
        "transformers:SpeechT5HifiGan",
    )
)
