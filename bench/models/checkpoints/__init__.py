"""Published checkpoints: where they are, which files they have, reading them."""
