"""The key names of AudioLDM's own autoencoder file: CompVis' for the autoencoder, HiFi-GAN's for the vocoder inside it.

Autoencoder: `encoder.down.I.block.J.norm1`, `decoder.up.I.block.J.nin_shortcut`, `encoder.mid.attn_1.q`, with the
levels of the decoder numbered from the finest. Vocoder: `ups.I`, `resblocks.I.convs1.J`, either as plain weights or
with weight normalisation (`weight_g`, `weight_v`).
"""

from __future__ import annotations

import re

from torch import Tensor

IN_BLOCK = {"nin_shortcut": "conv_shortcut"}
IN_ATTENTION = {"norm": "group_norm", "q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}
MID = {"block_1": "resnets.0", "attn_1": "attentions.0", "block_2": "resnets.1"}


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
    if match := re.fullmatch(r"(encoder|decoder)\.(down|up)\.(\d+)\.(?:down|up)sample\.conv\.(\w+)", name):
        half, way, level, kind = match.groups()
        place = int(level) if way == "down" else levels - 1 - int(level)
        return f"{half}.{way}_blocks.{place}.{way}samplers.0.conv.{kind}"
    if match := re.fullmatch(r"(encoder|decoder)\.mid\.(block_1|attn_1|block_2)\.(\w+)\.(\w+)", name):
        half, unit, part, kind = match.groups()
        names = IN_ATTENTION if unit == "attn_1" else IN_BLOCK
        return f"{half}.mid_block.{MID[unit]}.{names.get(part, part)}.{kind}"
    return re.sub(r"^(encoder|decoder)\.norm_out\.", r"\1.conv_norm_out.", name)


def vocoder_tensors(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names a HiFi-GAN generator's tensors as transformers' SpeechT5HifiGan does, without weight normalisation."""
    renamed = {re.sub(r"^ups\.", "upsampler.", name): tensor for name, tensor in tensors.items()}
    plain = {name: tensor for name, tensor in renamed.items() if not name.endswith(("weight_g", "weight_v"))}
    for name in renamed:
        stem = name.removesuffix("_v")
        if stem != name and f"{stem}_g" in renamed:
            plain[stem] = fold_weight_norm(renamed[f"{stem}_g"], renamed[name])
    return plain


def fold_weight_norm(magnitude: Tensor, direction: Tensor) -> Tensor:
    """The weight of weight normalisation (Salimans and Kingma 2016, eq. 2): ``g v / |v|``, a norm for each first index.

    Shape: magnitude (n, 1, 1), direction (n, m, k) -> (n, m, k).
    """
    return magnitude * direction / direction.flatten(1).norm(dim=1).reshape(magnitude.shape)
