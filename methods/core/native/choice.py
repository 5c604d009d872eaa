"""Whether the kernels in C++ are used on this machine: where they compile, and were faster than torch when tried.

They are tried once, and what was found is kept in the user's cache. It belongs to what results are made by, because
the two ways differ in their last bits.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache

from admbench import arithmetic, versions
from admbench import cache as user_cache
from admbench.files import write_json_atomic
from admbench.hashing import sha256_json
from admbench.methods.core.native import compiled

OWN = "avx512-bf16"
"""In records: attention by `attention.cpp`."""
TORCH = "torch"
_ROUNDS = 5
_HEADS, _TOKENS, _SIZE = 8, 256, 32
"""Of the attention that is tried: of the size of an inner block of AudioLDM-S."""


@dataclass(frozen=True)
class Choice:
    """What computes attention between bfloat16 products, and why."""

    attention: str
    """`OWN` or `TORCH`."""
    reason: str
    own_ms: float | None = None
    """Fastest of the tries, one thread; None where it was not tried."""
    torch_ms: float | None = None


def chosen() -> Choice:
    """Return what is used here; the first time on a machine both are tried, which takes a second or two."""
    refusal = compiled.refusal()
    if refusal is not None:
        return Choice(TORCH, refusal)
    return _measured(str(user_cache.root()), _key())


@cache
def _measured(root: str, key: str) -> Choice:
    kept = user_cache.path(compiled.FOLDER, key, ".json")
    try:
        return Choice(**json.loads(kept.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):  # not there, or not what this version writes: it is found again
        pass
    try:
        choice = _tried()
        write_json_atomic(kept, asdict(choice))
    except (compiled.NotCompiledError, OSError) as error:
        return Choice(TORCH, str(error))
    return choice


def _key() -> str:
    """Return what a measurement holds for: processor, torch, and the library."""
    modes = {name: os.environ[name] for name in arithmetic.MODES if name != arithmetic.VARIABLE and name in os.environ}
    torch = versions.distribution_versions(["torch"])
    return sha256_json([arithmetic.processor(), arithmetic.instruction_sets(), modes, torch, compiled.identity()])


def _tried() -> Choice:
    import torch
    from torch.nn import functional as F

    from admbench.methods.core.native.attention import attention

    numbers = torch.linspace(-1, 1, 2 * _TOKENS * 3 * _HEADS * _SIZE).sin().bfloat16()
    query, key, value = numbers.view(2, _TOKENS, -1).split(_HEADS * _SIZE, dim=-1)
    apart = [part.unflatten(-1, (_HEADS, _SIZE)).transpose(1, 2) for part in (query, key, value)]
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        own, theirs = _fastest(
            lambda: attention(query, key, value, _HEADS), lambda: F.scaled_dot_product_attention(*apart)
        )
    finally:
        torch.set_num_threads(before)
    faster = OWN if own < theirs else TORCH
    said = f"{own:.2f} ms, {theirs:.2f} by torch, for {_TOKENS} tokens and {_HEADS} heads of {_SIZE} on one thread"
    return Choice(faster, said, own, theirs)


def _fastest(*calls: Callable[[], object]) -> list[float]:
    """Return the shortest time of each call in rounds of all, after a round that does not count.

    Milliseconds of this thread alone: those of the clock depend on what else the machine does meanwhile.
    """
    found = [float("inf")] * len(calls)
    for number in range(_ROUNDS + 1):
        for which, call in enumerate(calls):
            before = time.thread_time()
            call()
            if number:
                found[which] = min(found[which], (time.thread_time() - before) * 1e3)
    return found
