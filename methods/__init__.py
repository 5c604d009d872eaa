"""Quantization methods: one file per method over the shared core in `admbench.methods.core`.

This package imports without torch; a method's own module is imported when the method is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from admbench.methods.spec import MethodSpec
from admbench.registry import Registry

if TYPE_CHECKING:
    from admbench.methods.base import Method

BUILTIN = {
    "fp32": "admbench.methods.full_precision:Float32",
    "bf16": "admbench.methods.full_precision:BFloat16",
    "naive": "admbench.methods.naive:Naive",
    "q-diffusion": "admbench.methods.q_diffusion:QDiffusion",
    "eda-dm": "admbench.methods.eda_dm:EDADM",
    "tfmq-dm": "admbench.methods.tfmq_dm:TFMQDM",
    "efficientdm": "admbench.methods.efficientdm:EfficientDM",
    "tcaq-dm": "admbench.methods.tcaq_dm:TCAQDM",
    "qncd": "admbench.methods.qncd:QNCD",
    "passionsr": "admbench.methods.passionsr:PassionSR",
    "smoothquant": "admbench.methods.smoothquant:SmoothQuant",
    "gptq": "admbench.methods.gptq:GPTQ",
    "awq": "admbench.methods.awq:AWQ",
    "hqq": "admbench.methods.hqq:HQQ",
    "nf4": "admbench.methods.nf4:NF4",
    "svdquant": "admbench.methods.svdquant:SVDQuant",
    "svdquant-gptq": "admbench.methods.svdquant_gptq:SVDQuantGPTQ",
    "dirotq": "admbench.methods.dirotq:DiRotQ",
    "convrot": "admbench.methods.convrot:ConvRot",
    "qera": "admbench.methods.qera:QERA",
    "q-dit": "admbench.methods.q_dit:QDiT",
    "sqd": "admbench.methods.sqd:SQD",
    "vidit-q": "admbench.methods.vidit_q:ViDiTQ",
    "ptq4dm": "admbench.methods.ptq4dm:PTQ4DM",
    "ptq4adm": "admbench.methods.ptq4adm:PTQ4ADM",
    "mixup-prompt": "admbench.methods.mixup_prompt:MixupPrompt",
    "torchao-int8": "admbench.methods.bridges.torchao:TorchAOInt8",
    "torchao-int4": "admbench.methods.bridges.torchao:TorchAOInt4",
    "quanto-int8": "admbench.methods.bridges.quanto:QuantoInt8",
    "quanto-int4": "admbench.methods.bridges.quanto:QuantoInt4",
    "quanto-int2": "admbench.methods.bridges.quanto:QuantoInt2",
    "nncf-int8": "admbench.methods.bridges.nncf:NNCFInt8",
    "sdnq-int8": "admbench.methods.bridges.sdnq:SDNQInt8",
    "sdnq-int4": "admbench.methods.bridges.sdnq:SDNQInt4",
    "modelopt-int8": "admbench.methods.bridges.modelopt:ModelOptInt8",
    "ready-made": "admbench.methods.bridges.ready_made:ReadyMade",
    "diffusers-quantized": "admbench.methods.bridges.diffusers_folder:DiffusersQuantized",
}

registry = Registry("admbench.methods", "method", BUILTIN, facts=("track", "family"))
register = registry.register


def from_spec(spec: str | MethodSpec) -> Method:
    """Return the configured method that a spec such as `naive@w4a8[weights=tensor]` names.

    >>> method = from_spec("naive@w4a8[weights=tensor]")
    >>> method.spec.bits, method.config.weights, method.config.prompts
    ((4, 8), 'tensor', 16)

    Raises:
        UsageError: the spec is malformed, or the method, its bits or an option are not valid; says which part.
        PluginError: the method cannot be loaded.
    """
    spec = MethodSpec.parse(spec) if isinstance(spec, str) else spec
    method: Method = registry.get(spec.name)(spec)
    return method
