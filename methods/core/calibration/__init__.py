"""Calibration: sets, prompts, samplers, and statistics of what layers read."""
