"""Before a run: can every method be built from its spec, what is not installed, and is the device there?

Also which methods depend on their calibration data. Done in a child process.
"""

from __future__ import annotations

import json
import sys

from pydantic import BaseModel, ConfigDict

from admbench.errors import UsageError

USER_MISTAKE = 2
"""Exit code when the last line of standard error is a mistake of the user's."""


class Findings(BaseModel):
    """What is to be known of method specs before a run."""

    model_config = ConfigDict(frozen=True)

    unavailable: dict[str, str] = {}
    """Specs that cannot run here because what their method needs is not installed, each with the reason."""
    fixed: tuple[str, ...] = ()
    """Specs that give the same result whatever the calibration draw."""


def check(methods: list[str], device: str) -> Findings:
    """Raise the first mistake in the specs or the device; a plug-in that fails to load is left for its cells.

    Raises:
        UsageError: a spec has an option that its method does not know, or the device is not here.
    """
    from admbench.methods import from_spec
    from admbench.registry import missing_distributions

    unavailable, fixed = {}, []
    for spec in methods:
        try:
            method = from_spec(spec)
            missing = missing_distributions(method.requires)
            if missing is not None:
                unavailable[spec] = missing
            if not method.varies:
                fixed.append(spec)
        except UsageError:
            raise
        except Exception as error:  # a plug-in may fail in any way; its cells will say so
            print(f"{spec}: {error}", file=sys.stderr)
    if device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise UsageError("--device cuda: no CUDA device is available here; expected cpu")
    return Findings(unavailable=unavailable, fixed=tuple(fixed))


def main() -> int:
    """Read `{"methods": [...], "device": ...}` from standard input, check it, and print what is not installed."""
    question = json.load(sys.stdin)
    try:
        found = check(question["methods"], question["device"])
    except UsageError as error:
        print(error, file=sys.stderr)
        return USER_MISTAKE
    print("\n" + found.model_dump_json())
    return 0


if __name__ == "__main__":
    sys.exit(main())
