"""For all tests: products that repeat, whatever the processor."""

import os

from admbench import arithmetic

# MKL reads its mode at the first product of a process, and children inherit it: so this comes before torch is imported.
os.environ.update(arithmetic.reproducible(os.environ))
