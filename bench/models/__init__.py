"""Audio diffusion models: the registry, and loading by name. Importing this package imports no torch."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from admbench.bench.models import twins
from admbench.bench.models.components import Component
from admbench.bench.models.directory import load as load_directory
from admbench.bench.models.directory import path_of
from admbench.bench.models.families import recognise
from admbench.errors import BenchError, PluginError, UsageError
from admbench.identities import PluginIdentity, of_builtin
from admbench.registry import Registry

if TYPE_CHECKING:
    from admbench.bench.models.base import AudioDiffusionModel

EMBEDDED = {
    "tiny-audioldm": "admbench.bench.models.families.embedded:AUDIOLDM",
    "tiny-tango": "admbench.bench.models.families.embedded:TANGO",
    "tiny-make-an-audio": "admbench.bench.models.families.embedded:MAKE_AN_AUDIO",
    "tiny-flow": "admbench.bench.models.families.embedded:FLOW",
    "tiny-dit": "admbench.bench.models.families.embedded:DIT",
    "tiny-pingpong": "admbench.bench.models.families.embedded:PINGPONG",
}
"""The models that come with the package."""

BUILTIN = EMBEDDED | {
    "audioldm-s-full-v2": "admbench.bench.models.families.audioldm:SMALL_V2",
    "audioldm-s-full": "admbench.bench.models.families.audioldm:SMALL",
    "audioldm-m-full": "admbench.bench.models.families.audioldm:MEDIUM",
    "audioldm-l-full": "admbench.bench.models.families.audioldm:LARGE",
    "audioldm-s-full-v2-authors": "admbench.bench.models.families.audioldm:SMALL_V2_AUTHORS",
    "audioldm-s-full-authors": "admbench.bench.models.families.audioldm:SMALL_AUTHORS",
    "audioldm-m-full-authors": "admbench.bench.models.families.audioldm:MEDIUM_AUTHORS",
    "audioldm-l-full-authors": "admbench.bench.models.families.audioldm:LARGE_AUTHORS",
    "tango": "admbench.bench.models.families.tango:BASE",
    "tango-full": "admbench.bench.models.families.tango:FULL",
    "tango-full-ft-audiocaps": "admbench.bench.models.families.tango:FULL_AUDIOCAPS",
    "tango2": "admbench.bench.models.families.tango:TANGO2",
    "tangoflux": "admbench.bench.models.families.tangoflux:PUBLISHED",
    "audioldm2": "admbench.bench.models.families.audioldm2:SOUNDS",
    "audioldm2-large": "admbench.bench.models.families.audioldm2:SOUNDS_LARGE",
    "audioldm2-music": "admbench.bench.models.families.audioldm2:MUSIC",
    "musicldm": "admbench.bench.models.families.musicldm:PUBLISHED",
    "stable-audio-open-1.0": "admbench.bench.models.families.stable_audio:OPEN",
    "stable-audio-open-small": "admbench.bench.models.families.stable_audio_open_small:PUBLISHED",
    "make-an-audio": "admbench.bench.models.families.make_an_audio:PUBLISHED",
    "stable-audio-3-medium": "admbench.bench.models.families.stable_audio_3:MEDIUM",
    "stable-audio-3-medium-base": "admbench.bench.models.families.stable_audio_3:MEDIUM_BASE",
    "stable-audio-3-small-music": "admbench.bench.models.families.stable_audio_3:SMALL_MUSIC",
    "stable-audio-3-small-music-base": "admbench.bench.models.families.stable_audio_3:SMALL_MUSIC_BASE",
    "stable-audio-3-small-sfx": "admbench.bench.models.families.stable_audio_3:SMALL_SFX",
    "stable-audio-3-small-sfx-base": "admbench.bench.models.families.stable_audio_3:SMALL_SFX_BASE",
    "ace-step-1.5-base": "admbench.bench.models.families.ace_step:BASE",
    "ace-step-1.5-turbo": "admbench.bench.models.families.ace_step:TURBO",
    "longcat-audiodit-1b": "admbench.bench.models.families.longcat_audiodit:ONE_B",
}
"""All models that the package can load; the weights of those that are not embedded are the user's to get."""

registry = Registry("admbench.models", "model", BUILTIN)
"""A model plug-in is a class, or an object, with

- literals `summary` and `requires`, for lists;
- `load(*, random_weights) -> AudioDiffusionModel`;
- `fingerprint() -> str`, a hash of its weights that is had without loading them;
- `components`, names of those that methods can quantize, `backbone` among them; left out: the backbone alone;
- `samplers`, those of `samplers.SAMPLERS` that it can be run by; left out: whoever asks for one finds out.

`families.base.PublishedModel` and `families.embedded.ShippedModel` are those of the built-in models."""

