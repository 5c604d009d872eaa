"""`bench stress`: do methods handle what they claim to? On hard twins of a model."""

from __future__ import annotations

import shlex
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from admbench.bench.cli.options import Debug, Quiet
from admbench.bench.cli.tables import print_table

if TYPE_CHECKING:
    from admbench.bench.studies.stress.climbing import Outcome


def stress(
    model: Annotated[str, typer.Option(help="Model, a registered one or dir:PATH.")] = "tiny-flow",
    methods: Annotated[
        str | None, typer.Option(help="Method specs, separated by commas; a set of the usual ones if left out.")
    ] = None,
    json: Annotated[
        Path | None, typer.Option(help="Also write the table to this file, which bench leaderboard --stress shows.")
    ] = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Hold methods to what they claim.

    Runs them on a model and on twins that compute the same of numbers that are harder to quantize, and prints what they
    lose, in dB. Exits with 1 if a claim does not hold.
    """
    from admbench.bench.cli.checks import check_method, check_writable_file
    from admbench.bench.models import load_model
    from admbench.bench.models.checks import check_model
    from admbench.bench.models.quantization import calibration_prompt_count
    from admbench.bench.studies.stress.climbing import CAPTIONS, METHODS, climb
    from admbench.bench.suites import calibration_prompts
    from admbench.bench.suites.foley import Foley
    from admbench.files import write_json_atomic
    from admbench.leaderboard.stress import FORMAT
    from admbench.methods import from_spec
    from admbench.methods.spec import split_specs
    from admbench.private_text import Private
    from admbench.taxonomy import DIFFICULTIES
    from admbench.versions import git_state

    specs = split_specs(methods) if methods else METHODS
    check_model(model)
    for spec in specs:
        check_method(spec)
    if json is not None:
        check_writable_file(json)
    items = Foley().take(CAPTIONS)
    started, clock, loaded = datetime.now(UTC), time.monotonic(), load_model(model)
    rows = climb(
        loaded,
        specs,
        calibration_prompts(max(calibration_prompt_count(from_spec(spec)) for spec in specs)),
        [item.caption for item in items],
        [item.seed for item in items],
    )
    print_table(
        ("method", "SQNR dB", *DIFFICULTIES),
        [(row.method, f"{row.untouched:.1f}", *(_cell(row.outcomes[name]) for name in DIFFICULTIES)) for row in rows],
    )
    if json is not None:
        content = {
            "format": FORMAT,
            "schema_version": 1,
            "model": loaded.name,
            "weights_sha256": loaded.weights_sha256,
            "rows": [asdict(row) for row in rows],
            "provenance": {
                "started": started.isoformat(timespec="seconds"),
                "seconds": round(time.monotonic() - clock, 1),
                "git": git_state(),
                "command": Private.here().hidden(shlex.join(["bench", *sys.argv[1:]])),
            },
        }
        write_json_atomic(json, content)
    failed = [(row.method, name) for row in rows for name, own in row.outcomes.items() if own and own.holds is False]
    for spec, name in failed:
        print(f"{spec} claims to handle {name}, and does not", file=sys.stderr)
    return 1 if failed else 0


def _cell(outcome: Outcome | None) -> str:
    if outcome is None:
        return "-"
    if outcome.verdict is None:
        return f"{outcome.lost:.1f}, not hard"
    claim = {True: ", as claimed", False: ", NOT AS CLAIMED", None: ""}[outcome.holds]
    return f"{outcome.lost:.1f} {outcome.verdict}{claim}"
