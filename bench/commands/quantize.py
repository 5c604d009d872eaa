"""`bench quantize`: a model and a method to a packed checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.commands.options import Debug, Quiet
from bench.commands.tables import megabytes


def quantize(
    model: Annotated[str, typer.Option(help="Registry name of the model, or dir:PATH.")],
    method: Annotated[str, typer.Option(help="Method spec, such as naive@w4a8.")],
    out: Annotated[Path, typer.Option(help="Folder of the checkpoint; replaced if it holds one.")],
    seed: Annotated[int, typer.Option(min=0, help="Seed of the calibration.")] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    random_weights: Annotated[
        bool, typer.Option("--random-weights", help="The model's architecture with random weights; needs no files.")
    ] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write a packed, quantized checkpoint.

    Of a model's backbone: integers packed to their bits in safetensors, and one JSON header.
    """
    from bench.checks import check_method, check_model, check_writable_folder

    check_model(model)
    check_method(method)
    check_writable_folder(out, holds=("quantization.json",))
    from bench import api
    from methods.core.checkpoint import directory_bytes

    quantized = api.quantize(api.load_model(model, random_weights=random_weights, device=device), method, seed=seed)
    api.save_checkpoint(quantized, out)
    report = quantized.backbone.report
    print(
        f"{out}: {megabytes(directory_bytes(out))}, {len(report.layers)} quantized layers,"
        f" {report.nominal_bits_per_weight:.2f} bits a weight"
    )
