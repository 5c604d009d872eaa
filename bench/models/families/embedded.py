"""The models that come with the package: small, truly trained, each with the conditioning route of its family."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from admbench.bench.models.checkpoints import shipped
from admbench.bench.models.components import Component
from admbench.bench.models.samplers import SAMPLERS

if TYPE_CHECKING:
    from admbench.bench.models.base import AudioDiffusionModel


@dataclass(frozen=True, kw_only=True)
class ShippedModel(ABC):
    """The plug-in of one embedded model; `summary` is written as a literal: lists read it from the source."""

    name: str
    """Registry name, and that of its folder among the shipped checkpoints."""
    summary: str
    default_steps: int = 25
    default_guidance: float = 3.0
    requires: tuple[str, ...] = ()
    samplers: tuple[str, ...] = ()
    """Those of `admbench.bench.models.samplers.SAMPLERS` that it can be run by."""

    @property
    def components(self) -> tuple[Component, ...]:
        """The components that methods can quantize. Raises CheckpointError if the weights are missing."""
        return shipped.components(self.name)

    def missing(self) -> None:
        """Raise CheckpointError if the weights are missing."""
        self.fingerprint()

    def fingerprint(self) -> str:
        """Return the hash of the shipped weights."""
        return shipped.fingerprint(self.name)

    @property
    def defaults(self) -> dict[str, Any]:
        """Return what a clip is made with unless something else is asked for."""
        return {"default_steps": self.default_steps, "default_guidance": self.default_guidance}

    @abstractmethod
    def load(self, *, random_weights: bool = False) -> AudioDiffusionModel:
        """Load the shipped pipeline directory in float32; with `random_weights`, all of it but the backbone.

        Raises:
            CheckpointError: a file is missing or not what was shipped; names it.
        """


@dataclass(frozen=True, kw_only=True)
class EmbeddedModel(ShippedModel):
    """A U-Net over the latents of pictures."""

    text_encoder: str
    """Its class as `module:Class`."""
    conditioner: str
    """Its class as `module:Class`: the family's route from captions to the backbone."""
    rectified_flow: bool = False
    """Whether it goes from noise to the clip in equal steps of Euler's method, and not by DDIM."""

    def load(self, *, random_weights: bool = False) -> AudioDiffusionModel:
        """See the base class."""
        from admbench.bench.models.pipelines import embedded

        return embedded.load(
            self.name,
            text_encoder=self.text_encoder,
            conditioner=self.conditioner,
            rectified_flow=self.rectified_flow,
            defaults=self.defaults,
            random_weights=random_weights,
        )


@dataclass(frozen=True, kw_only=True)
class EmbeddedTransformer(ShippedModel):
    """A diffusion transformer, run as Stable Audio."""

    student: bool = False
    """Whether it is an update of low rank to another one, and makes a clip in few steps as Stable Audio Open Small."""

    def load(self, *, random_weights: bool = False) -> AudioDiffusionModel:
        """See the base class."""
        from admbench.bench.models.pipelines import embedded_transformer

        return embedded_transformer.load(
            self.name, student=self.student, defaults=self.defaults, random_weights=random_weights
        )


AUDIOLDM = EmbeddedModel(
    name="tiny-audioldm",
    summary="AudioLDM in small (5.5 M): CLAP text embedding, epsilon prediction, 64 mel bands",
    text_encoder="transformers:ClapTextModelWithProjection",
    conditioner="admbench.bench.models.conditioning:ClapEmbedding",  # one vector, as class embedding
    samplers=SAMPLERS,
)
TANGO = EmbeddedModel(
    name="tiny-tango",  # with the betas of Stable Diffusion 2.1
    summary="TANGO in small (4.4 M): T5 encoder, cross attention with mask, v-prediction",
    text_encoder="transformers:T5EncoderModel",
    conditioner="admbench.bench.models.conditioning:TokenStates",
    samplers=SAMPLERS,
)
MAKE_AN_AUDIO = EmbeddedModel(
    name="tiny-make-an-audio",  # its latents are mel x time
    summary="Make-An-Audio in small (4.3 M): CLAP-BERT token sequence, cross attention, 80 mel bands",
    text_encoder="admbench.bench.models.networks.clap_bert:ClapBertTextModel",
    conditioner="admbench.bench.models.conditioning:TokenStates",
    samplers=SAMPLERS,
)
FLOW = EmbeddedModel(
    name="tiny-flow",  # Liu et al. 2022, InstaFlow
    summary="rectified flow for 1, 2 or 4 steps (4.4 M), distilled from tiny-tango, guidance included",
    text_encoder="transformers:T5EncoderModel",
    conditioner="admbench.bench.models.conditioning:TokenStates",
    rectified_flow=True,
    default_steps=4,
    default_guidance=1.0,
)
DIT = EmbeddedTransformer(
    name="tiny-dit",  # Evans et al. 2024, trained as Novack et al. 2025
    summary="Stable Audio's transformer in small (5.4 M): rotary positions, SwiGLU, T5, rectified flow in 25 steps",
)
PINGPONG = EmbeddedTransformer(
    name="tiny-pingpong",  # Novack et al. 2025; Song et al. 2023
    summary="Stable Audio Open Small's sampling in small (5.4 M): 4 or 8 ping-pong steps, distilled from tiny-dit",
    student=True,
    default_steps=8,
    default_guidance=1.0,
)
