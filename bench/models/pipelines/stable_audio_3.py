"""Stable Audio 3 (arXiv 2605.17991) as its pipeline runs it: rectified flow on the caption and the length.

The distilled checkpoint denoises in 8 steps with new noise at each (its scheduler says `stochastic_sampling`) and needs
no guidance; the base one in 100 deterministic steps. It predicts velocities from time 1 to 0, at noise levels that are
even in log-SNR.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from admbench.bench.models.base import AudioDiffusionModel, ModelCard
from admbench.bench.models.conditioning import TokenStates
from admbench.bench.models.pipelines.parts import Parts
from admbench.bench.models.pipelines.waveform_flow import SoundFlowModel, latent_shape

CAPTION_TOKENS = 256
"""Every caption is padded to so many tokens; the transformer puts an embedding of its own in place of the padding."""
SECONDS = 10.0
DISTILLED_STEPS, BASE_STEPS = 8, 100
NOISIEST, CLEANEST = -6.2, 2.0
"""Log-SNR of the first noise level, which is then set to noise alone, and of what would be the last."""


class StableAudio3Model(SoundFlowModel):
    """Stable Audio 3: conditioned on the caption and on the clip's length, as a token of the caption and as a whole."""

    _conditioner: TokenStates

    def sigmas(self, steps: int) -> list[float]:
        """Even in log-SNR; the first is noise alone."""
        times = torch.linspace(1.0, 0.0, steps + 1)
        levels = torch.sigmoid(times * (CLEANEST - NOISIEST) - CLEANEST)
        return [1.0, *levels[1:-1].tolist()]

    def finish(self, waveforms: Tensor) -> Tensor:
        """Clipped at full scale, as in the pipeline."""
        return waveforms.clamp(-1.0, 1.0)

    @torch.inference_mode()
    def encode_text(self, prompts: Sequence[str], *, guided: bool) -> dict[str, Tensor]:
        """`encoder_hidden_states` (n, tokens + 1, width), their mask, and `global_hidden_states` (n, width)."""
        conditioning = super().encode_text(prompts, guided=guided)
        states, mask = conditioning["encoder_hidden_states"], conditioning["encoder_attention_mask"]
        seconds = torch.full((len(states),), float(self.seconds), device=self.device)
        length: Tensor = self.components["duration_embedder"](seconds)
        return {
            "encoder_hidden_states": torch.cat([states, length[:, None]], dim=1),
            "encoder_attention_mask": torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1),
            "global_hidden_states": length,
        }

    def _predict(self, sample: Tensor, timestep: Tensor, conditioning: dict[str, Tensor]) -> Tensor:
        predicted: Tensor = self.backbone(sample, timestep, **conditioning, return_dict=False)[0]
        return predicted


def assemble(parts: Parts, known: dict[str, Any]) -> AudioDiffusionModel:
    """The model of the pipeline's parts."""
    vae, tokenizer = parts["vae"], parts["tokenizer"]
    tokenizer.model_max_length = min(tokenizer.model_max_length, CAPTION_TOKENS)
    distilled = parts["scheduler"].config["stochastic_sampling"]
    rate = vae.config["sampling_rate"] / vae.downsampling_ratio
    card = ModelCard(
        sample_rate=vae.config["sampling_rate"],
        seconds=SECONDS,
        latent_shape=latent_shape(vae.config["latent_dim"], SECONDS, rate, frames_first=False),
        latent_rate=rate,
        **known | {"default_steps": DISTILLED_STEPS if distilled else BASE_STEPS},
    )
    conditioner = TokenStates(tokenizer, parts["text_encoder"])
    longest = float(parts["duration_embedder"].config["max_val"])
    return StableAudio3Model(parts, card, conditioner, longest)
