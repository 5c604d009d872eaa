"""ACE-Step 1.5 (arXiv 2602.00744) as its pipeline runs it: one caption to one sequence of conditions, guided flow.

Of its pipeline's inputs, a caption is all that a suite has: no lyrics, no tempo or key, no audio to follow, for
which the model has a latent of silence. Guidance is adaptive projected guidance (Sadat et al. 2024, arXiv 2410.02416)
with the constants of the authors' code; a turbo checkpoint has guidance in its weights and runs without.
It predicts velocities from time 1 to 0, at noise levels that are shifted by 3.

Departures: guidance also runs, or does not, in calibration; a turbo checkpoint refuses a guidance other than 1. Lyrics,
tempo, key ("N/A") and the planning language model are missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import ceil, prod
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.guiders.adaptive_projected_guidance import MomentumBuffer, normalized_guidance
from torch import Tensor, nn

from admbench.bench.models.base import AudioDiffusionModel, Guidance, ModelCard
from admbench.bench.models.conditioning import cut_by
from admbench.bench.models.pipelines.parts import Parts
from admbench.bench.models.pipelines.waveform_flow import SoundFlowModel, latent_shape
from admbench.errors import UsageError
from admbench.methods.protocol import BackboneCall

CAPTION_TOKENS = 256
"""The caption, in the template below, is cut to so many tokens."""
SECONDS = 60.0
TIMBRE_SECONDS = 30
"""Of the silence that stands for the audio whose timbre is to be followed."""
SHIFT = 3.0
"""How far noise levels are moved towards noise."""
MOMENTUM, LONGEST_UPDATE = -0.75, 2.5
"""Of guidance: weight of earlier updates, and the norm over time that an update is cut to."""
PEAK = 10 ** (-1 / 20)
"""That every clip is scaled to: -1 dB of full scale."""

CAPTION = (
    "# Instruction\nFill the audio semantic mask based on the given conditions:\n\n# Caption\n{}\n\n# Metas\n"
    "- bpm: N/A\n- timesignature: N/A\n- keyscale: N/A\n- duration: {} seconds\n<|endoftext|>\n"
)
"""What the text encoder reads, as it was trained: the task, the caption, what is known of the music."""
NO_LYRICS = "# Languages\nen\n\n# Lyric\n<|endoftext|>"


class AceStepConditioner:
    """Caption, absent lyrics and silent timbre to one sequence of states, padded behind their mask.

    Every caption is encoded by itself, as in a call of the pipeline with one prompt: in a larger call padding is
    attended to, and so the other captions would change what a caption means.
    """

    def __init__(self, tokenizer: Any, encoder: Any, conditions: Any, latents_per_second: float) -> None:
        self.tokenizer, self.encoder, self.conditions = tokenizer, encoder, conditions
        self.seconds = SECONDS
        self._timbre_frames = ceil(TIMBRE_SECONDS * latents_per_second)

    @torch.inference_mode()
    def __call__(self, captions: Sequence[str]) -> dict[str, Tensor]:
        """{"encoder_hidden_states": (n, tokens, width), "encoder_attention_mask": (n, tokens) bool}."""
        rows = [self._encode(caption) for caption in captions]
        # timbre is one token, and the lyrics of all captions are alike
        longest = CAPTION_TOKENS + len(self._ids(NO_LYRICS)[0]) + 1
        lengths = torch.tensor([len(row) for row in rows], device=rows[0].device)
        return {
            "encoder_hidden_states": torch.stack([F.pad(row, (0, 0, 0, longest - len(row))) for row in rows]),
            "encoder_attention_mask": torch.arange(longest, device=rows[0].device) < lengths[:, None],
        }

    def cut(self, captions: Sequence[str]) -> list[bool]:
        """Whether the encoder does not read the whole of each caption and what is known of the music."""
        return cut_by(self.tokenizer, [self._text(caption) for caption in captions], CAPTION_TOKENS)

    def _text(self, caption: str) -> str:
        return CAPTION.format(caption, int(self.seconds))

    def _encode(self, caption: str) -> Tensor:
        """The states of one caption, (tokens, width)."""
        text, lyrics = self._ids(self._text(caption)), self._ids(NO_LYRICS)
        count = text.shape[1]
        # both networks are called on one length, behind masks, so that calls can be stacked to calibrate them
        text = F.pad(text, (0, CAPTION_TOKENS - count))
        mask = torch.arange(CAPTION_TOKENS, device=text.device)[None] < count
        states, valid = self.conditions(
            text_hidden_states=self.encoder(text, attention_mask=mask.long()).last_hidden_state,
            text_attention_mask=mask,
            lyric_hidden_states=self.encoder.get_input_embeddings()(lyrics),
            lyric_attention_mask=torch.ones_like(lyrics, dtype=torch.bool),
            refer_audio_acoustic_hidden_states_packed=self.conditions.silence_latent[:, : self._timbre_frames],
            refer_audio_order_mask=torch.zeros(1, dtype=torch.long, device=text.device),
        )
        caption_states: Tensor = states[0, : int(valid.sum())]  # what is masked is moved behind them
        return caption_states

    def _ids(self, text: str) -> Tensor:
        tokens = self.tokenizer([text], truncation=True, max_length=CAPTION_TOKENS, return_tensors="pt")
        ids: Tensor = tokens.input_ids[:, : int(tokens.attention_mask.sum())]
        return ids.to(next(self.encoder.parameters()).device)


class AceStepModel(SoundFlowModel):
    """ACE-Step: its unconditional half has one learned state in place of every other."""

    frames_first = True
    _conditioner: AceStepConditioner

    @property
    def turbo(self) -> bool:
        """Whether guidance is in the weights."""
        config: Any = self.backbone.config
        return bool(config["is_turbo"] or config["model_version"] == "turbo")

    def sigmas(self, steps: int) -> list[float]:
        """Even in time, then shifted towards noise."""
        times = torch.linspace(1.0, 0.0, steps + 1)[:-1]
        return (SHIFT * times / (1 + (SHIFT - 1) * times)).tolist()

    def finish(self, waveforms: Tensor) -> Tensor:
        """Scaled to one peak, as in the pipeline."""
        return waveforms * (PEAK / waveforms.abs().amax().clamp(min=1e-6))

    def set_seconds(self, seconds: float) -> None:
        """Makes clips of that length from now on; the text encoder reads it. Raises UsageError for one too long."""
        super().set_seconds(seconds)
        self._conditioner.seconds = seconds

    def encode_text(self, prompts: Sequence[str], *, guided: bool) -> dict[str, Tensor]:
        """`encoder_hidden_states` (n, tokens, width) and their mask."""
        conditioning = super().encode_text(prompts, guided=False)
        if not guided:
            return conditioning
        states, mask = conditioning["encoder_hidden_states"], conditioning["encoder_attention_mask"]
        nothing: Tensor = self._conditioner.conditions.null_condition_emb
        return {
            "encoder_hidden_states": torch.cat([nothing.expand_as(states), states]),
            "encoder_attention_mask": torch.cat([mask, mask]),
        }

    def trajectories(
        self, prompts: Sequence[str], *, seeds: Sequence[int], steps: int, guidance: float, batch_size: int
    ) -> Iterator[BackboneCall]:
        """See the base class; a turbo checkpoint runs without guidance, whatever is asked for."""
        guidance = 1.0 if self.turbo else guidance
        return super().trajectories(prompts, seeds=seeds, steps=steps, guidance=guidance, batch_size=batch_size)

    def denoise(
        self, prompts: Sequence[str], seeds: Sequence[int], *, steps: int, guidance: float
    ) -> Iterator[tuple[int, Tensor]]:
        """See the base class. Raises UsageError for guidance of a turbo checkpoint."""
        if self.turbo and guidance != 1:
            raise UsageError(f"{self.name}: guidance = {guidance:g}; it is in this checkpoint's weights: expected 1")
        return super().denoise(prompts, seeds, steps=steps, guidance=guidance)

    def _guidance(self, scale: float) -> Guidance:
        earlier = MomentumBuffer(MOMENTUM)

        def guide(unconditional: Tensor, conditional: Tensor) -> Tensor:
            return normalized_guidance(
                conditional,
                unconditional,
                scale - 1,
                momentum_buffer=earlier,
                eta=0.0,
                norm_threshold=LONGEST_UPDATE,
                use_original_formulation=True,
                norm_dim=(1,),
            )

        return guide

    def _predict(self, sample: Tensor, timestep: Tensor, conditioning: dict[str, Tensor]) -> Tensor:
        silence = self._conditioner.conditions.silence_latent[:, : sample.shape[1]].to(sample).expand_as(sample)
        with masked_cross_attention(self.backbone, conditioning["encoder_attention_mask"]):
            predicted: Tensor = self.backbone(
                sample,
                timestep=timestep,
                timestep_r=timestep,
                encoder_hidden_states=conditioning["encoder_hidden_states"],
                # what is there already, and where something is to be made: everywhere
                context_latents=torch.cat([silence, torch.ones_like(sample)], dim=-1),
                return_dict=False,
            )[0]
        return predicted


@contextmanager
def masked_cross_attention(backbone: nn.Module, mask: Tensor) -> Iterator[None]:
    """Gives each block of the transformer the mask of the states (n, tokens), which it takes but is not given."""

    def add(block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        return args, kwargs | {"encoder_attention_mask": mask[:, None, None]}

    blocks: Any = backbone.layers
    hooks = [block.register_forward_pre_hook(add, with_kwargs=True) for block in blocks]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def assemble(parts: Parts, known: dict[str, Any]) -> AudioDiffusionModel:
    """The model of the pipeline's parts."""
    vae, transformer, conditions = parts["vae"].config, parts["backbone"].config, parts["condition_encoder"]
    rate = vae["sampling_rate"] / prod(vae["downsampling_ratios"])
    turbo = bool(transformer["is_turbo"] or transformer["model_version"] == "turbo")
    channels = transformer["audio_acoustic_hidden_dim"]
    card = ModelCard(
        sample_rate=vae["sampling_rate"],
        seconds=SECONDS,
        latent_shape=latent_shape(channels, SECONDS, rate, frames_first=True),
        latent_rate=rate,
        **known | ({"default_guidance": 1.0} if turbo else {}),
    )
    conditioner = AceStepConditioner(parts["tokenizer"], parts["text_encoder"], conditions, rate)
    return AceStepModel(parts, card, conditioner, longest=conditions.silence_latent.shape[1] / rate)
