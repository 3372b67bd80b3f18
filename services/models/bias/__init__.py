"""Bias models of files: the plan, the bands, what is written and read, the plots and the page."""
