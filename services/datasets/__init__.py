"""Frames that other systems took: raw files with their settings and logs become FITS frames, and those an index.

A dataset is a folder of sections (biases, darks, flats, operation), each with attempts: folders of equal frames with
the settings and the log of the camera. What is below a dataset is never changed; what is made of it stands beside it.
"""

FRAMES_DIR = "frames"
"""Name of the folder of an attempt's raw frames, where nothing else is asked for."""
FITS_DIR = "fits"
"""Name of the folder beside it for the FITS frames that are made of them."""
SEARCH_DEPTH = 6
"""Folders below a section that are looked into, where nothing else is asked for."""
