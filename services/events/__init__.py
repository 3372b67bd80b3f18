"""Events of a run: records, bus, journal and the sentences that describe them."""
