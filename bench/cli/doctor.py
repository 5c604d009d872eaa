"""`bench doctor`: what this machine has, what is missing, what will be slow and why."""

from __future__ import annotations

from admbench.bench.cli.options import Debug, Quiet
from admbench.bench.cli.tables import print_table


def doctor(quiet: Quiet = False, debug: Debug = False) -> int:
    """Say what is missing, or slow, and why.

    Exit code 2 if something that every run needs is missing.
    """
    from admbench.bench.measurement.doctor import examine

    findings = examine()
    print_table(("state", "what", "detail"), [(finding.state, finding.what, finding.detail) for finding in findings])
    return 2 if any(finding.state == "missing" for finding in findings) else 0
