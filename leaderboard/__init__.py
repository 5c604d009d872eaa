"""The result record (schema, reading, validating) and the static site made from records."""
