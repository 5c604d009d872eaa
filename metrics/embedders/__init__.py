"""Networks that turn audio, and for some text, into vectors."""
