"""Combining n frames into one, pixel by pixel: rejection on one band of rows, pure and without threads."""

from calibration.combine.engine import combine_band, decoded, survivors
from calibration.combine.recipe import SMALL_N, BandPlanes, MaskBit, Method, NoiseModel, Recipe

__all__ = ["SMALL_N", "BandPlanes", "MaskBit", "Method", "NoiseModel", "Recipe", "combine_band", "decoded", "survivors"]
