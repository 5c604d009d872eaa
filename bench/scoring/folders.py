"""Folders of audio made ready to be scored: their clips, what has to be computed of each, and the judges for that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from admbench.bench.scoring.audio_folder import read_audio_folder
from admbench.bench.scoring.captions import Captioned, give_captions
from admbench.bench.scoring.clips import Clip
from admbench.bench.scoring.judges import check_judges, load_judges
from admbench.bench.scoring.readable import require_readable
from admbench.bench.scoring.spec import JudgeSpec
from admbench.bench.suites.spec import CaptionFileSpec

if TYPE_CHECKING:
    from admbench.metrics.extractors.base import Extractor, Judges
    from admbench.metrics.needs import Whose

Prompts = str | CaptionFileSpec
"""A suite, a caption file, or a caption file with how it is read."""


@dataclass(frozen=True)
class FolderClips:
    """The clips of some folders, all of them readable."""

    captioned: Captioned
    left_out: dict[Whose, dict[str, str]]
    """Entries of each folder that are no clips -> why."""

    @property
    def clips(self) -> dict[Whose, list[Clip]]:
        """By whose they are."""
        return self.captioned.clips


@dataclass(frozen=True)
class Prepared:
    """Folders of which only features are left to be computed."""

    folders: FolderClips
    extractors: dict[Whose, list[Extractor]]
    """What is computed of the clips of each folder."""
    judges: Judges


def read_folders(folders: Mapping[Whose, str | Path | None], prompts: Prompts | None) -> FolderClips:
    """Find the clips of folders, give them their captions, and read each to its end.

    Args:
        folders: by whose clips they are; None where there is none.
        prompts: captions of the generated clips.

    Raises:
        BenchError: a folder without audio, captions that do not match, or files that cannot be read; names all.
    """
    found = {whose: read_audio_folder(Path(folder)) for whose, folder in folders.items() if folder is not None}
    clips = {whose: [Clip(one.name, one.path, one.caption) for one in own.clips] for whose, own in found.items()}
    captioned = Captioned(clips) if prompts is None else give_captions(clips, prompts)
    require_readable(clip for own in clips.values() for clip in own)
    return FolderClips(captioned, {whose: own.left_out for whose, own in found.items()})


def prepare_folders(
    folders: Mapping[Whose, str | Path | None],
    prompts: Prompts | None,
    metrics: Sequence[str],
    judges: JudgeSpec | None,
) -> Prepared:
    """Find clips and load judges, so that only embedding is left.

    Args:
        folders: by whose clips they are; None where there is none.
        prompts: captions of the generated clips.
        metrics: registry names.
        judges: judge of each role; None is the embedded ones. One that no score reads is not loaded.

    Raises:
        BenchError: as of `read_folders`; or an unknown metric or judge.
    """
    from admbench.metrics.needs import needed_extractors

    spec = judges or JudgeSpec()
    check_judges(spec)
    read = read_folders(folders, prompts)
    captioned = [whose for whose, own in read.clips.items() if all(clip.caption is not None for clip in own)]
    needed = needed_extractors(metrics, read.clips, captioned)
    loaded = load_judges(spec, [one for extractors in needed.values() for one in extractors])
    return Prepared(read, needed, loaded)
