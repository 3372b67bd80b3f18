"""Models of a detector: fitted to the frames of a dataset band by band, and written with their errors."""
