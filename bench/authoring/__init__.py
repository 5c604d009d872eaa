"""Plug-in packages to begin with: what `bench new-method`, `bench new-metric` and `bench new-model` write."""
