"""Write an export, hold it against the simulation, and keep it only if it makes the same predictions."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from admbench.bench.exporting.subject import Subject
from admbench.bench.exporting.target import Target, Written
from admbench.bench.models.sqnr import sqnr_db
from admbench.errors import CheckpointError, UsageError
from admbench.files import atomic_directory, directory_bytes, write_json_atomic

FILE = "admbench-export.json"
"""Says what an export was made from, and under which licence: the weights' own. By it, an export is known as one."""


@dataclass(frozen=True)
class Export:
    """An export that was written and checked."""

    written: Written
    size: int
    """Bytes of the folder."""
    sqnr_db: float | None
    """Against what the target says that it holds; None where there is no difference at all."""
    required_sqnr_db: float
    """What that had to be at least."""
    simulation_sqnr_db: float | None
    """Against the whole simulation, what was left out included."""
    calls: int
    """Calls of the backbone that were compared."""


def export(subject: Subject, target: Target, out: Path) -> Export:
    """Write a checkpoint in a target's form; `out` is replaced only by an export that passed.

    Raises:
        UsageError: a package is missing, or the form cannot express something of the checkpoint, which it names.
        CheckpointError: the export's predictions are not the simulation's.
    """
    missing = target.missing()
    if missing is not None:
        raise UsageError(f"--format {target.name}: {missing}")
    with atomic_directory(out) as folder:
        written = target.write(subject, folder)
        run = target.load(subject, folder)
        found = [run(inputs) for inputs in subject.inputs]
        if not all(bool(torch.isfinite(one).all()) for one in found):
            raise CheckpointError(f"{out}: not written: the exported backbone predicts NaN or infinity")
        whole = predictions(subject, subject.model.backbone)
        reference = target.reference(subject)
        held = whole if reference is subject.model.backbone else predictions(subject, reference)
        ratio, required = _ratio(held, found), target.required_sqnr_db(subject)
        if ratio is not None and ratio < required:
            raise CheckpointError(
                f"{out}: not written: the exported backbone's predictions are {ratio:.1f} dB from the simulation's;"
                f" expected at least {required:g} dB"
            )
        made = Export(written, directory_bytes(folder), ratio, required, _ratio(whole, found), len(found))
        write_json_atomic(folder / FILE, _described(subject, target, made))
    return made


def predictions(subject: Subject, network: nn.Module) -> list[Tensor]:
    """Return a network's predictions of the subject's calls, float32."""
    function = subject.function.of(network)
    with torch.no_grad():
        return [function(*(inputs[name] for name in function.names)).float() for inputs in subject.inputs]


def _described(subject: Subject, target: Target, made: Export) -> dict[str, object]:
    components = {
        name: {"method": header.method.spec, "source": header.source.model_dump()}
        for name, header in subject.headers.items()
    }
    return {"format": target.name, "components": components, **asdict(made)}


def _ratio(expected: list[Tensor], found: list[Tensor]) -> float | None:
    """Return the SQNR over all predictions as one."""
    return sqnr_db(*(torch.cat([one.reshape(-1) for one in side]) for side in (expected, found)))