DEFAULT_COMPONENTS: tuple[Component, ...] = ("backbone",)
DTYPES = ("float32", "bfloat16")


def missing_weights(name: str) -> str | None:
    """Why the weights of a built-in model cannot be loaded here; None if they can. Downloads nothing, without torch."""
    try:
        registry.get(name).missing()
    except BenchError as error:
        return str(error)
    return None


def quantizable(name: str) -> tuple[Component, ...] | None:
    """The components of a model that methods can quantize, without loading its weights; of a built-in, without torch.

    A plug-in of another package is imported, and says them as `components`; one that says nothing has its backbone.

    Returns:
        None if the plug-in cannot be imported; then nothing is known of it.

    Raises:
        CheckpointError: a folder that holds nothing known, or missing weights of an embedded model.
    """
    if (twin := twins.parse(name)) is not None:
        return quantizable(twin.model)
    if (folder := path_of(name)) is not None:
        return recognise(folder).components
    try:
        plugin = registry.get(name)
    except PluginError:
        return None
    return tuple(getattr(plugin, "components", DEFAULT_COMPONENTS))


def fingerprint(name: str) -> str:
    """Hash of a model's weights, for cache keys; imports no torch for the built-in models.

    Raises UsageError for an unknown name and CheckpointError if the weights are missing.
    """
    if (twin := twins.parse(name)) is not None:
        return twin.fingerprint(fingerprint(twin.model))
    if (folder := path_of(name)) is not None:
        return recognise(folder).fingerprint(folder)
    return str(registry.get(name).fingerprint())


def identity(name: str) -> PluginIdentity:
    """What tells one state of a model's plug-in from another; of a folder, of the code that reads folders."""
    if (twin := twins.parse(name)) is not None:
        return replace(identity(twin.model), name=name)
    if path_of(name) is not None:
        return of_builtin(registry.group, "dir", f"{load_directory.__module__}:{load_directory.__name__}", None, ())
    return registry.identity(name)


def random_fingerprint(name: str) -> str | None:
    """The `weights_sha256` of a built-in model with random weights; None for any other model."""
    from admbench.bench.models.networks.untrained import random_sha256

    if (twin := twins.parse(name)) is not None:
        drawn = random_fingerprint(twin.model)
        return None if drawn is None else twin.fingerprint(drawn)
    if name not in BUILTIN:
        return None
    return random_sha256(name, fingerprint(name) if name in EMBEDDED else None)


def load_model(
    name: str,
    *,
    random_weights: bool = False,
    device: str = "cpu",
    dtype: str = "float32",
    sampler: str | None = None,
) -> AudioDiffusionModel:
    """Loads a model by its registry name, or from a folder.

    Args:
        name: such as `tiny-tango`, `dir:PATH`, or `tiny-dit[outliers]` for a hard twin (`admbench.bench.models.twins`).
        random_weights: the same architecture with weights drawn from a fixed seed. Of an embedded model, the backbone's
            alone, so that what is heard is an untrained backbone's output; of a published one, all, so that none of
            its files are needed.
        device: a torch device.
        dtype: `float32` or `bfloat16`, of the backbone.
        sampler: solver that denoises, for calibration too, such as `dpm-solver++`; None is the model's own.

    Raises:
        UsageError: unknown name, dtype or sampler, a model without twins, or one that the sampler does not solve.
        CheckpointError: weights are missing or damaged; names the file.
    """
    if dtype not in DTYPES:
        raise UsageError(f'dtype "{dtype}": expected one of {", ".join(DTYPES)}')
    model: AudioDiffusionModel
    if (twin := twins.parse(name)) is not None:
        model = twins.harden(load_model(twin.model, random_weights=random_weights), twin, name)
    elif (folder := path_of(name)) is not None:
        model = load_directory(folder, random_weights=random_weights)
    else:
        model = registry.get(name).load(random_weights=random_weights)
    if sampler is not None:
        model.set_sampler(sampler)
    return model.to(device, dtype)


def solved_by(name: str) -> tuple[str, ...] | None:
    """The samplers that a model may be run by beside its own, without loading it; of a built-in, without torch.

    Returns:
        None where that is not known: of a plug-in that says no `samplers`, or that cannot be imported.

    Raises:
        CheckpointError: a folder that holds nothing known.
    """
    if (twin := twins.parse(name)) is not None:
        return solved_by(twin.model)
    if (folder := path_of(name)) is not None:
        return recognise(folder).samplers
    try:
        plugin = registry.get(name)
    except PluginError:
        return None
    said = getattr(plugin, "samplers", None)
    return None if said is None else tuple(said)


__all__ = [
    "BUILTIN",
    "EMBEDDED",
    "fingerprint",
    "identity",
    "load_model",
    "missing_weights",
    "quantizable",
    "random_fingerprint",
    "registry",
    "solved_by",
]
