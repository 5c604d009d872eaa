"""Layers: quantized layers, which of them gets which scheme, and a backbone's blocks."""
