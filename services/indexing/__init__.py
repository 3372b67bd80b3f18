"""Indexing: folders are walked and headers read, so that the catalogue and the files agree."""
