"""Flags that several commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from admbench.errors import UsageError
from admbench.progress import set_quiet

if TYPE_CHECKING:
    from admbench.bench.scoring.spec import JudgeSpec


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


def judge_spec(**flags: str | None) -> JudgeSpec:
    """Return the judges that flags name; UsageError that names the flag at fault."""
    from pydantic import ValidationError

    from admbench.bench.scoring.spec import JudgeSpec

    try:
        return JudgeSpec.model_validate({key: value for key, value in flags.items() if value is not None})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        flag = str(first["loc"][0]).replace("_", "-")
        raise UsageError(f"--{flag}: {first['msg'].removeprefix('Value error, ')}") from None


Components = Annotated[
    str | None,
    typer.Option(help="What is quantized: backbone, text_encoder, vae, vocoder, ..., or all; by commas."),
]
RandomWeights = Annotated[
    bool, typer.Option("--random-weights", help="The model's architecture with random weights; needs no files.")
]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show where an error came from.")]
