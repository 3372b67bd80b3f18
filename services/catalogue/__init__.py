"""The catalogue: an SQLite index of frames, masters, runs and facts; it knows rows, never FITS."""
