"""Structures that appear, move and vanish, and trends: the plan, the bands, what is written, the plots and the page."""
