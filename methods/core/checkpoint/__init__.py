"""Packed checkpoints: writing, reading, and the network classes that they may name."""
