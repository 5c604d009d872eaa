"""Flags that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from admbench.progress import set_quiet


def _set_quiet(value: bool) -> bool:
    set_quiet(value)
    return value


Quiet = Annotated[bool, typer.Option("--quiet", "-q", callback=_set_quiet, help="Print no progress.")]
Tagger = Annotated[
    str | None, typer.Option(help="Judge for distances and classes (fd, kl, is, ...); see `bench list judges`.")
]
Clap = Annotated[str | None, typer.Option(help="Judge for audio and captions (clap, clap_audio).")]
TaggerWeights = Annotated[str | None, typer.Option(help="Path of the tagger's weights.")]
ClapWeights = Annotated[str | None, typer.Option(help="Path, or hub id, of the CLAP weights.")]
Components = Annotated[
    str | None,
    typer.Option(help="What is quantized: backbone, text_encoder, vae, vocoder, ..., or all; by commas."),
]
RandomWeights = Annotated[
    bool, typer.Option("--random-weights", help="The model's architecture with random weights; needs no files.")
]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show where an error came from.")]
