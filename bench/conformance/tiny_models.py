"""Two diffusion models of a few thousand random weights, of the architectures of AudioLDM and TANGO.

They do what `admbench.methods.protocol.DenoisingModel` says and nothing else, in milliseconds: for checking a method,
not for judging it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from admbench.hashing import sha256_tensors
from admbench.methods.protocol import BackboneCall

LATENT = (8, 8, 4)
"""Channels, time, frequency: not square, as audio latents are."""


class TinyModel:
    """A `DenoisingModel` whose sampler is one line of Euler; conditioning is noise seeded by the prompt.

    Args:
        name: of the model.
        backbone: its denoising network.
        condition: a generator seeded by a prompt -> the backbone's conditioning on it, without batch dimension.
    """

    def __init__(self, name: str, backbone: Any, condition: Callable[[torch.Generator], dict[str, Tensor]]):
        self.name = name
        self.backbone = backbone.eval().requires_grad_(False)  # as `AudioDiffusionModel` has them
        self.license: str | None = "Apache-2.0"
        self.sampler: str | None = None
        self.default_steps, self.default_guidance = 25, 3.0
        self.weights_sha256 = sha256_tensors(backbone.state_dict())
        self._condition = condition

    def trajectories(
        self, prompts: Sequence[str], *, seeds: Sequence[int], steps: int, guidance: float, batch_size: int
    ) -> Iterator[BackboneCall]:
        """See `DenoisingModel`."""
        for start in range(0, len(prompts), batch_size):
            rows = range(start, min(start + batch_size, len(prompts)))
            latent = torch.stack([torch.randn(LATENT, generator=_generator(seeds[row])) for row in rows])
            condition = _stack([self._condition(_generator(sum(prompts[row].encode()))) for row in rows])
            guided = guidance != 1
            if guided:
                condition = {key: torch.cat([torch.zeros_like(value), value]) for key, value in condition.items()}
            for step in range(steps):
                timestep = 999 - step * (1000 // steps)
                sample = torch.cat([latent, latent]) if guided else latent
                inputs = {"sample": sample, "timestep": torch.full((len(sample),), timestep), **condition}
                yield BackboneCall(step, timestep, tuple(rows), inputs, guided)
                latent = latent - self.call_backbone(inputs)[-len(rows) :] / steps

    def embed_text(self, prompts: Sequence[str]) -> Tensor:
        """See `DenoisingModel`: noise seeded by the prompt."""
        return torch.stack([torch.randn(16, generator=_generator(sum(prompt.encode()))) for prompt in prompts])

    @torch.inference_mode()
    def call_backbone(self, inputs: dict[str, Tensor]) -> Tensor:
        """See `DenoisingModel`. In inference mode, as the models of this package run."""
        predicted: Tensor = self.backbone(**{"encoder_hidden_states": None, **inputs}).sample
        return predicted


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _stack(items: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {key: torch.stack([item[key] for item in items]) for key in items[0]}


def audioldm_unet() -> UNet2DConditionModel:
    """Build a U-Net conditioned on one vector, its second attention also attending to itself."""
    return _unet(
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=(8, 16),
        attention_head_dim=2,
        class_embed_type="simple_projection",
        class_embeddings_concat=True,
        projection_class_embeddings_input_dim=64,
    )


def tango_unet() -> UNet2DConditionModel:
    """Build a U-Net with cross attention to a sequence of tokens."""
    return _unet(
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=12,
        attention_head_dim=[2, 4],
        use_linear_projection=True,
    )


def _unet(**others: Any) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=LATENT[1:],
        in_channels=LATENT[0],
        out_channels=LATENT[0],
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        **others,
    )


def tiny_audioldm(seed: int = 0) -> TinyModel:
    """Build a model with AudioLDM's conditioning: a class vector."""
    torch.manual_seed(seed)
    return TinyModel(
        "tiny-audioldm", audioldm_unet(), lambda generator: {"class_labels": torch.randn(64, generator=generator)}
    )


def tiny_tango(seed: int = 0) -> TinyModel:
    """Build a model with TANGO's conditioning: tokens and their mask."""
    torch.manual_seed(seed)

    def tokens(generator: torch.Generator) -> dict[str, Tensor]:
        return {
            "encoder_hidden_states": torch.randn(5, 12, generator=generator),
            "encoder_attention_mask": torch.arange(5) < 3,
        }

    return TinyModel("tiny-tango", tango_unet(), tokens)


TINY_MODELS: dict[str, Callable[[int], TinyModel]] = {"AudioLDM's U-Net": tiny_audioldm, "TANGO's U-Net": tiny_tango}
"""What they are of -> the model with the weights of a seed."""
