"""Before a run: can every method be built from its spec, what is not installed, and is the device there?

Done in a child process.
"""

from __future__ import annotations

import json
import sys

from admbench.errors import UsageError

USER_MISTAKE = 2
"""Exit code when the last line of standard error is a mistake of the user's."""


def check(methods: list[str], device: str) -> dict[str, str]:
    """Raise the first mistake in the specs or the device; a plug-in that fails to load is left for its cells.

    Returns:
        The specs that cannot run here because what their method needs is not installed, each with the reason.

    Raises:
        UsageError: a spec has an option that its method does not know, or the device is not here.
    """
    from admbench.methods import from_spec
    from admbench.registry import missing_distributions

    unavailable = {}
    for spec in methods:
        try:
            missing = missing_distributions(from_spec(spec).requires)
            if missing is not None:
                unavailable[spec] = missing
        except UsageError:
            raise
        except Exception as error:  # a plug-in may fail in any way; its cells will say so
            print(f"{spec}: {error}", file=sys.stderr)
    if device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise UsageError("--device cuda: no CUDA device is available here; expected cpu")
    return unavailable


def main() -> int:
    """Read `{"methods": [...], "device": ...}` from standard input, check it, and print what is not installed."""
    question = json.load(sys.stdin)
    try:
        unavailable = check(question["methods"], question["device"])
    except UsageError as error:
        print(error, file=sys.stderr)
        return USER_MISTAKE
    print("\n" + json.dumps(unavailable))
    return 0


if __name__ == "__main__":
    sys.exit(main())
