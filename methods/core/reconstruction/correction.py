"""A correction of a quantized backbone's prediction: what its quantization noise is on average, by timestep.

A prediction that is off by as much in every number, at every step anew, moves the whole latent. QNCD (arXiv 2403.19140)
estimates that mean while it samples and subtracts it. Here it is measured once, on the calibration set, and belongs to
the backbone: a checkpoint holds it, and whatever samples with the backbone gets predictions without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from admbench.methods.core.calibration.calibration_set import CalibrationSet
from admbench.methods.core.calibration.ranges import BATCH_SIZE
from admbench.methods.core.numbers.timesteps import timesteps_in, timesteps_of_calls
from admbench.methods.protocol import DenoisingModel

NAME = "noise_correction"
"""The submodule of a backbone that holds it, and so the beginning of its tensors' names in a checkpoint."""


class NoiseCorrection(nn.Module):
    """Numbers to subtract from a prediction, one for each of some timesteps; those of the nearest count.

    Args:
        mean: (entries,) float32.
        timesteps: (entries,) float32, strictly increasing, in the units of the backbone's input.
    """

    mean: Tensor
    timesteps: Tensor

    def __init__(self, mean: Tensor, timesteps: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("timesteps", timesteps)

    @classmethod
    def empty(cls, entries: int) -> NoiseCorrection:
        """Return one without numbers, on the meta device: the shapes and dtypes that a checkpoint must fill."""
        return cls(*(torch.empty(entries, dtype=torch.float32, device="meta") for _ in range(2)))

    def forward(self, prediction: Tensor, timesteps: Tensor) -> Tensor:
        """Return a prediction (n, ...) without its mean noise at `timesteps`, of one number or (n,)."""
        entry = (timesteps.to(self.timesteps)[:, None] - self.timesteps).abs().argmin(dim=1)
        return prediction - self.mean[entry].view(-1, *[1] * (prediction.ndim - 1)).to(prediction.dtype)


def correct(backbone: nn.Module, correction: NoiseCorrection) -> None:
    """Let a backbone, in place, subtract a correction from the first tensor of what it returns."""
    backbone.add_module(NAME, correction)
    backbone.register_forward_hook(_correct_output, with_kwargs=True)


def correction_of(backbone: nn.Module) -> NoiseCorrection | None:
    """Return the correction of a backbone; None without one."""
    found = getattr(backbone, NAME, None)
    return found if isinstance(found, NoiseCorrection) else None


@torch.no_grad()
def mean_noise(model: DenoisingModel, quantized: nn.Module, calibration: CalibrationSet) -> NoiseCorrection | None:
    """Return the mean, over prompts and positions, of what quantization adds to the guided prediction at each timestep.

    Guidance is linear, and so is the mean: that of the guided prediction is made of those of its two halves, and a
    backbone that subtracts it from both has it subtracted from the guided prediction, whatever the scale. None for a
    network without a timestep among its inputs.

    Args:
        model: in full precision; its own backbone is put back.
        quantized: its backbone, quantized.
        calibration: drawn from the model. Its recipe names the guidance scale.
    """
    of_rows = timesteps_of_calls(model, calibration.batches(BATCH_SIZE))
    if of_rows is None:
        return None
    guidance = float(calibration.recipe["guidance"])
    guided = bool((~calibration.conditional).any())
    share = torch.where(calibration.conditional, guidance, 1 - guidance) if guided else torch.ones(len(calibration))
    noise = _mean_predictions(model, quantized, calibration) - _mean_predictions(model, model.backbone, calibration)
    timesteps, entry = of_rows.unique(return_inverse=True)  # sorted
    prompts = torch.zeros(len(timesteps)).index_add(0, entry, calibration.conditional.float())
    sums = torch.zeros(len(timesteps)).index_add(0, entry, share * noise)
    return NoiseCorrection(sums / prompts, timesteps)


def _mean_predictions(model: DenoisingModel, backbone: nn.Module, calibration: CalibrationSet) -> Tensor:
    """Return the mean of what a backbone predicts for each sample, (N,) float32."""
    own, model.backbone = model.backbone, backbone
    try:
        means = [model.call_backbone(inputs).flatten(1).mean(1) for inputs in calibration.batches(BATCH_SIZE)]
    finally:
        model.backbone = own
    return torch.cat(means).float().cpu().clone()  # not of inference mode


def _correct_output(backbone: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> Any:
    """Return what a backbone returns, corrected: a tensor, a tuple, or one of diffusers' outputs, a mapping."""
    correction, timesteps = correction_of(backbone), timesteps_in(args, kwargs)
    assert correction is not None
    if isinstance(output, Tensor):
        return correction(output, timesteps)
    if isinstance(output, Mapping):
        first = next(iter(output))
        return type(output)(**{**output, first: correction(output[first], timesteps)})
    return (correction(output[0], timesteps), *output[1:])
