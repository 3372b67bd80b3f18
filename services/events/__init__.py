"""Events of a run: records, bus, journal and the sentences that tell them."""
