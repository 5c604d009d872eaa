"""Names of the published number formats, for whoever reads a spec: `numbers.formats` says what they are.

This module imports nothing.
"""

from __future__ import annotations

from typing import NamedTuple


class FormatName(NamedTuple):
    """What a spec has to know of a format."""

    bits: int
    """Of a code."""
    inputs: bool
    """Whether it is one of a layer's input, too."""


FORMAT_NAMES: dict[str, FormatName] = {
    "e4m3": FormatName(8, inputs=True),
    "e5m2": FormatName(8, inputs=True),
    "mxfp8": FormatName(8, inputs=True),
    "mxfp4": FormatName(4, inputs=True),
    "nvfp4": FormatName(4, inputs=True),
    "q8_0": FormatName(8, inputs=False),
    "q4_0": FormatName(4, inputs=False),
    "q4_k": FormatName(4, inputs=False),
    "q5_k": FormatName(5, inputs=False),
    "q6_k": FormatName(6, inputs=False),
}
"""Formats by name."""
