"""Audio diffusion models: the registry, and loading by name. Importing this package imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from admcore.errors import UsageError
from admcore.registry import Registry

if TYPE_CHECKING:
    from bench.models.base import AudioDiffusionModel

BUILTIN = {
    "tiny-audioldm": "bench.models.embedded:TinyAudioLDM",
    "tiny-tango": "bench.models.embedded:TinyTango",
    "tiny-make-an-audio": "bench.models.embedded:TinyMakeAnAudio",
}

registry = Registry("bench.models", "model", BUILTIN)
"""A model plug-in is a class with literals `summary` and `requires`, `load(*, random_weights) -> AudioDiffusionModel`,
and `fingerprint() -> str`, a hash of its weights that is had without loading them."""

DTYPES = ("float32", "bfloat16")


def fingerprint(name: str) -> str:
    """Hash of a model's weights, for cache keys; imports no torch for the built-in models.

    Raises UsageError for an unknown name and CheckpointError if the weights are missing.
    """
    if name in BUILTIN:
        from bench.models.shipped import fingerprint as of_shipped

        return of_shipped(name)
    return str(registry.get(name).fingerprint())


def load_model(
    name: str, *, random_weights: bool = False, device: str = "cpu", dtype: str = "float32"
) -> AudioDiffusionModel:
    """Loads a model by its registry name.

    Args:
        name: such as `tiny-tango`.
        random_weights: the same architecture with weights drawn from a fixed seed, for the backbone alone: the other
            components stay trained, so that what is heard is an untrained backbone's output.
        device: a torch device.
        dtype: `float32` or `bfloat16`, of the backbone.

    Raises:
        UsageError: unknown name or dtype.
        CheckpointError: weights are missing or damaged; names the file.
    """
    if dtype not in DTYPES:
        raise UsageError(f'dtype "{dtype}": expected one of {", ".join(DTYPES)}')
    model: AudioDiffusionModel = registry.get(name).load(random_weights=random_weights)
    return model.to(device, dtype)


__all__ = ["BUILTIN", "fingerprint", "load_model", "registry"]
