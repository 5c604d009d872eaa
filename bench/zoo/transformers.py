"""Trains `tiny-dit`: a diffusion transformer, as a rectified flow over the latents of tiny-tango's autoencoder.

What it is, and why:

- Class. `diffusers.StableAudioDiTModel` with `StableAudioProjectionModel` and T5, run by the harness's own Stable Audio
  code. Of the transformers that diffusers has for sound it is the one that most published models share (Stable Audio
  Open, Open Small), it needs no language model beside it as ACE-Step does, and its layers are those that methods for
  transformers are about: pre-norm blocks, self-attention with rotary positions on half of each head, grouped-query
  cross attention to the text, SwiGLU, and one token before the frames that tells time and length.
- Size. 4 blocks of width 256 (4 heads of 64, 2 for keys and values of the text): 5.4 M. Width 256 and not 192 x 7,
  because the inputs of nearly every layer then fill whole groups of 32, 64, 128 and 256: MX blocks, Hadamard groups and
  GGUF's super-blocks all fit. Fewer tokens than in a published model, not other layers.
- Latents. An autoencoder over waveforms (Oobleck) is a training of its own, longer than this one on a CPU; it was not
  tried. The mel autoencoder of tiny-tango has 8 channels of 8 bands in each of 32 frames: side by side they are 64
  channels, as many as Stable Audio's latents have. Mono: so is the corpus, and stereo needs a corpus first. Text
  encoder and tokenizer are tiny-tango's, too, byte for byte.
- Parameterization. Rectified flow, as Stable Audio Open Small is trained (Novack et al. 2025, arXiv 2505.08175):
  x(s) = (1 - s) x0 + s e, and the network is asked for e - x0. Stable Audio Open's own v-prediction would need its
  stochastic solver, hence torchsde, of everybody who installs the package. Times are logit-normal, truncated at 0.075,
  rescaled and turned around, as `trunc_logit_normal` of stable-audio-tools: most about the middle, some at noise
  itself, where sampling begins.
- Conditioning. The caption's 32 token states, padding set to zero, then the clip's beginning and end in seconds; zeros
  in place of all of them in a tenth of the examples, for guidance. Every clip is 2.56 s long; no other is learnt.
- Start. As stable-audio-tools starts it: both convolutions and the last layer of each branch of a block are zero.
- Budget. 6,000 steps of 16 clips, 8 times through the training split; tiny-tango, whose convolutions know what
  neighbours are, saw 3.5. AdamW, 8e-4 with warm-up and a linear cooldown over the last quarter, average of weights.
  Products in bfloat16 where the processor has them, a fifth faster; weights, average and optimizer in float32.
- Attention. By products of matrices: of 33 vectors, torch's fused kernel for a CPU is the slower one.
- Sampling. 25 equal steps of Euler's method, guidance 3.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers.models.embeddings import get_1d_rotary_pos_embed
from diffusers.models.transformers.stable_audio_transformer import StableAudioDiTModel
from diffusers.pipelines.stable_audio.modeling_stable_audio import StableAudioProjectionModel
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtr, ndtri
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from admbench.bench.models.conditioning import TokenStates
from admbench.bench.models.pipelines.embedded_transformer import fold
from admbench.bench.suites.corpus.corpus import CLIP_SECONDS
from admbench.bench.zoo.architectures import TEXT_WIDTH, tokenizer
from admbench.bench.zoo.autoencoders import Latents
from admbench.bench.zoo.backbones import DROP_CAPTION
from admbench.bench.zoo.loop import Losses, Recipe, train
from admbench.methods.core.processor import has_bf16
from admbench.progress import track

NAME = "tiny-dit"
BASE = "tiny-tango"
"""Whose autoencoder, text encoder and tokenizer are its own, too."""
CHANNELS, FRAMES = 64, 32
"""Of a latent: 8 channels x 8 bands of the autoencoder, in 32 frames."""
WIDTH, HEAD, BLOCKS = 256, 64, 4
LONGEST_TOLD = 10
"""Seconds: the largest number that the conditioning on time tells apart."""
LEFT_OUT = 0.075
"""Of the logit-normal distribution of times; the rest is stretched over all of (0, 1)."""

RECIPE = Recipe(NAME, steps=6_000, batch_size=16, learning_rate=8e-4, seed=421, ema=0.999, warmup=300, cooldown=0.25)


def transformer() -> StableAudioDiTModel:
    """The network that denoises."""
    return StableAudioDiTModel(
        sample_size=FRAMES,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        num_layers=BLOCKS,
        attention_head_dim=HEAD,
        num_attention_heads=WIDTH // HEAD,
        num_key_value_attention_heads=WIDTH // HEAD // 2,
        cross_attention_dim=WIDTH,
        cross_attention_input_dim=TEXT_WIDTH,
        global_states_input_dim=2 * TEXT_WIDTH,
    )


def projections() -> StableAudioProjectionModel:
    """What tells it when a clip begins and ends; token states pass as they are."""
    return StableAudioProjectionModel(TEXT_WIDTH, TEXT_WIDTH, 0, LONGEST_TOLD)


def scheduler() -> FlowMatchEulerDiscreteScheduler:
    """Euler's method from noise to the clip."""
    return FlowMatchEulerDiscreteScheduler()


