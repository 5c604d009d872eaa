"""The embedded zoo: a procedural foley corpus, and the small models and metric networks trained on it."""
