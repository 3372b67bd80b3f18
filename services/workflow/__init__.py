"""The steps of a night: what is wanted, minus what there is, taken in order; the only way anything is captured."""
