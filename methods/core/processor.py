"""Which products of 8-bit integers this processor computes exactly, as far as oneDNN is allowed to use it."""

from __future__ import annotations

import os
import platform

import torch
from torch import Tensor

MOST_PAIR = 2**15 - 1
"""Without VNNI, products are summed in pairs in signed 16 bits before anything wider, and saturate there."""
MOST_SUM = 2**31 - 1
"""Largest sum of products; accumulators have 32 bits."""

_ISA_VARIABLES = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
_WITHOUT_VNNI = {"SSE41", "AVX", "AVX2", "AVX512_CORE"}
_WITHOUT_AVX512 = {"AVX2_VNNI", "AVX2_VNNI_2"}
_WITHOUT_BF16 = _WITHOUT_VNNI | _WITHOUT_AVX512 | {"AVX512_CORE_VNNI"}


def has_vnni() -> bool:
    """Return whether oneDNN multiplies bytes with VNNI here: 4 products to a 32-bit sum, without saturation.

    The environment variables that limit oneDNN's instruction sets are heeded as oneDNN heeds them: as they were when
    the program started.
    """
    limit = isa_limit()
    if limit in _WITHOUT_VNNI or not is_x86():
        return False
    if not hasattr(torch.cpu, "get_capabilities"):  # older torch
        return bool(torch.cpu._is_vnni_supported()) and limit not in _WITHOUT_AVX512
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities["avx_vnni"] or (capabilities["avx512_vnni"] and limit not in _WITHOUT_AVX512))


def has_bf16(device: torch.device | str = "cpu") -> bool:
    """Return whether a device multiplies bfloat16 with instructions made for it.

    Of a CPU it is asked what oneDNN may use, under the same limit as `has_vnni`.
    """
    kind = torch.device(device).type
    if kind == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if kind != "cpu":
        return False
    if isa_limit() in _WITHOUT_BF16 or not is_x86():
        return False
    if not hasattr(torch.cpu, "get_capabilities"):  # older torch
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities["avx512_bf16"] or capabilities["amx_bf16"])


def isa_limit() -> str:
    """Return what the environment limits oneDNN's instruction sets to, in capitals; `DEFAULT` if it does not."""
    return next((os.environ[name].upper() for name in _ISA_VARIABLES if os.environ.get(name)), "DEFAULT")


def is_x86() -> bool:
    """Return whether this is the family of processors whose oneDNN kernels are known here."""
    return platform.machine() in ("x86_64", "AMD64")


def product_refusal(terms: int, most_activation: int, most_weight: int) -> str | None:
    """Return why sums of products of an unsigned activation code and a signed weight may be wrong, None if they cannot.

    Args:
        terms: products in one sum.
        most_activation: largest activation code.
        most_weight: largest magnitude of a weight in scales.

    >>> product_refusal(100_000, 255, 127)
    'sums of 100000 products do not fit 32 bits'
    """
    if terms * most_activation * most_weight > MOST_SUM:
        return f"sums of {terms} products do not fit 32 bits"
    if 2 * most_activation * most_weight > MOST_PAIR and not has_vnni():
        return "without VNNI, products of these codes saturate in 16 bits"
    return None


def signed_product_refusal(weight: Tensor) -> str | None:
    """Return why `torch._int_mm` of signed bytes and a weight may give wrong sums on this CPU, None if it cannot.

    oneDNN multiplies unsigned bytes by signed ones. So it adds 128 to the inputs, and takes 128 times the weight's sums
    from the result: an input of 127 counts as 255. On other families of processors nothing is known to saturate.

    Args:
        weight: int8 codes (out, in).
    """
    if not is_x86():
        return None
    return product_refusal(weight.shape[-1], 2**8 - 1, int(weight.int().abs().max()))
