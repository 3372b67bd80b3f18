"""The library of masters: which one serves, its pixels, and the packing of the frames behind it."""
