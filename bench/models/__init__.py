"""Audio diffusion models: the registry, and loading by name. Importing this package imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from admbench.bench.models.checkpoints.directory import load as load_directory
from admbench.bench.models.checkpoints.directory import path_of
from admbench.bench.models.components import Component
from admbench.errors import BenchError, UsageError
from admbench.registry import Registry

if TYPE_CHECKING:
    from admbench.bench.models.base import AudioDiffusionModel

EMBEDDED = {
    "tiny-audioldm": "admbench.bench.models.families.embedded:TinyAudioLDM",
    "tiny-tango": "admbench.bench.models.families.embedded:TinyTango",
    "tiny-make-an-audio": "admbench.bench.models.families.embedded:TinyMakeAnAudio",
    "tiny-flow": "admbench.bench.models.families.embedded:TinyFlow",
}
"""The models that come with the package."""

BUILTIN = EMBEDDED | {
    "audioldm-s-full-v2": "admbench.bench.models.families.audioldm:AudioLDMSmallV2",
    "audioldm-s-full": "admbench.bench.models.families.audioldm:AudioLDMSmall",
    "audioldm-m-full": "admbench.bench.models.families.audioldm:AudioLDMMedium",
    "audioldm-l-full": "admbench.bench.models.families.audioldm:AudioLDMLarge",
    "tango": "admbench.bench.models.families.tango:TangoBase",
    "tango-full": "admbench.bench.models.families.tango:TangoFull",
    "tango-full-ft-audiocaps": "admbench.bench.models.families.tango:TangoFullAudioCaps",
    "tango2": "admbench.bench.models.families.tango:Tango2",
    "audioldm2": "admbench.bench.models.families.audioldm2:AudioLDM2",
    "audioldm2-large": "admbench.bench.models.families.audioldm2:AudioLDM2Large",
    "audioldm2-music": "admbench.bench.models.families.audioldm2:AudioLDM2Music",
    "musicldm": "admbench.bench.models.families.musicldm:MusicLDM",
    "stable-audio-open-1.0": "admbench.bench.models.families.stable_audio:StableAudioOpen",
    "make-an-audio": "admbench.bench.models.families.make_an_audio:MakeAnAudio",
    "stable-audio-3-medium": "admbench.bench.models.families.stable_audio_3:StableAudio3",
    "stable-audio-3-medium-base": "admbench.bench.models.families.stable_audio_3:StableAudio3Base",
    "ace-step-1.5-base": "admbench.bench.models.families.ace_step:AceStepBase",
    "ace-step-1.5-turbo": "admbench.bench.models.families.ace_step:AceStepTurbo",
    "longcat-audiodit-1b": "admbench.bench.models.families.longcat_audiodit:LongCatAudioDiT",
}
"""All models that the package can load; the weights of those that are not embedded are the user's to get."""

registry = Registry("admbench.models", "model", BUILTIN)
"""A model plug-in is a class with literals `summary` and `requires`, `load(*, random_weights) -> AudioDiffusionModel`,
and `fingerprint() -> str`, a hash of its weights that is had without loading them."""

DTYPES = ("float32", "bfloat16")


def missing_weights(name: str) -> str | None:
    """Why the weights of a built-in model cannot be loaded here; None if they can. Downloads nothing, without torch."""
    try:
        if name in EMBEDDED:
            fingerprint(name)
        else:
            from admbench.bench.models.checkpoints.layouts import used_files
            from admbench.bench.models.checkpoints.published import PUBLISHED, locate

            used_files(locate(PUBLISHED[name], download=False))
    except BenchError as error:
        return str(error)
    return None


def quantizable(name: str) -> tuple[Component, ...] | None:
    """The components of a model that methods can quantize, told without loading it and without torch.

    None of a plug-in of another package, which would have to be loaded. Raises CheckpointError for a folder that holds
    nothing known, or missing weights of an embedded model.
    """
    from admbench.bench.models.checkpoints.layouts import QUANTIZABLE, recognise

    if (folder := path_of(name)) is not None:
        return QUANTIZABLE[recognise(folder)]
    if name in EMBEDDED:
        from admbench.bench.models.checkpoints.shipped import components

        return components(name)
    if name in BUILTIN:
        from admbench.bench.models.checkpoints.published import PUBLISHED

        layout = PUBLISHED[name].layout
        return None if layout is None else QUANTIZABLE[layout]
    return None


def fingerprint(name: str) -> str:
    """Hash of a model's weights, for cache keys; imports no torch for the built-in models.

    Raises UsageError for an unknown name and CheckpointError if the weights are missing.
    """
    from admbench.bench.models.checkpoints.layouts import fingerprint as of_folder

    if (folder := path_of(name)) is not None:
        return of_folder(folder)
    if name in EMBEDDED:
        from admbench.bench.models.checkpoints.shipped import fingerprint as of_shipped

        return of_shipped(name)
    if name in BUILTIN:
        from admbench.bench.models.checkpoints.published import PUBLISHED, locate

        return of_folder(locate(PUBLISHED[name], download=True))
    return str(registry.get(name).fingerprint())


def random_fingerprint(name: str) -> str | None:
    """The `weights_sha256` of a built-in model with random weights; None for any other model."""
    from admbench.bench.models.networks.untrained import random_sha256

    if name not in BUILTIN:
        return None
    return random_sha256(name, fingerprint(name) if name in EMBEDDED else None)


def load_model(
    name: str, *, random_weights: bool = False, device: str = "cpu", dtype: str = "float32"
) -> AudioDiffusionModel:
    """Loads a model by its registry name, or from a folder.

    Args:
        name: such as `tiny-tango`, or `dir:PATH`.
        random_weights: the same architecture with weights drawn from a fixed seed. Of an embedded model, the backbone's
            alone, so that what is heard is an untrained backbone's output; of a published one, all, so that none of
            its files are needed.
        device: a torch device.
        dtype: `float32` or `bfloat16`, of the backbone.

    Raises:
        UsageError: unknown name or dtype.
        CheckpointError: weights are missing or damaged; names the file.
    """
    if dtype not in DTYPES:
        raise UsageError(f'dtype "{dtype}": expected one of {", ".join(DTYPES)}')
    model: AudioDiffusionModel
    if (folder := path_of(name)) is not None:
        model = load_directory(folder, random_weights=random_weights)
    else:
        model = registry.get(name).load(random_weights=random_weights)
    return model.to(device, dtype)


__all__ = [
    "BUILTIN",
    "EMBEDDED",
    "fingerprint",
    "load_model",
    "missing_weights",
    "quantizable",
    "random_fingerprint",
    "registry",
]
