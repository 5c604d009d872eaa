"""`bench quantize`: a model and a method to a packed checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from admbench.bench.cli.options import LARGEST_SEED, Components, Debug, Device, Quiet, RandomWeights, Sampler, names_of
from admbench.bench.cli.tables import megabytes

HEADER = "quantization.json"


def quantize(
    model: Annotated[str, typer.Option(help="Registry name of the model, or dir:PATH.")],
    method: Annotated[str, typer.Option(help="Method spec, such as naive@w4a8.")],
    out: Annotated[Path, typer.Option(help="Folder of the checkpoint; replaced if it holds one.")],
    components: Components = None,
    sampler: Sampler = None,
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="Seed of the calibration.")] = 0,
    device: Device = "cpu",
    random_weights: RandomWeights = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write a packed, quantized checkpoint.

    Of a model's backbone, or of other components: integers packed to their bits in safetensors, and one JSON header.
    """
    from admbench.bench.cli.checks import check_method, check_writable_folder
    from admbench.bench.models.checks import check_components_of, check_model, check_sampler_of
    from admbench.bench.models.components import COMPONENTS, check_components
    from admbench.errors import UsageError

    check_model(model)
    check_method(method)
    check_writable_folder(out, holds=[HEADER if name == "backbone" else f"{name}/{HEADER}" for name in COMPONENTS])
    try:
        chosen = check_components(["backbone"] if components is None else names_of("--components", components))
    except ValueError as error:
        raise UsageError(f"--components: {error}") from None
    check_components_of(model, chosen)
    check_sampler_of(model, sampler)
    from admbench.bench import api
    from admbench.bench.measurement.size import component_bytes, tensor_bytes
    from admbench.bench.models.quantization import checkpoint_folders

    loaded = api.load_model(model, random_weights=random_weights, device=device, sampler=sampler)
    before = component_bytes(loaded)
    quantized = api.quantize(loaded, method, components=chosen, seed=seed)
    api.save_checkpoint(quantized, out)
    after = dict(before)
    for name, folder in checkpoint_folders(out).items():
        report = quantized.components[name].report
        size = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
        after[name] = size
        print(
            f"{folder}: {name}, {megabytes(size)}, {1 - size / before[name]:.1%} smaller than fp32,"
            f" {len(report.layers)} quantized layers, {report.nominal_bits_per_weight:.2f} bits a weight,"
            f" {8 * tensor_bytes(folder) / report.parameters:.2f} with scales"
        )
    whole, was = sum(after.values()), sum(before.values())
    print(f"pipeline: {megabytes(whole)} of {megabytes(was)}, {1 - whole / was:.1%} smaller than fp32")
