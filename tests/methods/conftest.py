"""Tiny random models of the architectures that methods meet: AudioLDM's U-Net and TANGO's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn

import methods
from admcore.hashing import sha256_tensors
from methods.base import CalibratedConfig
from methods.core.backbone import QuantizedBackbone
from methods.protocol import BackboneCall

LATENT = (8, 8, 4)  # channels, time, frequency: not square, as audio latents are


class TinyModel:
    """A `DenoisingModel` whose sampler is one line of Euler; conditioning is noise seeded by the prompt."""

    def __init__(self, name: str, backbone: nn.Module, condition: Callable[[torch.Generator], dict[str, Tensor]]):
        self.name = name
        self.backbone = backbone.eval()
        self.license = "Apache-2.0"
        self.default_steps, self.default_guidance = 25, 3.0
        self.weights_sha256 = sha256_tensors(backbone.state_dict())
        self._condition = condition

    def trajectories(
        self, prompts: Sequence[str], *, seeds: Sequence[int], steps: int, guidance: float, batch_size: int
    ) -> Iterator[BackboneCall]:
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
                with torch.no_grad():
                    latent = latent - self.call_backbone(inputs)[-len(rows) :] / steps

    def call_backbone(self, inputs: dict[str, Tensor]) -> Tensor:
        return self.backbone(**{"encoder_hidden_states": None, **inputs}).sample


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _stack(items: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {key: torch.stack([item[key] for item in items]) for key in items[0]}


def audioldm_unet() -> UNet2DConditionModel:
    """Build a U-Net conditioned on one vector, its second attention also attending to itself."""
    return UNet2DConditionModel(
        sample_size=LATENT[1:],
        in_channels=LATENT[0],
        out_channels=LATENT[0],
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=(8, 16),
        attention_head_dim=2,
        norm_num_groups=4,
        class_embed_type="simple_projection",
        class_embeddings_concat=True,
        projection_class_embeddings_input_dim=64,
    )


def tango_unet() -> UNet2DConditionModel:
    """Build a U-Net with cross attention to a sequence of tokens."""
    return UNet2DConditionModel(
        sample_size=LATENT[1:],
        in_channels=LATENT[0],
        out_channels=LATENT[0],
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=12,
        attention_head_dim=[2, 4],
        norm_num_groups=4,
        use_linear_projection=True,
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


@pytest.fixture(params=[tiny_audioldm, tiny_tango], ids=["audioldm", "tango"])
def model(request: pytest.FixtureRequest) -> TinyModel:
    return request.param()


@pytest.fixture(scope="session")
def make_audioldm() -> Callable[[], TinyModel]:
    return tiny_audioldm


@pytest.fixture
def audioldm(make_audioldm: Callable[[], TinyModel]) -> TinyModel:
    return make_audioldm()


@pytest.fixture
def other_audioldm() -> TinyModel:
    """Return a model of the same architecture as `audioldm`, with other weights."""
    return tiny_audioldm(seed=1)


@pytest.fixture(scope="session")
def prompts() -> list[str]:
    return [f"sound number {index}" for index in range(20)]


@pytest.fixture(scope="session")
def quantize(prompts: list[str]) -> Callable[[TinyModel, str], QuantizedBackbone]:
    """Return a function that runs a method from its spec, on a calibration of two prompts and two steps."""

    def run(model: TinyModel, spec: str) -> QuantizedBackbone:
        method = methods.from_spec(spec)
        if isinstance(method.config, CalibratedConfig):
            quick = {"prompts": "2", "timesteps": "2", "steps": "2"}
            method = methods.from_spec(replace(method.spec, options={**quick, **method.spec.options}))
        return method.quantize(model, method.calibrate(model, prompts, seed=0))

    return run


@pytest.fixture
def predict() -> Callable[[TinyModel, nn.Module | None], Tensor]:
    """Return a function that runs a backbone (default: the model's own) on four new prompts with guidance."""

    def run(model: TinyModel, backbone: nn.Module | None = None) -> Tensor:
        names = [f"unheard {index}" for index in range(4)]
        call = next(model.trajectories(names, seeds=[70, 71, 72, 73], steps=2, guidance=3.0, batch_size=4))
        own, model.backbone = model.backbone, backbone or model.backbone
        try:
            with torch.no_grad():
                return model.call_backbone(call.inputs)
        finally:
            model.backbone = own

    return run
