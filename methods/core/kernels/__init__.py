"""Real integer kernels: they compute from a quantized layer's own codes and scales what the layer only simulates.

`with_kernels` is the door; `select.KERNELS` is the registry. See docs/latency.md.
"""

from admbench.methods.core.kernels.select import KERNELS, Fallback, WithKernels, with_kernels

__all__ = ["KERNELS", "Fallback", "WithKernels", "with_kernels"]
