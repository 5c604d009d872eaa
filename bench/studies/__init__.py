"""Studies over many runs of a model: sanity ladder, orderings, components, calibration prompts."""
