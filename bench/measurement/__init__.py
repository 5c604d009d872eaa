"""What is measured around a model: bytes on disk, memory of the process."""
