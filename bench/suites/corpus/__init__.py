"""The procedural foley corpus: sound events, captions, and clips drawn from seeds."""
