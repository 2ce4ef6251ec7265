"""The commands that come with plugport as plugins: bench, doctor and new."""
