"""For all tests: products that repeat, whatever the processor, and properties that may take their time."""

import os

from hypothesis import settings

from admbench import arithmetic

# MKL reads its mode at the first product of a process, and children inherit it: so this comes before torch is imported.
os.environ.update(arithmetic.reproducible(os.environ))

# how long an example takes says more of what else the machine does than of us
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
