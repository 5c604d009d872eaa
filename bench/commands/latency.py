"""`bench latency`: how fast a method's integers really are, beside fp32 and bf16 in the same process."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from bench.commands.options import Debug, Device, Quiet, RandomWeights
from bench.commands.tables import megabytes, print_table


def latency(
    model: Annotated[str, typer.Option(help="Registry name of the model, or dir:PATH.")],
    method: Annotated[str, typer.Option(help="Method spec, such as naive@w8a8.")],
    random_weights: RandomWeights = False,
    batch: Annotated[int, typer.Option(min=1, help="Rows of one call of the backbone.")] = 2,
    seconds: Annotated[float | None, typer.Option(min=0.01, help="Length of a clip; default: the model's own.")] = None,
    repeats: Annotated[int, typer.Option(min=3, help="Calls of each that count, after 3 that do not.")] = 10,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads; default: the cores there are.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Denoising steps of the whole pipeline, timed once.")] = None,
    baselines: Annotated[str, typer.Option(help="Method specs timed beside it; fp32 always is.")] = "fp32,bf16",
    device: Device = "cpu",
    json: Annotated[Path | None, typer.Option(help="Write the latency section to this file.")] = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Time one denoising step and the whole pipeline with real integer kernels.

    Repetitions of the method and of the baselines take turns in one process; medians with 10th and 90th percentile.
    """
    import time

    started = time.perf_counter()
    from admcore.files import write_json_atomic
    from bench.checks import check_method, check_model, check_writable_file
    from methods.spec import split_specs

    check_model(model)
    others = [spec for spec in split_specs(baselines) if spec]
    for spec in (method, *others):
        check_method(spec)
    if json is not None:
        check_writable_file(json)
    from bench import api
    from bench.environment import cores
    from bench.measurement.latency import Settings

    loaded = api.load_model(model, random_weights=random_weights, device=device)
    if seconds is not None:
        loaded.set_seconds(seconds)
    settings = Settings(batch=batch, repeats=repeats, threads=threads or cores())
    section = api.measure_latency(loaded, method, baselines=others, settings=settings, steps=steps, started=started)
    print_table(("what", "step, ms", "p10 .. p90", "n", "fp32 / it", "note"), _rows(method, section))
    if json is not None:
        write_json_atomic(json, {"latency": section})


def _rows(method: str, section: dict[str, Any]) -> list[tuple[str, ...]]:
    fp32 = section["baselines"]["fp32"]["step_ms"]["median"]
    rows: list[tuple[str, ...]] = []
    if section["kernel"] is None:
        rows.append((method, "-", "-", "-", "-", f"no kernel runs: {section['reason']}"))
    else:
        counts = ", ".join(f"{count} {name}" for name, count in section["layers"].items())
        rows.append(_row(method, section["step_ms"], fp32, counts))
    rows += [_row(name, found["step_ms"], fp32, "") for name, found in section["baselines"].items()]
    for reason, count in section["fallbacks"].items():
        rows.append(("float" if reason.startswith("float") else "simulated", "-", "-", str(count), "-", reason))
    if section["kernel"] is not None:
        timed = section["pipeline"]
        note = (
            f"{timed['seconds_of_audio']:g} s of audio, {timed['steps']} steps in {timed['denoising_seconds']:.1f} s,"
            f" decoding {timed['decoding_seconds']:.1f} s"
        )
        rows.append(("real-time factor", f"{section['real_time_factor']:.2f}", "-", "1", "-", note))
    peak = megabytes(section["memory"]["peak_bytes"])
    rows.append(("memory", "-", "-", "-", "-", f"peak {peak} of the process with everything in it"))
    used = f"{section['threads']} threads, others kept {section['other_load']:.2f} cores busy"
    rows.append(("machine", "-", "-", "-", "-", used))
    return rows


def _row(name: str, timing: dict[str, Any], fp32: float, note: str) -> tuple[str, ...]:
    return (
        name,
        f"{timing['median']:.1f}",
        f"{timing['p10']:.1f} .. {timing['p90']:.1f}",
        str(len(timing["values"])),
        f"{fp32 / timing['median']:.2f}",
        note or "-",
    )
