"""A plug-in package to begin with: what `bench new-method` writes."""
