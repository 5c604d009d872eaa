"""Folders of audio made ready to be scored: their clips, what has to be computed of each, and the judges for that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from admbench.bench.scoring.clips import Clip, read_clips
from admbench.bench.scoring.judges import check_judges, load_judges
from admbench.bench.scoring.spec import JudgeSpec

if TYPE_CHECKING:
    from admbench.metrics.extractors.base import Extractor, Judges
    from admbench.metrics.needs import Whose


def prepare_folders(
    folders: Mapping[Whose, str | Path | None], prompts: str | None, metrics: Sequence[str], judges: JudgeSpec | None
) -> tuple[dict[Whose, list[Clip]], dict[Whose, list[Extractor]], Judges]:
    """Find clips and load judges, so that only embedding is left.

    Args:
        folders: by whose clips they are; None where there is none.
        prompts: suite, or caption file, whose ids are the names of the generated clips.
        metrics: registry names.
        judges: judge of each role; None is the embedded ones. One that no score reads is not loaded.

    Returns:
        Clips and extractors of each folder that is there, and the judges by role.

    Raises:
        BenchError: a folder without audio, captions that do not match, an unknown metric or judge.
    """
    from admbench.metrics.needs import needed_extractors

    clips = {
        whose: read_clips(Path(folder), prompts if whose == "generated" else None)
        for whose, folder in folders.items()
        if folder is not None
    }
    captioned = [whose for whose, own in clips.items() if all(clip.caption is not None for clip in own)]
    needed = needed_extractors(metrics, clips, captioned)
    spec = judges or JudgeSpec()
    check_judges(spec)
    return clips, needed, load_judges(spec, [one for extractors in needed.values() for one in extractors])
