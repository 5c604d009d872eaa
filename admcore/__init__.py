"""The leaf package: errors, plug-in registry, hashing, atomic files and progress, for the four packages above it."""
