"""Everything on disk: names, FITS files, atomic writes, the catalogue, locks, and the library of masters."""
