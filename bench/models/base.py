"""An audio diffusion model as the harness sees it: parts, conditioning, denoising from seeds, decoding to audio."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, isfinite
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from admbench.bench.models.batching import DECODE_BATCH, batches
from admbench.bench.models.components import CALLS, Component, ComponentCall
from admbench.bench.models.conditioning import Conditioner, pooled
from admbench.bench.models.failing_parts import running
from admbench.bench.models.samplers import default_steps, solver_of
from admbench.bench.models.sampling import Sampling, training_steps
from admbench.errors import DataError, UsageError
from admbench.methods.protocol import BackboneCall
from admbench.progress import track

EMBED_BATCH = 32
SEEDS = 2**63
"""Seeds of noise are whole numbers below it: as many as fit what torch takes, and records and files hold."""

Guidance = Callable[[Tensor, Tensor], Tensor]
"""From the unconditional and the conditional prediction, each (n, *latent_shape), to the one that the step takes."""


@dataclass(frozen=True)
class ModelCard:
    """What is known of a model besides its weights."""

    name: str
    source: str
    """Where the weights are from."""
    revision: str | None
    weights_sha256: str
    license: str | None
    sample_rate: int
    """Hz."""
    seconds: float
    """Length of what it makes."""
    latent_shape: tuple[int, ...]
    """Of one latent, without batch dimension: (channels, frames, bands) of a mel spectrogram, (channels, frames) of
    sound, or (frames, channels) where the backbone takes a sequence."""
    random_weights: bool = False
    latent_rate: float | None = None
    """Latent frames (the second dimension of the shape) a second, where clips may have any length; None: fixed."""
    default_steps: int = 25
    default_guidance: float = 3.0


class AudioDiffusionModel:
    """A text-to-audio latent diffusion model; satisfies `admbench.methods.protocol.DenoisingModel`.

    Args:
        card: facts.
        components: modules by name; `backbone` denoises, the others are listed for size and hashing.
        conditioner: captions to the backbone's keyword tensors.
        scheduler: the sampler, of diffusers; a stochastic one draws each clip's noise from the clip's own seed.
        decode: scaled latents (n, *latent_shape) to waveforms (n, samples), or of stereo (n, 2, samples).
    """

    calls: Mapping[Component, ComponentCall] = CALLS
    """How the components are called on the way from caption to clip; what is not here runs its `forward`."""

    def __init__(
        self,
        card: ModelCard,
        components: dict[str, nn.Module],
        conditioner: Conditioner,
        scheduler: Any,  # its classes share no type that declares what all of them have
        decode: Callable[[Tensor], Tensor],
    ) -> None:
        self.card = card
        self.components = {name: module.eval().requires_grad_(False) for name, module in components.items()}
        self._conditioner, self._scheduler, self._decode = conditioner, scheduler, decode
        self.sampler: str | None = None
        self.device, self.dtype = torch.device("cpu"), torch.float32
        self.parameters = sum(parameter.numel() for parameter in self.backbone.parameters())

    name = property(lambda self: self.card.name)
    source = property(lambda self: self.card.source)
    revision = property(lambda self: self.card.revision)
    license = property(lambda self: self.card.license)
    sample_rate = property(lambda self: self.card.sample_rate)
    seconds = property(lambda self: self.card.seconds)
    weights_sha256 = property(lambda self: self.card.weights_sha256)
    random_weights = property(lambda self: self.card.random_weights)
    default_steps = property(lambda self: default_steps(self.sampler, self.card.default_steps))
    default_guidance = property(lambda self: self.card.default_guidance)
    scheduler_name = property(lambda self: type(self._scheduler).__name__)

    @property
    def backbone(self) -> nn.Module:
        """The denoising network; may be set, and what is set runs from then on."""
        return self.components["backbone"]

    @backbone.setter
    def backbone(self, module: nn.Module) -> None:
        self.components["backbone"] = module

    def set_component(self, name: str, module: nn.Module) -> None:
        """Puts a network of the same class in a component's place.

        The component takes over all that the network is made of, and stays the object that it was: conditioner and
        decoder hold it too.
        """
        if name == "backbone":
            self.backbone = module
            return
        component = self.components[name]
        component._modules, component._parameters = module._modules, module._parameters
        component._buffers = module._buffers

    def encode_text(self, prompts: Sequence[str], *, guided: bool) -> dict[str, Tensor]:
        """The backbone's conditioning, n rows; guided 2n, those of the empty caption first. A family may differ.

        It follows from the captions and the length of clips, nothing else: a run encodes them once for all cells.
        """
        return self._conditioner([""] * len(prompts) + list(prompts) if guided else prompts)

    def embed_text(self, prompts: Sequence[str]) -> Tensor:
        """One vector of each prompt, float32 (n, width) on the CPU: see `admbench.methods.protocol.DenoisingModel`."""
        parts = [
            pooled(self._conditioner([prompts[i] for i in indices])).cpu()
            for indices in track(list(batches(len(prompts), EMBED_BATCH)), f"{self.name}: embedding prompts")
        ]
        return torch.cat(parts)

    def to(self, device: str, dtype: str = "float32") -> AudioDiffusionModel:
        """Moves all components to a device, and the backbone to a dtype; returns self. Raises UsageError without it."""
        try:
            self.device = torch.device(device)
            for module in self.components.values():
                module.to(self.device)
        except (RuntimeError, AssertionError) as error:
            raise UsageError(f'device "{device}": {str(error).splitlines()[0]}') from error
        self.dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16}[dtype]
        if self.dtype != torch.float32:
            self.backbone.to(self.dtype)
        return self

    def cut_captions(self, prompts: Sequence[str]) -> list[bool] | None:
        """Whether the text encoder reads the beginning of each caption and no more; None: the conditioner says not."""
        cut: Callable[[Sequence[str]], list[bool]] | None = getattr(self._conditioner, "cut", None)
        return None if cut is None else cut(prompts)

    def set_seconds(self, seconds: float) -> None:
        """Makes clips of that length from now on: whole latent frames that cover it, whose clip is cut to it.

        Raises UsageError for a length that the model cannot make.
        """
        if seconds == self.seconds:
            return
        rate = self.card.latent_rate
        if rate is None:
            raise UsageError(f"{self.name} makes clips of {self.seconds:g} s; generation.seconds = {seconds:g}")
        if not (isfinite(seconds) and seconds > 0):
            raise UsageError(f"{self.name}: generation.seconds = {seconds:g}; expected more than 0")
        channels, _, *bands = self.card.latent_shape
        shape = (channels, self._latent_frames(seconds, rate), *bands)
        self.card = replace(self.card, seconds=seconds, latent_shape=shape)

    def set_sampler(self, name: str | None) -> None:
        """Denoises by another solver of the same diffusion from now on, by default in fewer steps; None: as before.

        Raises UsageError for a name of none of `samplers.SAMPLERS`, or a model that it does not solve.
        """
        if name is not None and name != self.sampler:
            self._scheduler, self.sampler = solver_of(self._scheduler, name, self.name), name

    def call_backbone(self, inputs: dict[str, Tensor]) -> Tensor:
        """Runs the backbone on a call's inputs: `sample` (n, *latent_shape), `timestep` (n,) and the conditioning.

        Returns the prediction (n, *latent_shape), float32.
        """
        moved = {
            name: value.to(self.device, self.dtype if value.is_floating_point() else value.dtype)
            for name, value in inputs.items()
        }
        sample, timestep = moved.pop("sample"), moved.pop("timestep")
        with torch.inference_mode():
            return self._predict(sample, timestep, moved).float()

    def trajectories(
        self, prompts: Sequence[str], *, seeds: Sequence[int], steps: int, guidance: float, batch_size: int
    ) -> Iterator[BackboneCall]:
        """Denoises each prompt from the noise of its seed; see `admbench.methods.protocol.DenoisingModel`."""
        for indices in batches(len(prompts), batch_size):
            taken = self._steps([prompts[i] for i in indices], [seeds[i] for i in indices], steps, guidance)
            for number, (timestep, inputs, _) in enumerate(taken):
                yield BackboneCall(number, timestep, tuple(indices), inputs, guided=guidance != 1)

    def denoise(
        self, prompts: Sequence[str], seeds: Sequence[int], *, steps: int, guidance: float
    ) -> Iterator[tuple[int, Tensor]]:
        """Denoises one batch; yields, after each step, its timestep and the latents, float32 (n, *latent_shape)."""
        for timestep, _, latents in self._steps(prompts, seeds, steps, guidance):
            yield timestep, latents

    def latents(
        self, prompts: Sequence[str], seeds: Sequence[int], *, steps: int, guidance: float, batch_size: int
    ) -> Tensor:
        """Denoised latents of each prompt from the noise of its seed: float32 (n, *latent_shape)."""
        done = []
        for indices in track(list(batches(len(prompts), batch_size)), f"{self.name}: denoising"):
            chosen = [prompts[i] for i in indices], [seeds[i] for i in indices]
            *_, (_, latents) = self.denoise(*chosen, steps=steps, guidance=guidance)
            done.append(latents)
        return torch.cat(done)

    def generate(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        *,
        steps: int | None = None,
        guidance: float | None = None,
        batch_size: int = 16,
    ) -> NDArray[np.float32]:
        """Waveforms of captions: float32 (n, samples), or of stereo (n, 2, samples), left first; full scale 1.

        Steps and guidance are the model's own defaults where None. The noise of a caption comes from its own seed,
        drawn on the CPU: neither the batch size nor the device changes what is asked of the model.

        Raises:
            UsageError: unequal numbers of prompts and seeds, a seed that is none, a number of steps that does not span
                the noise levels, or a guidance that is not finite.
            CheckpointError: the model is of a folder, whose parts were loaded and cannot be run.
        """
        if len(prompts) != len(seeds) or not prompts:
            raise UsageError(f"{len(prompts)} prompts and {len(seeds)} seeds: expected one seed for each prompt")
        latents = self.latents(
            prompts,
            seeds,
            steps=self.default_steps if steps is None else steps,
            guidance=self.default_guidance if guidance is None else guidance,
            batch_size=batch_size,
        )
        return self.decode(latents)

    def decode(self, latents: Tensor) -> NDArray[np.float32]:
        """Latents (n, *latent_shape) to waveforms, float32 (n, samples) or of stereo (n, 2, samples), cut to length."""
        with torch.inference_mode(), running(self.name, "decoder"):
            parts = [
                self._decode(latents[start : start + DECODE_BATCH].to(self.device)).float().cpu()
                for start in track(range(0, len(latents), DECODE_BATCH), f"{self.name}: decoding")
            ]
        waveforms: NDArray[np.float32] = torch.cat(parts).numpy()
        return waveforms[..., : int(round(self.seconds * self.sample_rate, 6))]

    def require_finite(self, waveforms: NDArray[np.float32]) -> None:
        """Raise DataError, with the cause as far as it can be told, if clips (n, samples) are not all finite."""
        bad = int((~np.isfinite(waveforms).all(axis=tuple(range(1, waveforms.ndim)))).sum())
        if not bad:
            return
        broken = (
            f"{component}/{name}"
            for component, module in self.components.items()
            for name, tensor in module.state_dict().items()
            if tensor.is_floating_point() and not tensor.isfinite().all()
        )
        found = next(broken, None)
        cause = f"{found} holds NaN or infinity" if found else "all weights are finite: its layers overflow"
        raise DataError(f"{self.name}: {bad} of {len(waveforms)} clips are not finite, and not written; {cause}")

    def _steps(
        self, prompts: Sequence[str], seeds: Sequence[int], steps: int, guidance: float
    ) -> Iterator[tuple[int, dict[str, Tensor], Tensor]]:
        """Yields, for each step of one batch, its timestep, the backbone's inputs and the latents after it."""
        most = training_steps(self._scheduler)
        if not 1 <= steps <= most:
            raise UsageError(f"steps={steps}: expected 1 to {most}")
        if not isfinite(guidance):
            raise UsageError(f"guidance={guidance:g}: expected a finite number")
        if bad := [seed for seed in seeds if not 0 <= seed < SEEDS]:
            raise UsageError(f"seed={bad[0]}: expected 0 to 2**63 - 1")
        guided = guidance != 1
        with running(self.name, "text encoder"):
            conditioning = self.encode_text(prompts, guided=guided)
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        guide = self._guidance(guidance)
        with running(self.name, "scheduler"):
            sampling = self._sampling(steps, generators)
            noise = torch.stack([torch.randn(self.card.latent_shape, generator=own) for own in generators])
            latents = sampling.start(noise).to(self.device)
            moments = list(zip(sampling.labels, sampling.timesteps, strict=True))
        for label, timestep in moments:
            with running(self.name, "scheduler"):
                scaled = sampling.scaled(latents, timestep)
            sample = torch.cat([scaled, scaled]) if guided else scaled
            inputs = {"sample": sample, "timestep": timestep.to(self.device).expand(len(sample)), **conditioning}
            with running(self.name, "backbone"):
                predicted = self.call_backbone(inputs)
            if guided:
                predicted = guide(*predicted.chunk(2))
            with running(self.name, "scheduler"):
                latents = sampling.step(predicted, timestep, latents)
            yield label, inputs, latents

    def _latent_frames(self, seconds: float, rate: float) -> int:
        """Frames, so many a second, that a clip of so many seconds is made of: those that cover it."""
        return ceil(round(seconds * rate, 6))

    def _sampling(self, steps: int, generators: Sequence[torch.Generator]) -> Sampling:
        """Starts one run of the scheduler. A family may have a schedule of its own."""
        return Sampling(self._scheduler, steps, generators)

    def _guidance(self, scale: float) -> Guidance:
        """What joins both predictions at each step of one run: classifier-free guidance. A family may do otherwise."""
        return lambda unconditional, conditional: unconditional + scale * (conditional - unconditional)

    def _predict(self, sample: Tensor, timestep: Tensor, conditioning: dict[str, Tensor]) -> Tensor:
        """Calls the backbone on what has its device and dtype. A family may add what is the same for all rows."""
        predicted: Tensor = self.backbone(
            sample, timestep, **{"encoder_hidden_states": None, **conditioning}, return_dict=False
        )[0]
        return predicted


def without_single_channel(waveforms: Tensor) -> Tensor:
    """Returns decoded audio (n, channels, samples) as it is, and that of one channel as (n, samples)."""
    return waveforms.squeeze(1)
