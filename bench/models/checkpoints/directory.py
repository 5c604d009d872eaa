"""`dir:PATH`: a checkpoint in any folder, in whichever known layout it turns out to be; deciding imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from admbench.bench.models.checkpoints import layouts
from admbench.bench.models.checkpoints.pipeline_layouts import PIPELINE_LAYOUTS
from admbench.bench.models.checkpoints.published import revision
from admbench.errors import UsageError

if TYPE_CHECKING:
    from admbench.bench.models.base import AudioDiffusionModel

PREFIX = "dir:"
SAW: dict[layouts.Layout, str] = {
    "audioldm": "an AudioLDM pipeline directory",
    "tango": "a TANGO checkpoint (declare-lab's files)",
    "make-an-audio": "a Make-An-Audio checkpoint (the authors' files)",
    **{family: layout.saw for family, layout in PIPELINE_LAYOUTS.items()},
}


def path_of(name: str) -> Path | None:
    """The folder that a model name leads to; None if it is not of the form `dir:PATH`."""
    return Path(name.removeprefix(PREFIX)) if name.startswith(PREFIX) else None


def describe(folder: Path) -> str:
    """What the folder holds, in words. Raises CheckpointError if that is nothing known, or a file is missing."""
    layouts.used_files(folder, download=True)
    return SAW[layouts.recognise(folder)]


def load(folder: Path, *, random_weights: bool = False) -> AudioDiffusionModel:
    """Loads a folder; its licence is not known.

    Raises:
        CheckpointError: nothing known, or damaged; says what was expected.
        UsageError: `random_weights`, which are made for the published sizes alone.
    """
    name = f"{PREFIX}{folder}"
    if random_weights:
        raise UsageError(f"{name}: random weights are made from a registry name, such as tango; expected one")
    source = f"folder: {describe(folder)}"
    return load_layout(folder, layouts.recognise(folder), name, source, None)


def load_layout(
    folder: Path, layout: layouts.Layout, name: str, source: str, license: str | None
) -> AudioDiffusionModel:
    """Loads a folder of a known layout.

    Args:
        folder: of the checkpoint.
        layout: that it has.
        name: that the model is loaded by.
        source: where the weights are from, for the record.
        license: of the weights, if known.

    Raises:
        CheckpointError: a file is missing or damaged, or its tensors are not those of its configuration.
        UsageError: the scheduler needs a package that is not installed.
    """
    known = {"name": name, "source": source, "revision": revision(folder), "license": license}
    known["weights_sha256"] = layouts.fingerprint(folder)
    match layout:
        case "tango":
            from admbench.bench.models.families import tango

            return tango.load_directory(folder, known)
        case "make-an-audio":
            from admbench.bench.models.families import make_an_audio

            return make_an_audio.load_directory(folder, known)
        case "audioldm":
            from admbench.bench.models.families import audioldm

            return audioldm.load_directory(folder, known)
        case family:
            from admbench.bench.models.families import pipelines

            return pipelines.load_directory(folder, family, known)
