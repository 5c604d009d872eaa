"""`bench export`: a packed checkpoint in a form that other programs read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from admbench.bench.cli.options import Debug, Quiet
from admbench.bench.cli.tables import megabytes
from admbench.errors import UsageError

MARK = "admbench-export.json"
"""What an earlier export has, so that it may be replaced."""


def export(
    checkpoint: Annotated[Path, typer.Argument(help="Folder of a packed checkpoint.")],
    out: Annotated[Path, typer.Option(help="Folder of the export; replaced if it holds one.")],
    form: Annotated[
        Literal["diffusers", "diffusers-quanto", "diffusers-torchao", "onnx", "onnx-pipeline", "openvino", "gguf"],
        typer.Option(
            "--format",
            help="Who is to read it; diffusers* and onnx-pipeline hold all, others the backbone.",
        ),
    ],
    model: Annotated[
        str | None, typer.Option(help="Where the checkpoint's model is: registry name, or dir:PATH.")
    ] = None,
    dtype: Annotated[
        Literal["float16", "bfloat16"] | None,
        typer.Option(help="Of the weights of --format diffusers; float16 if left out."),
    ] = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write a packed checkpoint in a form that runs without this package.

    Its predictions are held against our simulation's, on calls of its own trajectories; what differs is not written.
    """
    from admbench.bench.cli.checks import check_writable_folder

    if dtype is not None and form != "diffusers":
        raise UsageError(f"--dtype {dtype}: goes with --format diffusers; the others keep the integers")
    check_writable_folder(out, holds=[MARK])
    from admbench.bench import api
    from admbench.bench.exporting import TARGETS
    from admbench.bench.exporting.diffusers_pipeline import DiffusersPipeline
    from admbench.bench.exporting.exporter import export as write
    from admbench.bench.exporting.subject import Subject
    from admbench.bench.models.quantization import read_headers

    target = TARGETS[form] if dtype is None else DiffusersPipeline(dtype)
    missing = target.missing()
    if missing is not None:  # said before the model is loaded
        raise UsageError(f"--format {form}: {missing}")
    headers = {str(name): header for name, header in read_headers(checkpoint).items()}
    made = write(Subject.of(api.load_checkpoint(checkpoint, model=model), headers), target, out)
    print(f"{out}: {made.written.holds}, {megabytes(made.size)}")
    for line in made.written.left_out:
        print(f"left out: {line}")
    print(
        f"{_decibels(made.sqnr_db)} what it holds, over {made.calls} calls; at least {made.required_sqnr_db:g} required"
    )
    if made.written.left_out:
        print(f"{_decibels(made.simulation_sqnr_db)} the whole simulation, what was left out included")


def _decibels(sqnr_db: float | None) -> str:
    return "no difference at all to" if sqnr_db is None else f"{sqnr_db:.1f} dB to"
