"""Frames that other systems took: raw files with their settings and logs become FITS frames, and those an index.

A dataset is a folder of sections (biases, darks, flats, operation), each with attempts: folders of equal frames with
the settings and the log of the camera. What is below a dataset is never changed; what is made of it stands beside it.
"""
