"""Bridges: methods that let another package quantize the backbone, so that it can be compared with ours.

A bridge's module imports without its package, which is imported when there is something to quantize or to load.
"""
