"""Studies over many runs of a model: sanity ladder, components, calibration prompts."""
