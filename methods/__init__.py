"""Quantization methods: one file per method over the shared core in `methods.core`.

This package imports without torch; a method's own module is imported when the method is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from admcore.registry import Registry
from methods.spec import MethodSpec

if TYPE_CHECKING:
    from methods.base import Method

BUILTIN = {
    "fp32": "methods.full_precision:Float32",
    "bf16": "methods.full_precision:BFloat16",
    "naive": "methods.naive:Naive",
    "q-diffusion": "methods.q_diffusion:QDiffusion",
    "eda-dm": "methods.eda_dm:EDADM",
    "tfmq-dm": "methods.tfmq_dm:TFMQDM",
    "efficientdm": "methods.efficientdm:EfficientDM",
    "tcaq-dm": "methods.tcaq_dm:TCAQDM",
    "qncd": "methods.qncd:QNCD",
    "passionsr": "methods.passionsr:PassionSR",
    "smoothquant": "methods.smoothquant:SmoothQuant",
    "gptq": "methods.gptq:GPTQ",
    "awq": "methods.awq:AWQ",
    "hqq": "methods.hqq:HQQ",
    "nf4": "methods.nf4:NF4",
    "svdquant": "methods.svdquant:SVDQuant",
    "vidit-q": "methods.vidit_q:ViDiTQ",
    "ptq4dm": "methods.ptq4dm:PTQ4DM",
    "ptq4adm": "methods.ptq4adm:PTQ4ADM",
    "mixup-prompt": "methods.mixup_prompt:MixupPrompt",
    "torchao-int8": "methods.bridges.torchao:TorchAOInt8",
    "torchao-int4": "methods.bridges.torchao:TorchAOInt4",
    "quanto-int8": "methods.bridges.quanto:QuantoInt8",
    "quanto-int4": "methods.bridges.quanto:QuantoInt4",
    "quanto-int2": "methods.bridges.quanto:QuantoInt2",
    "nncf-int8": "methods.bridges.nncf:NNCFInt8",
}

registry = Registry("bench.methods", "method", BUILTIN)
register = registry.register


def from_spec(spec: str | MethodSpec) -> Method:
    """Return the configured method that a spec such as `naive@w4a8[weights=tensor]` names.

    Raises:
        UsageError: the spec is malformed, or the method, its bits or an option are not valid; says which part.
        PluginError: the method cannot be loaded.
    """
    spec = MethodSpec.parse(spec) if isinstance(spec, str) else spec
    method: Method = registry.get(spec.name)(spec)
    return method
