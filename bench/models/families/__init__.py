"""Model families. A family is one object in one file here; adding one is that file, and its line in `FAMILIES` below.

The object says which folders are the family's, which files of them a load reads, which components methods can quantize
and by which of their methods they run, and loads a folder or builds the architecture with random weights. Published
models are rows of data below it in the same file: name, repository, licence, and what the architecture is built with.

Nothing here imports torch, so that listing, planning and hashing stay light. What does - conditioning, denoising,
decoding - is a module of `pipelines/` that the family names and that is imported at the first load. A family that runs
as another does names that one's module, and needs none of its own.
"""

from __future__ import annotations

from admbench.bench.models.families.ace_step import ACE_STEP
from admbench.bench.models.families.audioldm import AUDIOLDM
from admbench.bench.models.families.audioldm2 import AUDIOLDM2
from admbench.bench.models.families.base import recognise, register_family
from admbench.bench.models.families.longcat_audiodit import LONGCAT_AUDIODIT
from admbench.bench.models.families.make_an_audio import MAKE_AN_AUDIO
from admbench.bench.models.families.musicldm import MUSICLDM
from admbench.bench.models.families.stable_audio import STABLE_AUDIO
from admbench.bench.models.families.stable_audio_3 import STABLE_AUDIO_3
from admbench.bench.models.families.stable_audio_open_small import STABLE_AUDIO_OPEN_SMALL
from admbench.bench.models.families.tango import TANGO
from admbench.bench.models.families.tangoflux import TANGOFLUX

FAMILIES = tuple(
    register_family(family)
    for family in (
        AUDIOLDM,
        TANGO,
        MAKE_AN_AUDIO,
        AUDIOLDM2,
        MUSICLDM,
        STABLE_AUDIO,
        STABLE_AUDIO_3,
        ACE_STEP,
        LONGCAT_AUDIODIT,
        TANGOFLUX,
        STABLE_AUDIO_OPEN_SMALL,
    )
)
"""Those that come with the package, in the order in which a folder is held against them."""

__all__ = ["FAMILIES", "recognise", "register_family"]
