"""`bench selftest`: does a device compute what it should, and how fast is it?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from admbench.bench.cli.options import Debug, Device, Quiet


def selftest(
    device: Device = "cpu",
    minutes: Annotated[
        float, typer.Option(min=0.1, help="No check is begun that takes longer than what is left of this.")
    ] = 10.0,
    plan: Annotated[bool, typer.Option("--plan", help="Say what would be checked, and check nothing.")] = False,
    json: Annotated[Path | None, typer.Option(help="Write all numbers to this file.")] = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Check a device: every kernel against simulation, a small grid, and full-size backbones timed.

    Prints a line per check. Exit code 0 if something passed and nothing failed, else 1.
    """
    from admbench.bench.cli.checks import check_writable_file
    from admbench.errors import UsageError

    if device not in ("cpu", "cuda"):
        raise UsageError(f'--device "{device}": expected cpu or cuda')
    if json is not None:
        check_writable_file(json)
    from admbench.bench.studies import selftest as study
    from admbench.files import write_json_atomic

    if plan:
        for check in study.plan(device):
            print(f"{check.name}\tabout {check.seconds:.0f} s")
        return 0
    outcomes = []
    for outcome in study.selftest(device, 60 * minutes):
        outcomes.append(outcome)
        print(f"{outcome.state}\t{outcome.name}\t{outcome.seconds:.1f} s\t{outcome.detail}", flush=True)
    if json is not None:
        write_json_atomic(json, study.report(device, outcomes))
    return 0 if study.passed(outcomes) else 1
