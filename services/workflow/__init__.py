"""A run: `job` is the way to it; its steps take what is wanted minus what exists, and build the masters."""
