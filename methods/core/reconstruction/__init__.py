"""Reconstruction: learning roundings, step sizes and transformations block by block."""
