"""The published number formats that a spec may name, as schemes: `naive@mxfp4` has `FORMATS["mxfp4"]`.

| format | elements | a scale for | stored as | bits a weight |
|---|---|---|---|---|
| `e4m3`, `e5m2` | floats of 8 bits | an output channel, or a tensor; of inputs a position | float32 | 8 |
| `mxfp8`, `mxfp4` | E4M3, E2M1 | 32 numbers | the exponent of a power of two, E8M0 | 8.25, 4.25 |
| `nvfp4` | E2M1 | 16 numbers | E4M3, times one float32 a tensor | 4.5 |
| `q8_0`, `q4_0` | integers | 32 numbers | float16 | 8.5, 4.5 |
| `q4_k`, `q5_k` | integers, with a minimum | 32 numbers | 6 bits each, times float16 of 256 numbers | 4.5, 5.5 |
| `q6_k` | integers | 16 numbers | 8 bits, times float16 of 256 numbers | 6.5625 |

Where rows are no multiple of a block, blocks are the largest size below that divides them (`Scheme.for_terms`), and the
bits a weight are a few more. This module imports without torch.
"""

from __future__ import annotations

from admbench.methods.core.numbers.scheme import Codebook, NumberFormat, ScaleType, Scheme

_OFP8 = "OCP 8-bit Floating Point Specification (OFP8) 1.0, 2023"
_MX = "OCP Microscaling Formats (MX) Specification 1.0, 2023"
_GGML = "ggml, the GGUF file format, https://github.com/ggml-org/ggml"
_NVFP4 = "NVIDIA, Introducing NVFP4 for Efficient and Accurate Low-Precision Inference, 2025"


def _float8(codebook: Codebook) -> NumberFormat:
    def scheme(**keys: object) -> Scheme:
        return Scheme.model_validate({"bits": 8, "symmetric": True, "codebook": codebook, **keys})

    return NumberFormat(codebook, scheme(granularity="channel"), scheme(granularity="token", dynamic=True), _OFP8)


def _blocks(name: str, codebook: Codebook, bits: int, size: int, scales: ScaleType, source: str) -> NumberFormat:
    weight = Scheme(bits=bits, granularity="group", symmetric=True, group_size=size, codebook=codebook, scales=scales)
    return NumberFormat(name, weight, weight.model_copy(update={"dynamic": True}), source)


def _gguf(name: str, bits: int, size: int, scales: ScaleType, symmetric: bool = True) -> NumberFormat:
    weight = Scheme(bits=bits, granularity="group", symmetric=symmetric, group_size=size, scales=scales)
    return NumberFormat(name, weight, None, _GGML)


FORMATS: dict[str, NumberFormat] = {
    made.name: made
    for made in (
        _float8("e4m3"),
        _float8("e5m2"),
        _blocks("mxfp8", "e4m3", 8, 32, "e8m0", _MX),
        _blocks("mxfp4", "e2m1", 4, 32, "e8m0", _MX),
        _blocks("nvfp4", "e2m1", 4, 16, "e4m3", _NVFP4),
        _gguf("q8_0", 8, 32, "float16"),
        _gguf("q4_0", 4, 32, "float16"),
        _gguf("q4_k", 4, 32, "k", symmetric=False),
        _gguf("q5_k", 5, 32, "k", symmetric=False),
        _gguf("q6_k", 6, 16, "k"),
    )
}
"""Number formats by name."""
