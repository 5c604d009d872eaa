"""Numbers: schemes, quantizers, codebooks, range search, packing."""
