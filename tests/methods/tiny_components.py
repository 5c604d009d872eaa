"""A text encoder with a shared table of tokens and a vocoder, of a few thousand random weights, and their inputs."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig, T5Config, T5EncoderModel


def tiny_t5() -> nn.Module:
    """Build an encoder whose `shared` and `encoder.embed_tokens` are one table."""
    torch.manual_seed(0)
    sizes = {"vocab_size": 23, "d_model": 12, "d_kv": 4, "d_ff": 20, "num_layers": 1, "num_heads": 3}
    return T5EncoderModel(T5Config(**sizes)).eval()


def tiny_vocoder() -> nn.Module:
    """Build a HiFi-GAN with two transposed convolutions."""
    torch.manual_seed(0)
    config = SpeechT5HifiGanConfig(
        model_in_dim=6,
        upsample_initial_channel=8,
        upsample_rates=[2, 3],
        upsample_kernel_sizes=[4, 5],
        resblock_kernel_sizes=[3],
        resblock_dilation_sizes=[[1, 2]],
        normalize_before=False,
        initializer_range=0.3,
    )
    return SpeechT5HifiGan(config).eval()


COMPONENTS = {"text_encoder": tiny_t5, "vocoder": tiny_vocoder}


def inputs_of(component: str) -> Tensor:
    """Return what the network of a component is called with: token ids, or a mel spectrogram."""
    generator = torch.Generator().manual_seed(1)
    if component == "text_encoder":
        return torch.randint(23, (2, 7), generator=generator)
    return torch.randn(2, 9, 6, generator=generator)


@torch.inference_mode()
def output_of(network: nn.Module, inputs: Tensor) -> Tensor:
    """Return the first output of a call."""
    output = network(inputs)
    return output if isinstance(output, Tensor) else output[0]
