"""What a quantization method sees of a model: a backbone to replace and full-precision trajectories through it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn


@dataclass(frozen=True)
class BackboneCall:
    """One call of the backbone on the way from noise to latent, for a batch of prompts."""

    step: int
    """Index of the denoising step, 0 for the first (noisiest)."""
    timestep: int
    """The timestep among the backbone's inputs, in the training schedule's units, rounded where time is continuous."""
    prompt_indices: tuple[int, ...]
    """Position, in the prompts that were asked for, of each of the batch's n prompts."""
    inputs: dict[str, Tensor]
    """The call's tensors by name, for `call_backbone`. Leading dimension n; guided 2n, unconditional half first."""
    guided: bool
    """True if both halves of classifier-free guidance are in the batch."""


class DenoisingModel(Protocol):
    """A text-conditional diffusion model, reduced to what quantization needs of it."""

    name: str
    """Name that the model is loaded by."""
    weights_sha256: str
    """Hash over the model's full-precision weights: calibration data belongs to exactly these."""
    license: str | None
    """Licence of the weights, which a checkpoint made from them inherits; None if the source states none."""
    sampler: str | None
    """Solver that it was asked to denoise by; None is its own."""
    default_steps: int
    """Denoising steps that the model is meant to be run with, and calibrated with unless an option says so."""
    default_guidance: float
    """Classifier-free guidance scale that it is meant to be run with; 1 is none, as where it has been distilled."""
    backbone: nn.Module
    """The denoising network. May be set: what is set runs from then on."""

    def trajectories(
        self, prompts: Sequence[str], *, seeds: Sequence[int], steps: int, guidance: float, batch_size: int
    ) -> Iterator[BackboneCall]:
        """Denoise each prompt from the noise of its seed; yield one item per batch of prompts and step, in that order.

        Args:
            prompts: what to denoise.
            seeds: seed of each prompt's noise.
            steps: denoising steps.
            guidance: classifier-free guidance scale; both halves are in each call if it is not 1.
            batch_size: prompts per batch.
        """

    def call_backbone(self, inputs: dict[str, Tensor]) -> Tensor:
        """Run the backbone that is set now on a call's inputs (or on any rows of them) and return its prediction.

        No gradients: a model may run in torch's inference mode, so that hooks see tensors not to be changed in place.

        The inputs may be on the CPU whatever the model's device, as they are in a calibration set.
        """

    def embed_text(self, prompts: Sequence[str]) -> Tensor:
        """Return one vector of each prompt, (n, width) float32 on the CPU, by the model's own text encoder.

        It is the backbone's conditioning, a sequence of tokens by its mean. Prompts with the same conditioning have
        the same vector.
        """
