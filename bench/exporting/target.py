"""What a form of export is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from typing import ClassVar

from torch import Tensor, nn

from admbench.bench.exporting.subject import Inputs, Subject

Run = Callable[[Inputs], Tensor]
"""A backbone outside of this package: tensors by name in, the prediction out, float32."""


@dataclass(frozen=True)
class Written:
    """What a target wrote."""

    holds: str
    """One line on what the folder has, for the user."""
    left_out: tuple[str, ...] = ()
    """What of the checkpoint it does not express, each in one line."""


class Target(ABC):
    """A form that other programs read."""

    name: ClassVar[str]
    """What `--format` calls it."""
    summary: ClassVar[str]
    """One line on what is written."""
    packages: ClassVar[tuple[str, ...]] = ()
    """Modules that writing and checking it import."""

    def missing(self) -> str | None:
        """Return why it cannot be written here, None if it can."""
        absent = [name for name in self.packages if util.find_spec(name) is None]
        return f"not installed: {', '.join(absent)}; pip install admbench[export]" if absent else None

    def reference(self, subject: Subject) -> nn.Module:
        """Return the network whose predictions an export has to make: the simulation, or what the form has of it."""
        return subject.model.backbone

    @abstractmethod
    def required_sqnr_db(self, subject: Subject) -> float:
        """Return the least ratio of the reference's mean square to that of the export's difference from it, dB."""

    @abstractmethod
    def write(self, subject: Subject, folder: Path) -> Written:
        """Write the export into an empty folder.

        Raises:
            UsageError: the checkpoint has something that the form cannot express, which it names.
        """

    @abstractmethod
    def load(self, subject: Subject, folder: Path) -> Run:
        """Load the backbone that `write` wrote, by the target's own runtime."""


def not_exported(subject: Subject) -> tuple[str, ...]:
    """Return a line for each quantized component beside the backbone, for targets that hold the backbone alone."""
    return tuple(f"{name}: not exported" for name in subject.headers if name != "backbone")
