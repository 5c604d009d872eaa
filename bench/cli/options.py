"""Flags that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from admbench.bench.suites.formats import Encoding
from admbench.errors import UsageError
from admbench.progress import set_quiet

if TYPE_CHECKING:
    from admbench.bench.scoring.spec import JudgeSpec
    from admbench.bench.suites.spec import CaptionFileSpec


LARGEST_SEED = 2**63 - 1
"""Of noise and of calibration: as large as what torch, records and caption files hold."""


def _set_quiet(value: bool) -> bool:
    set_quiet(value)
    return value


Quiet = Annotated[bool, typer.Option("--quiet", "-q", callback=_set_quiet, help="Print no progress.")]
Tagger = Annotated[
    str | None,
    typer.Option(
        help="Judges for distances and classes (fd, kl, is, ...), by commas; see `bench list judges`. Scores of the"
        " first are called fd, of the others fd[NAME]."
    ),
]
Clap = Annotated[str | None, typer.Option(help="Judges for audio and captions (clap, clap_audio), by commas.")]
TaggerWeights = Annotated[
    str | None, typer.Option(help="Path of the tagger's weights; of several taggers NAME=PATH, by commas.")
]
ClapWeights = Annotated[
    str | None, typer.Option(help="Path, or hub id, of the CLAP weights; of several NAME=PATH, by commas.")
]
Aesthetics = Annotated[str | None, typer.Option(help="Judges that predict listeners' ratings (audiobox_*), by commas.")]
AestheticsWeights = Annotated[
    str | None, typer.Option(help="Folder, or hub id, of the ratings' weights; of several NAME=PATH, by commas.")
]
FileEncoding = Annotated[
    Encoding | None, typer.Option("--encoding", help="Of the caption file's text; utf-8 if left out, never guessed.")
]


def names_of(flag: str, text: str) -> list[str]:
    """Return the names in a list with commas; UsageError that names the flag if there are none."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise UsageError(f"{flag}: expected names, separated by commas; found none")
    return names


def captions_of(flag: str, wanted: str | None, encoding: Encoding | None) -> str | CaptionFileSpec | None:
    """Return a suite's name or a caption file as typed, with its encoding if that was said."""
    from admbench.bench.suites.spec import CaptionFileSpec

    if encoding is None:
        return wanted
    if wanted is None:
        raise UsageError(f"--encoding {encoding}: goes with a caption file, named by {flag}")
    return CaptionFileSpec(file=Path(wanted), encoding=encoding)


def judge_spec(**flags: str | None) -> JudgeSpec:
    """Return the judges that flags name; UsageError that names the flag at fault."""
    from pydantic import ValidationError

    from admbench.bench.scoring.spec import JudgeSpec
    from admbench.metrics.extractors.base import Role

    given = {key: value for key, value in flags.items() if value is not None}
    for role in (key for key in given if key in get_args(Role)):
        given[role] = ",".join(names_of(f"--{role}", given[role]))
    try:
        return JudgeSpec.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        flag = str(first["loc"][0]).replace("_", "-")
        raise UsageError(f"--{flag}: {first['msg'].removeprefix('Value error, ')}") from None


Components = Annotated[
    str | None,
    typer.Option(help="What is quantized: backbone, text_encoder, vae, vocoder, ..., or all; by commas."),
]
Sampler = Annotated[
    str | None,
    typer.Option(help="Solver that denoises: dpm-solver++, in half the steps; the model's own if left out."),
]
RandomWeights = Annotated[
    bool, typer.Option("--random-weights", help="The model's architecture with random weights; needs no files.")
]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show where an error came from.")]
