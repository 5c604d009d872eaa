"""Programs that print the figures of the pages: `python -m benchmarks.NAME`. Not part of the installed packages."""
