"""The key names of CompVis' latent diffusion files and of the vocoders beside them, in the terms of diffusers.

Autoencoder: `encoder.down.I.block.J.norm1`, `decoder.up.I.attn.J.q`, `encoder.mid.attn_1.q`, with the levels of the
decoder numbered from the finest. U-Net: `input_blocks.I.0`, `middle_block.0`, `output_blocks.I.1`, numbered through all
levels. Vocoder, HiFi-GAN's or BigVGAN's: either plain weights or with weight normalisation (`weight_g`, `weight_v`).
"""

from __future__ import annotations

import re

from torch import Tensor

IN_BLOCK = {"nin_shortcut": "conv_shortcut"}
IN_ATTENTION = {"norm": "group_norm", "q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}
MID = {"block_1": "resnets.0", "attn_1": "attentions.0", "block_2": "resnets.1"}
IN_UNET_BLOCK = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
UNET_ENDS = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "input_blocks.0.0": "conv_in",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}
UNET_MIDDLE = {"0": "resnets.0", "1": "attentions.0", "2": "resnets.1"}


def autoencoder_tensors(tensors: dict[str, Tensor], levels: int) -> dict[str, Tensor]:
    """Names an autoencoder's tensors as diffusers' AutoencoderKL does; a name that is not understood stays as it is.

    Args:
        tensors: by CompVis names.
        levels: resolutions of the autoencoder.

    The projections of the attention, convolutions of width 1 there, become matrices.
    """
    renamed = {_autoencoder_name(name, levels): tensor for name, tensor in tensors.items()}
    return {
        name: tensor[:, :, 0, 0] if ".attentions." in name and tensor.ndim == 4 else tensor
        for name, tensor in renamed.items()
    }


def _autoencoder_name(name: str, levels: int) -> str:
    if match := re.fullmatch(r"(encoder|decoder)\.(down|up)\.(\d+)\.block\.(\d+)\.(\w+)\.(\w+)", name):
        half, way, level, block, part, kind = match.groups()
        place = int(level) if way == "down" else levels - 1 - int(level)
        return f"{half}.{way}_blocks.{place}.resnets.{block}.{IN_BLOCK.get(part, part)}.{kind}"
    if match := re.fullmatch(r"(encoder|decoder)\.(down|up)\.(\d+)\.attn\.(\d+)\.(\w+)\.(\w+)", name):
        half, way, level, block, part, kind = match.groups()
        place = int(level) if way == "down" else levels - 1 - int(level)
        return f"{half}.{way}_blocks.{place}.attentions.{block}.{IN_ATTENTION.get(part, part)}.{kind}"
    if match := re.fullmatch(r"(encoder|decoder)\.(down|up)\.(\d+)\.(?:down|up)sample\.conv\.(\w+)", name):
        half, way, level, kind = match.groups()
        place = int(level) if way == "down" else levels - 1 - int(level)
        return f"{half}.{way}_blocks.{place}.{way}samplers.0.conv.{kind}"
    if match := re.fullmatch(r"(encoder|decoder)\.mid\.(block_1|attn_1|block_2)\.(\w+)\.(\w+)", name):
        half, unit, part, kind = match.groups()
        names = IN_ATTENTION if unit == "attn_1" else IN_BLOCK
        return f"{half}.mid_block.{MID[unit]}.{names.get(part, part)}.{kind}"
    return re.sub(r"^(encoder|decoder)\.norm_out\.", r"\1.conv_norm_out.", name)


def unet_tensors(tensors: dict[str, Tensor], blocks: int) -> dict[str, Tensor]:
    """Names a U-Net's tensors as diffusers' UNet2DConditionModel does; a name that is not understood stays as it is.

    Args:
        tensors: by the names of CompVis' UNetModel.
        blocks: residual blocks on each level of the way down.
    """
    return {_unet_name(name, blocks): tensor for name, tensor in tensors.items()}


def _unet_name(name: str, blocks: int) -> str:
    stem, _, kind = name.rpartition(".")
    if stem in UNET_ENDS:
        return f"{UNET_ENDS[stem]}.{kind}"
    if match := re.fullmatch(r"middle_block\.([012])\.(.+)\.(\w+)", name):
        unit, part, kind = match.groups()
        return f"mid_block.{UNET_MIDDLE[unit]}.{IN_UNET_BLOCK.get(part, part)}.{kind}"
    if not (match := re.fullmatch(r"(input|output)_blocks\.(\d+)\.(\d)\.(.+)\.(\w+)", name)):
        return name
    way, number, unit, part, kind = match.groups()
    # Down: after the first convolution, so many blocks a level and one that halves. Up: one block more, and what
    # doubles is the last unit of a level's last block.
    level, place = divmod(int(number) - 1 if way == "input" else int(number), blocks + 1)
    half = f"{'down' if way == 'input' else 'up'}_blocks.{level}"
    if unit == "0":
        sampler = f"{half}.downsamplers.0.conv.{kind}"
        return sampler if part == "op" else f"{half}.resnets.{place}.{IN_UNET_BLOCK.get(part, part)}.{kind}"
    return f"{half}.upsamplers.0.conv.{kind}" if part == "conv" else f"{half}.attentions.{place}.{part}.{kind}"


def vocoder_tensors(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names a HiFi-GAN generator's tensors as transformers' SpeechT5HifiGan does, without weight normalisation."""
    return without_weight_norm({re.sub(r"^ups\.", "upsampler.", name): tensor for name, tensor in tensors.items()})


def without_weight_norm(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Makes one weight of each `weight_g` and `weight_v`; a file that stores plain weights stays as it is."""
    pairs = [name for name in tensors if name.endswith("weight_v") and f"{name[:-1]}g" in tensors]
    paired = {*pairs, *(f"{name[:-1]}g" for name in pairs)}
    plain = {name: tensor for name, tensor in tensors.items() if name not in paired}
    return plain | {name[:-2]: fold_weight_norm(tensors[f"{name[:-1]}g"], tensors[name]) for name in pairs}


def fold_weight_norm(magnitude: Tensor, direction: Tensor) -> Tensor:
    """The weight of weight normalisation (Salimans and Kingma 2016, eq. 2): ``g v / |v|``, a norm for each first index.

    Shape: magnitude (n, 1, 1), direction (n, m, k) -> (n, m, k).
    """
    return magnitude * direction / direction.flatten(1).norm(dim=1).reshape(magnitude.shape)
