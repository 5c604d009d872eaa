"""The parts of a pipeline that can be quantized, by name; imports no torch."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple, get_args

from admbench.errors import UsageError, nearest
from admbench.methods.core.checkpoint.header import Component

COMPONENTS: tuple[Component, ...] = get_args(Component)
"""In the order of the record; of the autoencoder, the decoder is what runs."""
TEXT: tuple[Component, ...] = ("text_encoder", "text_encoder_2", "language_model", "condition_encoder")
"""Those that run once a caption, before the backbone."""
ALL = "all"


class ComponentCall(NamedTuple):
    """How a pipeline calls a component on the way from caption to clip."""

    method: str = "forward"
    row_numbers: str | None = None
    """Name of an input that says which row of the call each row belongs to: always its own."""


CALLS: Mapping[Component, ComponentCall] = {"vae": ComponentCall("decode")}
"""Of every model, unless it says otherwise; a component that is not here runs its `forward`."""


def check_components(names: Iterable[str]) -> tuple[str, ...]:
    """Return names of components as given.

    Raises:
        ValueError: none, one that is not known, or one twice; for the end of a sentence.
    """
    chosen = tuple(names)
    for name in chosen:
        if name not in (*COMPONENTS, ALL):
            hint, known = nearest(name, COMPONENTS), ", ".join(COMPONENTS)
            raise ValueError(f'unknown component "{name}".{hint} Expected some of {known}, or {ALL}')
        if chosen.count(name) > 1:
            raise ValueError(f'component "{name}" is listed twice')
    if not chosen:
        raise ValueError(f"expected some of {', '.join(COMPONENTS)}, or {ALL}")
    return chosen


def components_of(model: str, present: Collection[str], names: Iterable[str]) -> tuple[Component, ...]:
    """Return the components that names mean for a model, in the order of the record.

    Args:
        model: its name, for messages.
        present: its components that can be quantized.
        names: checked names; `all` is every one that the model has.

    Raises:
        UsageError: the model has no such component.
    """
    wanted = set(names)
    has = [name for name in COMPONENTS if name in present]
    for name in wanted - {ALL}:
        if name not in has:
            raise UsageError(f"{model} has no {name} that can be quantized; it has {', '.join(has)}")
    return tuple(name for name in has if name in wanted or ALL in wanted)
