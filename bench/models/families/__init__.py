"""Model families: one module a family, from its files to an `AudioDiffusionModel`."""
