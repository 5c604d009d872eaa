"""Networks from the class name and the configuration that a checkpoint holds; see `allowed` for which classes."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from typing import Any

import torch
from diffusers import ConfigMixin
from torch import nn

from admbench.errors import CheckpointError, nearest
from admbench.methods.core.checkpoint.allowed import allowed_class, allowed_names
from admbench.methods.core.checkpoint.bounds import bounded, check_configuration
from admbench.methods.core.layers.canonical import make_canonical, quiet_weight_norm

NOT_STRUCTURE = ("architectures", "dtype", "torch_dtype", "transformers_version", "model_type", "max_new_tokens")
"""What a configuration of transformers says of something else than the structure."""


def is_allowed(network: nn.Module) -> bool:
    """Return whether checkpoints may name the class of a network."""
    return type(network) is allowed_class(type(network).__name__)


def describe_network(network: nn.Module) -> tuple[str, dict[str, Any]]:
    """Return the class name and the configuration that `build_network` makes the same structure from.

    Raises:
        CheckpointError: the class is none that a checkpoint may name.
    """
    name = type(network).__name__
    if not is_allowed(network):
        raise CheckpointError(
            f"a {name} cannot be written to a checkpoint: expected one of {', '.join(allowed_names())}"
        )
    config: Any = network.config
    values = dict(config) if isinstance(network, ConfigMixin) else config.to_dict()
    return name, {key: value for key, value in values.items() if not key.startswith("_") and key not in NOT_STRUCTURE}


def build_network(name: str, config: dict[str, Any], *, numbers: int, tensors: int) -> nn.Module:
    """Build a network without numbers, on the meta device, of plain layers alone, see `make_canonical`.

    Args:
        name: a class that is allowed.
        config: arguments of its constructor.
        numbers: that its file may hold at most; see `bounds.bounded`.
        tensors: in its file.

    Raises:
        CheckpointError: the class is not allowed, its constructor refuses the configuration, or the configuration asks
            for more than the file holds.
    """
    network_class = allowed_class(name)
    if network_class is None:
        raise CheckpointError(f'network class "{name}" is not allowed: expected one of {", ".join(allowed_names())}')
    check_configuration(name, config, most_layers=tensors)
    _check_keys(name, network_class, config)
    try:
        with bounded(name, numbers=numbers, tensors=tensors), torch.device("meta"), quiet_weight_norm():
            network: nn.Module = (
                network_class(**config)
                if _takes_arguments(network_class)
                else network_class(network_class.config_class(**config))
            )
    except CheckpointError:
        raise
    except Exception as error:  # whatever a foreign configuration makes the constructor do, it is the file's fault
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:500]
        raise CheckpointError(f"{name} cannot be built from the configuration: {reason}") from error
    return make_canonical(network)


def _check_keys(name: str, network_class: type[Any], config: Mapping[str, Any]) -> None:
    """Refuse keys that the class does not have, and those that the configurations inside of its own do not have."""
    allowed = _configuration_keys(network_class)
    for key in config:
        if key not in allowed:
            raise CheckpointError(f'{name} has no configuration key "{key}".{nearest(key, allowed)}')
    config_class = getattr(network_class, "config_class", None)
    inner = getattr(config_class, "sub_configs", {})
    default = config_class().to_dict() if config_class is not None and inner else {}
    for part, values in ((part, config[part]) for part in inner if isinstance(config.get(part), Mapping)):
        known = {*default[part], *NOT_STRUCTURE}
        for key in values:
            if key not in known and not key.startswith("_"):
                raise CheckpointError(f'{name} has no configuration key "{part}.{key}".{nearest(key, known)}')


def _takes_arguments(network_class: type[Any]) -> bool:
    """Return whether a class is built from keyword arguments, as those of diffusers, and not from a configuration."""
    return issubclass(network_class, ConfigMixin)


def _configuration_keys(network_class: type[Any]) -> Collection[str]:
    if _takes_arguments(network_class):
        return inspect.signature(network_class.__init__).parameters.keys() - {"self"}
    # a configuration of pydantic need not have defaults to be made from
    fields = getattr(network_class.config_class, "model_fields", None)
    known = network_class.config_class().to_dict() if fields is None else fields
    return known.keys() - set(NOT_STRUCTURE)
