"""The parts that quantization methods are made of. Nothing here knows any one method."""
