"""Results that leave the machine: a repository of runs that checks itself, and what a model card says of a cell."""
