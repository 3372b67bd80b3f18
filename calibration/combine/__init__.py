"""Combining n frames into one, pixel by pixel: rejection on one band of rows, pure and without threads."""
