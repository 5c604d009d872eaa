"""`bench ladder`: does the suite tell good from bad? From real audio down to random weights."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from admbench.bench.cli.options import Debug, Quiet
from admbench.bench.cli.tables import print_table


def ladder(
    models: Annotated[
        str | None, typer.Option(help="Models, separated by commas; the embedded U-Nets of 25 steps if left out.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=2, help="Captions; the whole suite if left out.")] = None,
    out: Annotated[Path, typer.Option(help="Run folder that ladder.json is written to.")] = Path("runs/ladder"),
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Check that scores tell good from bad.

    Scores the sanity ladder: real audio, full precision, ever fewer bits, random weights. Exits with 1 if a step or the
    agreement of the metrics does not hold.
    """
    from admbench.bench.models.checks import check_model
    from admbench.bench.run.layout import RunLayout
    from admbench.bench.studies.ladder import run_ladder
    from admbench.leaderboard.inference.scores import caution
    from admbench.methods.spec import split_specs

    names = split_specs(models) if models else None
    for name in names or ():
        check_model(name)
    ladder = run_ladder(names, out, limit)
    header = ("model", "level", "FD", "95 % interval", "KL", "CLAP", "Zimtohrli", "step from the level before", "holds")
    print_table(header, [_row(entry["model"], level) for entry in ladder["models"] for level in entry["rungs"]])
    for entry in ladder["models"]:
        agreement = entry["agreement"]
        print(f"{entry['model']}: rank agreement with FD: KL {_rho(agreement['kl'])}, CLAP {_rho(agreement['clap'])}")
    fewest = min(level["n"] for entry in ladder["models"] for level in entry["rungs"])
    if few := caution(fewest):
        print(f"warning: {few}", file=sys.stderr)
    print(RunLayout(out).ladder)
    levels = [level for entry in ladder["models"] for level in entry["rungs"]]
    held = all(map(_holds, levels)) and all(entry["agreement"]["holds"] for entry in ladder["models"])
    return 0 if held else 1


def _row(model: str, level: dict[str, Any]) -> tuple[str, ...]:
    scores, step = level["scores"], level["step"]
    nearness = scores.get("zimtohrli_vs_baseline")
    change = "-"
    if step:
        low, high = step["difference"]["ci95"]
        change = f"{step['relation']} {step['difference']['value']:+.3f} [{low:+.3f}, {high:+.3f}]"
    low, high = scores["fd"]["ci95"]
    return (
        model,
        level["name"],
        f"{scores['fd']['value']:.3f}",
        f"{low:.3f} .. {high:.3f}",
        f"{scores['kl']['value']:.3f}",
        f"{scores['clap']['value']:.3f}",
        "-" if nearness is None else f"{nearness['value']:.4f}",
        change,
        "-" if step is None else "yes" if _holds(level) else "NO",
    )


def _holds(level: dict[str, Any]) -> bool:
    """Whether the steps to a level hold, of FD and of the distance to full precision."""
    return all(step["holds"] for step in (level["step"], level["nearness"]) if step)


def _rho(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
