"""A new master held against the last one that was found good: what a night changes, and what must not have changed.

Between two nights the level of all pixels wanders, the temperature is not the same to a tenth of a degree, some pixels
become hot and some recover, and flats have new dust. None of that is a fault. A level, a noise, a gain or a smooth
shape that is another one is: light has reached a dark, an offset was set otherwise, a lamp has failed.

The planes are looked at twice. A sample of pixels (`sample_of_rows`) gives what is common to all of them: the shift of
the level and the smooth shape of the difference (`baseline`). With these taken out, every band of rows is compared
pixel by pixel (`changed_pixels`). `verdicts` judges both, and `compare` does everything for planes in memory.

In words of equations, for biases and darks ``d = new - old - shift`` in ADU, for flats ``d = new / scale - old``,
relative to the light; ``z = d / √(σ_new² + σ_old²)`` with the SIGMA planes, each at least as large as is typical of its
master, for few frames give it badly.
"""
