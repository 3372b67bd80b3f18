"""Files: names, atomic writes, FITS and its pixels, locks: every byte that is read or written passes here."""
