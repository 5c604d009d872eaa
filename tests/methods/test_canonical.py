"""A network of canonical layers computes what it did before its layers were, with one weight a layer."""

import pytest
import torch
from diffusers import AutoencoderOobleck, AutoencoderSAME, LongCatAudioDiTVae
from torch import nn
from transformers import GPT2Config, GPT2Model

from admbench.methods.core.checkpoint.architectures import build_network, describe_network
from admbench.methods.core.layers.canonical import make_canonical, quiet_weight_norm
from admbench.methods.core.layers.kinds import quantizable_layers

NETWORKS = {
    "oobleck": lambda: AutoencoderOobleck(
        encoder_hidden_size=6,
        downsampling_ratios=[2, 4],
        channel_multiples=[2, 4],
        decoder_channels=3,
        decoder_input_channels=4,
    ),
    "longcat": lambda: LongCatAudioDiTVae(
        channels=4, c_mults=[1, 2], strides=[2, 4], latent_dim=4, encoder_latent_dim=8, downsampling_ratio=8
    ),
    "same": lambda: AutoencoderSAME(
        patch_size=4,
        encoder_channels=8,
        encoder_c_mults=(2,),
        encoder_strides=(2,),
        encoder_transformer_depths=(1,),
        latent_dim=4,
        dim_heads=8,
    ),
}


@pytest.fixture(params=NETWORKS)
def network(request):
    torch.manual_seed(0)
    with quiet_weight_norm():
        return NETWORKS[request.param]().eval()


@torch.inference_mode()
def test_folded_it_computes_the_same_bit_for_bit(network):
    latents = torch.randn(2, 4, 16)
    before = network.decode(latents).sample
    folded = make_canonical(network)
    assert torch.equal(folded.decode(latents).sample, before)
    names = [name for name, _ in folded.named_parameters()]
    assert not [name for name in names if name.endswith(("weight_g", "weight_v"))]
    layers = [name for name, layer in folded.named_modules() if isinstance(layer, nn.Conv1d | nn.ConvTranspose1d)]
    assert {f"{name}.weight" for name in layers} <= set(names)


def test_a_checkpoint_names_it_and_gets_it_folded(network):
    make_canonical(network)
    name, config = describe_network(network)
    built = build_network(name, config, numbers=10**9, tensors=1000)
    shapes = {key: tensor.shape for key, tensor in built.state_dict().items()}
    assert shapes == {key: tensor.shape for key, tensor in network.state_dict().items()}


@torch.inference_mode()
def test_gpt2_computes_the_same_through_linear_layers():
    torch.manual_seed(0)
    network = GPT2Model(GPT2Config(n_embd=16, n_head=2, n_layer=2, n_positions=40, vocab_size=50)).eval()
    inputs = torch.randn(2, 40, 16)
    before = network(inputs_embeds=inputs).last_hidden_state
    make_canonical(network)
    assert len(quantizable_layers(network)) == 2 * 4
    torch.testing.assert_close(network(inputs_embeds=inputs).last_hidden_state, before)


def test_a_network_without_any_stays_as_it_is():
    linear = nn.Linear(3, 2)
    before = dict(linear.named_parameters())
    assert dict(make_canonical(linear).named_parameters()) == before