class Denoiser(nn.Module):
    """Transformer and projections, which are trained together."""

    def __init__(self) -> None:
        super().__init__()
        self.transformer, self.projections = transformer(), projections()
        with torch.no_grad():
            for name, parameter in self.transformer.named_parameters():
                if _begins_at_zero(name):
                    parameter.zero_()
        # positions of the frames and, before them, of the one token that tells time and length
        self._rotary = get_1d_rotary_pos_embed(HEAD // 2, FRAMES + 1, use_real=True, repeat_interleave_real=False)

    def forward(self, noisy: Tensor, times: Tensor, words: Tensor, told: Tensor) -> Tensor:
        """Velocities (n, CHANNELS, FRAMES).

        Args:
            noisy: (n, CHANNELS, FRAMES).
            times: (n,), 0 of a clip to 1 of noise.
            words: token states, zero at padding, (n, tokens, TEXT_WIDTH).
            told: (n,) bool; False where the caption and the clip's ends are not to be heard in cross attention.
        """
        ends = torch.full_like(times, CLIP_SECONDS)
        seconds = self.projections(start_seconds=torch.zeros_like(times), end_seconds=ends)
        first, last = seconds.seconds_start_hidden_states, seconds.seconds_end_hidden_states
        states = torch.cat([words, first, last], dim=1) * told[:, None, None]
        velocity: Tensor = self.transformer(
            noisy,
            times,
            encoder_hidden_states=states,
            global_hidden_states=torch.cat([first, last], dim=2),
            rotary_embedding=self._rotary,
            return_dict=False,
        )[0]
        return velocity


def _begins_at_zero(name: str) -> bool:
    last_of_branch = name.startswith("transformer_blocks.") and (".to_out." in name or ".ff.net.2." in name)
    return last_of_branch or name.startswith(("preprocess_conv.", "postprocess_conv."))


def training_times(quantiles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Times of training, by their quantiles counted from noise: in (0, 1), 1 being noise; any shape.

    >>> training_times(np.array([0.0, 0.5, 1.0])).round(3).tolist()
    [1.0, 0.539, 0.0]
    """
    least = ndtr(logit(LEFT_OUT))
    drawn = expit(ndtri(least + (1 - least) * quantiles))
    times: NDArray[np.float64] = 1 - (drawn - LEFT_OUT) / (1 - LEFT_OUT)
    return times


@torch.inference_mode()
def encode_words(encoder: nn.Module, captions: list[str]) -> Tensor:
    """Token states of each caption, zero at padding: float16 (n, tokens, TEXT_WIDTH)."""
    condition, states = TokenStates(tokenizer("t5"), encoder.eval()), []
    for start in track(range(0, len(captions), 256), "captions"):
        made = condition(captions[start : start + 256])
        kept = made["encoder_attention_mask"].unsqueeze(-1)
        states.append((made["encoder_hidden_states"] * kept).half())
    return torch.cat(states).clone()


def train_transformer(latents: Latents, words: Tensor, folder: Path) -> Denoiser:
    """Flow matching on independent pairs of clip and noise (eq. 1 of Liu et al. 2022, arXiv 2209.03003).

    Args:
        latents: of the training clips, (n, channels, frames, bands).
        words: `encode_words` of their captions.
        folder: of the stage.
    """
    torch.manual_seed(RECIPE.seed)
    module, count = Denoiser(), len(latents.mean)

    def losses(step: int, rng: np.random.Generator) -> Losses:
        rows = RECIPE.rows(step, count)
        noise = torch.from_numpy(rng.standard_normal((2, len(rows), *latents.mean.shape[1:]), dtype=np.float32))
        mean, deviation = (torch.from_numpy(part[rows].astype(np.float32)) for part in (latents.mean, latents.std))
        clean, drawn = fold((mean + deviation * noise[0]) * latents.scaling_factor), fold(noise[1])
        # one time from each of batch_size equal strata: the loss is far less noisy than with independent draws
        strata = (rng.permutation(len(rows)) + rng.uniform(0, 1, len(rows))) / len(rows)
        times = torch.from_numpy(training_times(strata).astype(np.float32))
        told = torch.from_numpy(rng.uniform(size=len(rows)) >= DROP_CAPTION)
        noisy = torch.lerp(clean, drawn, times[:, None, None])
        with sdpa_kernel(SDPBackend.MATH), torch.autocast("cpu", torch.bfloat16, enabled=has_bf16()):
            predicted = module(noisy, times, words[torch.from_numpy(rows)].float(), told)
        return {"loss": (predicted.float() - (drawn - clean)).square().mean()}

    train(module, RECIPE, losses, folder)
    return module
