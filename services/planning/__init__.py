"""Planning: wanted - have, and what it costs; imports neither numba nor astropy, so that any process may ask."""
