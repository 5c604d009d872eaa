"""`bench latency`: how fast a method's integers really are, beside fp32 and bf16 in the same process."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, cast

import typer

from admbench.bench.cli.options import Debug, Device, Quiet, RandomWeights
from admbench.bench.cli.tables import megabytes, print_table

ENGINE_NAMES = (
    "autocast:float16",
    "autocast:bfloat16",
    "torch-compile",
    "openvino",
    "openvino-int8",
    "onnxruntime-int8",
    "exported:openvino",
    "exported:onnx",
)
"""Keys of `admbench.bench.measurement.engines.ENGINES`, without importing torch; a test keeps the two equal."""


def latency(
    model: Annotated[str, typer.Option(help="Registry name of the model, or dir:PATH.")],
    method: Annotated[str, typer.Option(help="Method spec, such as naive@w8a8.")],
    random_weights: RandomWeights = False,
    batch: Annotated[int, typer.Option(min=1, help="Rows of one call of the backbone.")] = 2,
    seconds: Annotated[float | None, typer.Option(min=0.01, help="Length of a clip; default: the model's own.")] = None,
    repeats: Annotated[int, typer.Option(min=3, help="Calls of each that count, after 3 that do not.")] = 10,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads; default: as many of the cores as each is fastest with.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Denoising steps of the whole pipeline, timed once.")] = None,
    baselines: Annotated[
        str,
        typer.Option(
            help="Method specs timed beside it; fp32 always is. Also autocast:float16, autocast:bfloat16,"
            " torch-compile, openvino, openvino-int8 and onnxruntime-int8, and the method itself as exported:openvino"
            " and exported:onnx, where they are installed."
        ),
    ] = "fp32,bf16",
    unpack: Annotated[
        str, typer.Option(help="When weights become bytes: once, or layer by layer at every call, to save memory.")
    ] = "once",
    profile: Annotated[bool, typer.Option("--profile", help="Where the time of a step goes, by operator.")] = False,
    roofline: Annotated[
        Path | None, typer.Option(help="Time each layer and draw it below the machine's roofline, to this PNG file.")
    ] = None,
    alone: Annotated[
        bool, typer.Option("--alone", help="Memory of a process of its own with nothing but the quantized backbone.")
    ] = False,
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
    from admbench.bench.cli.checks import check_method, check_writable_file
    from admbench.bench.models.checks import check_model
    from admbench.errors import UsageError
    from admbench.files import write_json_atomic
    from admbench.methods.spec import split_specs

    check_model(model)
    others = [spec for spec in split_specs(baselines) if spec]
    for spec in (method, *(spec for spec in others if spec not in ENGINE_NAMES)):
        check_method(spec)
    if unpack not in ("once", "layer"):
        raise UsageError(f'--unpack "{unpack}": expected once or layer')
    for file in (json, roofline):
        if file is not None:
            check_writable_file(file)
    from admbench.bench import api
    from admbench.bench.measurement.environment import cores
    from admbench.bench.measurement.latency import Settings

    loaded = api.load_model(model, random_weights=random_weights, device=device)
    if seconds is not None:
        loaded.set_seconds(seconds)
    settings = Settings(
        batch=batch,
        repeats=repeats,
        threads=threads or cores(),
        choose_threads=threads is None,
        unpack=cast(Any, unpack),
        profile=profile,
        roofline=roofline is not None,
        alone=alone,
    )
    section = api.measure_latency(loaded, method, baselines=others, settings=settings, steps=steps, started=started)
    print_table(("what", "step, ms", "p10 .. p90", "n", "fp32 / it", "note"), _rows(method, section))
    if "profile" in section:
        print_table(("operator", "calls", "ms", "share"), _profile_rows(section["profile"]))
    if "roofline" in section and roofline is not None:
        from admbench.bench.measurement.latency_section import most_used_threads
        from admbench.bench.measurement.roofline import draw

        print_table(("layers limited by", "number", "ms"), _limit_rows(section["roofline"]))
        used = most_used_threads(section)
        draw(section["roofline"], f"{model}, {method}, batch {batch}, {used} threads", roofline)
    if json is not None:
        write_json_atomic(json, {"latency": section})


def _rows(method: str, section: dict[str, Any]) -> list[tuple[str, ...]]:
    from admbench.methods.spec import FULL_PRECISION

    fp32 = section["baselines"][FULL_PRECISION]["step_ms"]["median"]
    rows: list[tuple[str, ...]] = []
    if section["kernel"] is None:
        rows.append((method, "-", "-", "-", "-", f"no kernel runs: {section['reason']}"))
    else:
        counts = ", ".join(f"{count} {name}" for name, count in section["layers"].items())
        glue = f", {section['glue']} between products of attention" if section["glue"] else ""
        glue += f", attention by {section['attention']}" if section["attention"] else ""
        glue += f", {section['small_products']} small products by ours" if section["small_products"] else ""
        rows.append(_row(method, section["step_ms"], fp32, _with_sqnr(counts + glue, section["sqnr_db"])))
    rows += [_baseline_row(name, found, fp32) for name, found in section["baselines"].items()]
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
    if "alone" in section["memory"]:
        found = section["memory"]["alone"]
        note = f"{megabytes(found['weight_bytes'])} of weights, peak {megabytes(found['peak_bytes'])}"
        note += f" of a process of its own, {megabytes(found['checkpoint_bytes'])} on disk, unpacked {found['unpack']}"
        rows.append(("alone", f"{found['step_ms']:.1f}", "-", "3", "-", note))
    used = f"{_threads(section)}, others kept {section['other_load']:.2f} cores busy"
    rows.append(("machine", "-", "-", "-", "-", used))
    return rows


def _threads(section: dict[str, Any]) -> str:
    chosen = [
        f"{name} had " + ", ".join(f"{count} ({rounds})" for count, rounds in used.items())
        for name, used in section.get("threads_used", {}).items()
    ]
    return f"{section['threads']} threads" + (f" at most, rounds by number: {'; '.join(chosen)}" if chosen else "")


def _baseline_row(name: str, found: dict[str, Any], fp32: float) -> tuple[str, ...]:
    if "step_ms" not in found:
        return (name, "-", "-", "-", "-", found["reason"])
    compiled = f"compiled in {found['compile_seconds']:.0f} s" if "compile_seconds" in found else ""
    return _row(name, found["step_ms"], fp32, _with_sqnr(compiled, found.get("sqnr_db")))


def _with_sqnr(note: str, sqnr_db: float | None) -> str:
    return note if sqnr_db is None else f"{note}{', ' if note else ''}{sqnr_db:.1f} dB to fp32"


def _profile_rows(profile: dict[str, Any]) -> list[tuple[str, ...]]:
    return [
        (row["name"], f"{row['calls']:g}", f"{row['ms']:.2f}", f"{100 * row['share']:.1f} %")
        for row in profile["operators"]
    ]


def _limit_rows(section: dict[str, Any]) -> list[tuple[str, ...]]:
    return [(limit, str(found["layers"]), f"{found['ms']:.2f}") for limit, found in section["limits"].items()]


def _row(name: str, timing: dict[str, Any], fp32: float, note: str) -> tuple[str, ...]:
    return (
        name,
        f"{timing['median']:.1f}",
        f"{timing['p10']:.1f} .. {timing['p90']:.1f}",
        str(len(timing["values"])),
        f"{fp32 / timing['median']:.2f}",
        note or "-",
    )
