"""Samplers that take the place of a model's own: other solvers of the same diffusion, in fewer steps.

DPM-Solver++ (Lu et al. 2022, arXiv 2211.01095), the multistep solver of second order, "2M", takes the step of DDIM with
the change of its prediction since the step before extrapolated. It is made of the configuration of the model's own
scheduler, so that noise levels and what the backbone predicts are the model's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from admbench.errors import UsageError, nearest

DPM_SOLVER = "dpm-solver++"
SAMPLERS: tuple[str, ...] = (DPM_SOLVER,)
"""What `generation.sampler` may be."""
FEWER = 2
"""How many times fewer steps are taken than the model's own sampler takes, where nobody says how many."""
_PREDICTIONS = ("epsilon", "v_prediction", "sample")


def check_sampler(name: str | None) -> None:
    """Raise UsageError, with the nearest, unless there is a sampler of that name; None is the model's own."""
    if name is not None and name not in SAMPLERS:
        raise UsageError(f'unknown sampler "{name}".{nearest(name, SAMPLERS)} Available: {", ".join(SAMPLERS)}')


def check_has_sampler(model: str, has: Sequence[str], name: str | None) -> None:
    """Raise UsageError unless a model is one that the sampler solves.

    Args:
        model: its name, for the message.
        has: samplers that it has beside its own.
        name: of the sampler; None is the model's own.
    """
    if name is not None and name not in has:
        known = f"its own, or {', '.join(has)}" if has else "its own alone"
        raise UsageError(f'{model} has no sampler "{name}"; expected {known}')


def default_steps(sampler: str | None, own: int) -> int:
    """Return the steps that a model is run with where nobody says how many.

    Args:
        sampler: None is the model's own.
        own: that the model takes by its own.

    >>> default_steps(None, 25), default_steps("dpm-solver++", 25)
    (25, 12)
    """
    return own if sampler is None else max(1, own // FEWER)


def solver_of(scheduler: Any, name: str, model: str) -> Any:
    """Return the scheduler that solves what a model's own one does.

    Args:
        scheduler: the model's own, of diffusers.
        name: of `SAMPLERS`.
        model: its name, for messages.

    Raises:
        UsageError: there is no sampler of that name, or the model is none that it solves.
    """
    from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler

    check_sampler(name)
    config, own = scheduler.config, type(scheduler).__name__
    if "beta_schedule" not in config or config.get("prediction_type") not in _PREDICTIONS:
        raise UsageError(f"{model}: {name} solves diffusions over betas; its {own} is none")
    if config.get("clip_sample") or config.get("use_flow_sigmas"):
        raise UsageError(f"{model}: {name} would solve another process than its {own}, which clips its predictions")
    # timesteps from the last of training, where pure noise belongs (Lin et al. 2024, arXiv 2305.08891); the last step,
    # the widest in log(signal / noise), is DDIM's and ends at the noise of the first beta: nothing is extrapolated
    return DPMSolverMultistepScheduler.from_config(
        config,
        algorithm_type="dpmsolver++",
        solver_order=2,
        solver_type="midpoint",
        timestep_spacing="trailing",
        final_sigmas_type="sigma_min",
        euler_at_final=True,
    )
