"""Flats in their parts, on planes: vignetting, dust, pixel response, factors, and the terms of temperature and time."""
