"""The `[suite]` table of a grid file: a caption file, and how it is read."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from admbench.bench.suites.formats import Captions, Encoding, Format


class CaptionFileSpec(BaseModel):
    """A caption file with its options; see `admbench.bench.suites.files.CaptionFile`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: Path
    """Path of the .csv, .jsonl or .txt file."""
    format: Format | None = None
    """Columns of the file; recognised if left out."""
    encoding: Encoding = "utf-8"
    """Of the text. Some copies of Clotho's files are in ISO-8859-1."""
    audio: Path | None = None
    """Folder of reference clips."""
    captions: Captions | None = None
    """Of a clip with several captions, the first or all; `first` if left out."""
