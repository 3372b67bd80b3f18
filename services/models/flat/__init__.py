"""Flat models of files: the eight modes, what is given and what is fitted, what is written, the plots and the page."""
