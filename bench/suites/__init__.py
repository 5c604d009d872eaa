"""Caption suites: fixed captions with a seed each and, where there are any, reference clips.

A suite is a registered one (`foley`) or a user's caption file. This package imports without numpy or torch.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from admbench.errors import DataError, UsageError
from admbench.identities import PluginIdentity, of_builtin
from admbench.progress import track
from admbench.registry import Registry

if TYPE_CHECKING:
    from admbench.bench.suites.base import Suite
    from admbench.bench.suites.spec import CaptionFileSpec

BUILTIN = {
    "foley": "admbench.bench.suites.foley:Foley",
    "foley-captions": "admbench.bench.suites.foley_captions:FoleyCaptions",
}

registry = Registry("admbench.suites", "suite", BUILTIN)
register = registry.register

FILE_SUFFIXES = (".csv", ".jsonl", ".txt")
CAPTIONS_PER_DRAW = 1_000_000
"""Captions of the calibration split between the first of one draw and the first of the next."""


def load_suite(wanted: str | os.PathLike[str] | CaptionFileSpec) -> Suite:
    """Return the registered suite of that name, or the one in a caption file (.csv, .jsonl or .txt).

    A registered name wins; anything else that has a folder, one of the suffixes, or exists as a file is a path. A
    specification names a file and says how it is read.

    Raises:
        UsageError: neither a suite nor a caption file of a known format, with the nearest name; or options that do
            not fit the file.
        DataError: the file is missing or broken; names file, line and what was expected.
        PluginError: the suite cannot be loaded.
    """
    if not isinstance(wanted, (str, os.PathLike)):
        return _from_file(wanted)
    name = os.fspath(wanted)
    if name not in registry and _is_path(name):
        from admbench.bench.suites.files import CaptionFile

        return CaptionFile(name)
    suite: Suite = registry.get(name)()
    return suite


def identity(wanted: str | os.PathLike[str] | CaptionFileSpec) -> PluginIdentity:
    """Return what tells one state of a suite's plug-in from another; of a caption file, of the code that reads them."""
    if isinstance(wanted, (str, os.PathLike)) and (name := os.fspath(wanted)) in registry:
        return registry.identity(name)
    return of_builtin(registry.group, "caption file", f"{__name__}.files:CaptionFile", None, ())


def _from_file(spec: CaptionFileSpec) -> Suite:
    from admbench.bench.suites.files import CaptionFile

    if not _is_path(str(spec.file)):
        raise UsageError(f"{spec.file}: not a caption file (expected {', '.join(FILE_SUFFIXES)})")
    return CaptionFile(spec.file, format=spec.format, encoding=spec.encoding, audio=spec.audio, captions=spec.captions)


def _is_path(name: str) -> bool:
    """Whether a name is that of a caption file; UsageError or DataError if it can only be a wrong path."""
    suffix = os.path.splitext(name)[1].lower()
    if suffix in FILE_SUFFIXES:
        return True
    expected = ", ".join(FILE_SUFFIXES)
    if os.path.exists(name):
        raise UsageError(f"{name}: not a caption file (expected {expected}, found {suffix or 'no suffix'})")
    if os.path.dirname(name):
        raise DataError(f"{name}: no such caption file (expected {expected})")
    return False


def calibration_prompts(count: int, *, draw: int = 0) -> list[str]:
    """Return `count` captions of the corpus's calibration split, none of which belongs to a suite's clips.

    The mix is the corpus's own: 60 % single, 25 % simultaneous, 15 % sequential, every event equally often. The prompts
    of a smaller count begin those of a larger one. Draw 0 is the first captions of the split, another draw others.

    Raises:
        UsageError: `count` is less than 1.
    """
    from admbench.bench.suites.corpus.corpus import draw_clip

    if count < 1:
        raise UsageError(f"calibration needs at least 1 prompt, got {count}")
    first = draw * CAPTIONS_PER_DRAW
    numbers = track(range(first, first + count), "Calibration prompts")
    return [draw_clip("calibration", number).caption for number in numbers]
