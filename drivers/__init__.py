"""Devices of an observatory, one each, in ASCOM words. No FITS, no YAML, no plans."""
