"""Samplers: which steps of which prompts' trajectories a calibration set records. One file for each.

A sampler takes a `Drawing`, what is asked for, and returns the `CalibrationSet`. Whatever the sampler, the set has the
same number of samples for the same options: `prompts` times `timesteps` pairs of a prompt and a step, both halves of
guidance of each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from admbench.errors import UsageError, nearest
from admbench.methods.core.calibration.calibration_set import CalibrationSet
from admbench.methods.core.calibration.samplers.activation_aware import draw_activation_aware
from admbench.methods.core.calibration.samplers.covercal import draw_covercal
from admbench.methods.core.calibration.samplers.drawing import Drawing
from admbench.methods.core.calibration.samplers.normal import draw_normal
from admbench.methods.core.calibration.samplers.per_step import draw_per_step
from admbench.methods.core.calibration.samplers.tdac import draw_tdac
from admbench.methods.core.calibration.samplers.uniform import draw_uniform


@dataclass(frozen=True)
class Sampler:
    """A way to draw a calibration set."""

    draw: Callable[[Drawing], CalibrationSet]
    version: int = 1
    """Changes whenever `draw` returns other samples for the same drawing: part of a set's content address."""


SAMPLERS: dict[str, Sampler] = {
    "uniform": Sampler(draw_uniform),
    "normal": Sampler(draw_normal),
    "per-step": Sampler(draw_per_step),
    "tdac": Sampler(draw_tdac),
    "activation-aware": Sampler(draw_activation_aware),
    "covercal": Sampler(draw_covercal),
}
"""Values of the option `calibration`."""


def find_sampler(name: str) -> Sampler:
    """Return a sampler by name.

    Raises:
        UsageError: there is none of that name; names the nearest.
    """
    if name not in SAMPLERS:
        raise UsageError(f'unknown calibration "{name}".{nearest(name, SAMPLERS)} Available: {", ".join(SAMPLERS)}')
    return SAMPLERS[name]
