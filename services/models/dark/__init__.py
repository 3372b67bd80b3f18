"""Dark models of files: the plan, the bands, the eight modes, what is written and read, the plots and the page."""
