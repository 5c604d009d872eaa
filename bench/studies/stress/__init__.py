"""The stress ladder: hard twins of a model, and whether methods handle what they claim to."""
