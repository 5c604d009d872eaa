"""What the parts of a model folder raise when they run: libraries look at many a setting only then."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from admbench.bench.models.checkpoints.files import PREFIX
from admbench.errors import CheckpointError, is_out_of_memory


@contextmanager
def running(model: str, part: str) -> Iterator[None]:
    """Name the folder and the part where a part of a folder's model fails; leave alone what other models raise.

    Args:
        model: by the name that it is loaded by.
        part: for the line, such as `decoder`.

    Raises:
        CheckpointError: the part raised what a wrong setting leads to; the cause is its `__cause__`.
    """
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        if not model.startswith(PREFIX) or is_out_of_memory(error):
            raise
        line = (str(error).strip().splitlines() or ["no reason given"])[0]
        raise CheckpointError(
            f"{model.removeprefix(PREFIX)}: its {part} was loaded and cannot be run"
            f" ({type(error).__name__}: {line}); is its configuration that of its weights?"
        ) from error
