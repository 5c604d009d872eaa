"""Programs that print the figures of the pages: `python -m benchmarks.NAME`. Not part of the installed packages."""

TEMPLATE = "ADMBENCH_STUB_CELL"
"""Environment variable by which `benchmarks.overhead` tells its jobs the folder of the finished cell."""
