"""`bench run`: a grid of models x methods, resumed where it stopped, then the leaderboard."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from admbench.bench.cli import options
from admbench.bench.cli.lasting_streams import lasting_streams
from admbench.errors import BenchError, UsageError
from admbench.private_text import Private

if TYPE_CHECKING:
    from admbench.bench.run.grid import GridSpec
    from admbench.bench.run.runner import CellResult


def run(
    grid: Annotated[
        Path | None, typer.Argument(metavar="[GRID.toml]", help="Grid file; without one, the embedded grid.")
    ] = None,
    models: Annotated[str | None, typer.Option(help="Models, separated by commas.")] = None,
    methods: Annotated[str | None, typer.Option(help="Method specs, separated by commas.")] = None,
    components: options.Components = None,
    suite: Annotated[str | None, typer.Option(help="Suite, or a caption file (.csv, .jsonl, .txt).")] = None,
    encoding: options.FileEncoding = None,
    limit: Annotated[int | None, typer.Option(help="Stratified subset of so many captions.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the run.")] = None,
    repeats: Annotated[int | None, typer.Option(help="Calibration draws of every method that depends on them.")] = None,
    sampler: options.Sampler = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps.")] = None,
    guidance: Annotated[float | None, typer.Option(help="Classifier-free guidance scale.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Captions per batch.")] = None,
    metrics: Annotated[str | None, typer.Option(help="Metrics, separated by commas.")] = None,
    tagger: options.Tagger = None,
    clap: options.Clap = None,
    aesthetics: options.Aesthetics = None,
    tagger_weights: options.TaggerWeights = None,
    clap_weights: options.ClapWeights = None,
    aesthetics_weights: options.AestheticsWeights = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda.")] = None,
    executor: Annotated[str | None, typer.Option(help="local, slurm or ray: who starts the cells.")] = None,
    cpus: Annotated[int | None, typer.Option(help="Cores of each cell; a cluster asks for it.")] = None,
    address: Annotated[str | None, typer.Option(help="With --executor ray: HOST:PORT of the cluster, or auto.")] = None,
    workers: Annotated[int | None, typer.Option(help="Cells side by side; each gets its share of the cores.")] = None,
    split: Annotated[
        int | None, typer.Option(help="Make the clips of larger cells in parts of so many captions, side by side.")
    ] = None,
    cell_timeout: Annotated[float | None, typer.Option(help="Seconds after which a cell is killed.")] = None,
    out: Annotated[
        str | None, typer.Option(help="Folder of the run, or the URL of one, such as s3://bucket/run.")
    ] = None,
    submitter: Annotated[
        str | None, typer.Option(help="Your name, as the records shall give it; without it they name nobody.")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Do finished cells again.")] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Run nothing: show what would run, and what it is expected to take.")
    ] = False,
    cost_per_hour: Annotated[
        float | None, typer.Option(min=0, help="With --plan: price of an hour of this machine, in any currency.")
    ] = None,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> int:
    """Run a grid of models and methods.

    Quantizes, generates and scores every model with every method, then writes the leaderboard.

    The same command again goes on where it stopped: finished cells are not done again, changed ones are.
    """
    from admbench.bench.run.grid import load_grid
    from admbench.methods.spec import split_specs

    spec = load_grid(
        grid,
        {
            "models": split_specs(models) if models is not None else None,
            "methods": split_specs(methods) if methods is not None else None,
            "suite": options.captions_of("--suite", suite, encoding),
            "components": split_specs(components) if components is not None else None,
            "limit": limit,
            "repeats": repeats,
            "seed": seed,
            "out": out,
            "submitter": submitter,
            **_under("generation", sampler=sampler, steps=steps, guidance=guidance, batch_size=batch_size),
            "metrics.names": split_specs(metrics) if metrics is not None else None,
            **_under("metrics", tagger=tagger, clap=clap, aesthetics=aesthetics),
            "metrics.tagger_weights": tagger_weights,
            "metrics.clap_weights": clap_weights,
            "metrics.aesthetics_weights": aesthetics_weights,
            **_under("execution", device=device, executor=executor, workers=workers, cpus=cpus, split=split),
            "execution.cell_timeout": cell_timeout,
            "execution.ray.address": address,
        },
    )
    if plan:
        return _plan(spec, cost_per_hour, fresh=fresh)
    if cost_per_hour is not None:
        raise UsageError("--cost-per-hour: says nothing without --plan")
    with lasting_streams():
        return _run(spec, fresh=fresh, quiet=quiet)


def _under(section: str, **values: object) -> dict[str, object]:
    """Return settings of a section of a grid by their full names."""
    return {f"{section}.{name}": value for name, value in values.items()}


def _plan(spec: GridSpec, cost_per_hour: float | None, *, fresh: bool) -> int:
    """Show what would run; return the exit code."""
    from admbench.bench.cli.run_plan import show_plan

    show_plan(spec, command=_command_line(), fresh=fresh, cost_per_hour=cost_per_hour)
    return 0


def _run(spec: GridSpec, *, fresh: bool, quiet: bool) -> int:
    """Run the grid and publish it; return the exit code."""
    from admbench.bench.cli.run_progress import RunProgress
    from admbench.bench.cli.stopping import signal_of, stopped_by_signals
    from admbench.bench.run.runner import run_grid

    try:
        with stopped_by_signals(), RunProgress(quiet) as progress:
            results = run_grid(spec, command=_command_line(), fresh=fresh, events=progress.events)
        if not quiet:
            print(progress.summary(results))
    except KeyboardInterrupt as stopped:
        print("interrupted; the same command goes on where it stopped", file=sys.stderr)
        return 128 + signal_of(stopped)
    return _finish(results, spec.out, quiet)


def _finish(results: list[CellResult], out: Path, quiet: bool) -> int:
    """Say how the cells ended, write the leaderboard, and return the exit code."""
    from admbench.bench.cli.run_progress import print_summary
    from admbench.bench.run.publishing import publish_site

    if not quiet:
        print_summary(results)
    failed = [result for result in results if result.reason is not None and not result.skipped]
    for result in failed:
        print(f"failed: {result.job.name}: {result.reason}{_kept(result)}", file=sys.stderr)
    for result in results:
        if result.skipped and result.kept:
            print(f"skipped: {result.job.name}: {result.reason}{_kept(result)}", file=sys.stderr)
    try:
        site = publish_site(out)
    except (BenchError, OSError) as error:
        print(f"error: the leaderboard was not written: {error}", file=sys.stderr)
        return 1 if failed else 2
    print(f"leaderboard: {site / 'index.html'}")
    return 1 if failed else 0


def _kept(result: CellResult) -> str:
    return f" (the result of an earlier run stays; {result.job.target.attempt})" if result.kept else ""


def _command_line() -> str:
    return Private.here().hidden(shlex.join(["bench", *sys.argv[1:]]))
