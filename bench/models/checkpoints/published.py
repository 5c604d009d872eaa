"""The published checkpoints that have a registry name, and where each is found on this machine; without torch.

A checkpoint is looked for in `$ADMBENCH_WEIGHTS/NAME`, then, if it is one of the hub's, in the Hugging Face cache
(`HF_HOME`), then on the hub unless `HF_HUB_OFFLINE` is set.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from admbench.bench.models.checkpoints.pipeline_layouts import PIPELINE_LAYOUTS, Layout
from admbench.errors import CheckpointError
from admbench.weights import WEIGHTS_VARIABLE, weights_folder

NON_COMMERCIAL = "CC-BY-NC-SA-4.0"
STABILITY = "Stability AI Community License"


@dataclass(frozen=True)
class Published:
    """One repository of the Hugging Face hub, or of GitHub where the weights are on neither."""

    name: str
    """Registry name, and that of its folder in `$ADMBENCH_WEIGHTS`."""
    repository: str
    license: str
    """Of the weights."""
    layout: Layout | None = None
    """Of the checkpoint; None for a repository of which only a tokenizer is used."""
    files: tuple[str, ...] = ()
    """What is needed of the repository, a folder's name ending in a slash; empty for all of it."""
    elsewhere: str | None = None
    """Where the files are to be had by hand, if not on the hub as they are needed."""
    host: Literal["hf", "github"] = "hf"

    @property
    def source(self) -> str:
        """The repository, for records."""
        return f"{self.host}:{self.repository}"


def _converted(name: str, repository: str, license: str, layout: Layout) -> Published:
    """A repository whose files diffusers' own script makes a pipeline directory of."""
    script = "a conversion script of github.com/huggingface/diffusers (scripts/)"
    return Published(
        name, repository, license, layout, elsewhere=f"hf:{repository}, which {script} makes a pipeline directory of"
    )


PUBLISHED = {
    model.name: model
    for model in (
        Published("audioldm-s-full-v2", "cvssp/audioldm-s-full-v2", NON_COMMERCIAL, "audioldm"),
        Published("audioldm-s-full", "cvssp/audioldm", NON_COMMERCIAL, "audioldm"),
        Published("audioldm-m-full", "cvssp/audioldm-m-full", NON_COMMERCIAL, "audioldm"),
        Published("audioldm-l-full", "cvssp/audioldm-l-full", NON_COMMERCIAL, "audioldm"),
        Published("tango", "declare-lab/tango", NON_COMMERCIAL, "tango"),
        Published("tango-full", "declare-lab/tango-full", NON_COMMERCIAL, "tango"),
        Published("tango-full-ft-audiocaps", "declare-lab/tango-full-ft-audiocaps", NON_COMMERCIAL, "tango"),
        Published("tango2", "declare-lab/tango2", NON_COMMERCIAL, "tango"),
        Published("audioldm2", "cvssp/audioldm2", NON_COMMERCIAL, "audioldm2"),
        Published("audioldm2-large", "cvssp/audioldm2-large", NON_COMMERCIAL, "audioldm2"),
        Published("audioldm2-music", "cvssp/audioldm2-music", NON_COMMERCIAL, "audioldm2"),
        Published("musicldm", "ucsd-reach/musicldm", NON_COMMERCIAL, "musicldm"),
        # gated, and beside the pipeline the repository holds all weights once more in the authors' own format
        Published(
            "stable-audio-open-1.0",
            "stabilityai/stable-audio-open-1.0",
            STABILITY,
            "stable-audio",
            ("model_index.json", *(f"{name}/" for name in PIPELINE_LAYOUTS["stable-audio"].folders)),
        ),
        _converted("stable-audio-3-medium", "stabilityai/stable-audio-3-medium", STABILITY, "stable-audio-3"),
        _converted("stable-audio-3-medium-base", "stabilityai/stable-audio-3-medium-base", STABILITY, "stable-audio-3"),
        _converted("ace-step-1.5-turbo", "ACE-Step/Ace-Step1.5", "MIT", "ace-step"),
        _converted("ace-step-1.5-base", "ACE-Step/acestep-v15-base", "MIT", "ace-step"),
        Published("longcat-audiodit-1b", "ruixiangma/LongCat-AudioDiT-1B-Diffusers", "MIT", "longcat-audiodit"),
        Published(
            "make-an-audio",
            "Text-to-Audio/Make-An-Audio",
            "MIT",
            "make-an-audio",
            host="github",
            elsewhere="the Google Drive folder that the README of github.com/Text-to-Audio/Make-An-Audio links to",
        ),
    )
}


def locate(published: Published, *, download: bool) -> Path:
    """Return the folder of a published checkpoint, downloading it if it is nowhere here and that is allowed.

    Raises:
        CheckpointError: it is nowhere to be had; says where it was looked for and how to get it.
    """
    folder = weights_folder()
    if folder is not None and (folder / published.name).is_dir():
        return folder / published.name
    if published.elsewhere:
        looked = f"there is no {folder / published.name}" if folder else f"{WEIGHTS_VARIABLE} is not set"
        raise CheckpointError(
            f"{published.name}: {looked}; get it from {published.elsewhere}, and put its files into"
            f" ${WEIGHTS_VARIABLE}/{published.name}"
        )
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    wanted = list(published.files) or None
    try:
        return Path(snapshot_download(published.repository, allow_patterns=wanted, local_files_only=True))
    except LocalEntryNotFoundError:
        looked = (
            "not in the Hugging Face cache" if folder is None else f"neither in {folder} nor in the Hugging Face cache"
        )
    remedy = f"get it with: {download_command(published)}"
    if not download or constants.HF_HUB_OFFLINE:
        raise CheckpointError(f"{published.name}: {looked}; {remedy}")
    try:
        return Path(snapshot_download(published.repository, allow_patterns=wanted))
    except (HfHubHTTPError, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{published.name}: {looked}, and the download failed ({reason}); {remedy}") from error


def download_command(published: Published) -> str:
    """Return the shell command that puts a checkpoint where :func:`locate` looks for it."""
    words = ["hf", "download", published.repository, *published.files]
    if folder := weights_folder():
        words += ["--local-dir", str(folder / published.name)]
    return shlex.join(words)


def revision(folder: Path) -> str | None:
    """Return the commit of a snapshot in the Hugging Face cache; None for any other folder."""
    return folder.name if folder.parent.name == "snapshots" else None
