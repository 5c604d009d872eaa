"""Where the user keeps large published weights, and whether what is needed beside them is there."""

from __future__ import annotations

import os
from pathlib import Path

from admbench.errors import CheckpointError

WEIGHTS_VARIABLE = "ADMBENCH_WEIGHTS"


def weights_folder() -> Path | None:
    """Return the folder of published weights, `$ADMBENCH_WEIGHTS`; None where the variable is not set."""
    chosen = os.environ.get(WEIGHTS_VARIABLE)
    return Path(chosen).expanduser() if chosen else None


VOCABULARIES = (("tokenizer.json",), ("vocab.json", "merges.txt"), ("spiece.model",), ("vocab.txt",))
"""Files, any one group of which holds the vocabulary of a tokenizer in the format of transformers."""


def require_vocabulary(folder: Path) -> Path:
    """Return the folder of a tokenizer if its vocabulary is there.

    Without this, transformers 5 makes a tokenizer that knows its special tokens and no word, and says nothing.

    Raises:
        CheckpointError: it is not there; names the files that were expected.
    """
    if not any(all((folder / name).is_file() for name in group) for group in VOCABULARIES):
        expected = ", or ".join(" and ".join(group) for group in VOCABULARIES)
        raise CheckpointError(f"{folder}: no vocabulary of a tokenizer; expected {expected}")
    return folder
