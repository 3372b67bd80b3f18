"""Flats whose dependence on temperature and exposure is known, fitted by the pure functions."""

from collections.abc import Sequence

import numpy as np

from calibration.models.flat.model import FlatModel, FlatParameters, parameters_of, terms_for
from calibration.models.linear import Fit, fit_groups
from calibration.models.means import Groups
from tests.support.made_flats import Plane

NOISE = 0.002


def fitted_flats(
    temperatures: Sequence[float],
    exposures: Sequence[float],
    *,
    b: float = 0.0,
    c: float = 0.0,
    n: int = 6,
    seed: int = 1,
    shape: tuple[int, int] = (30, 40),
) -> tuple[FlatModel, FlatParameters, Fit, tuple[str, ...], tuple[Plane, Plane, Plane]]:
    """Fit n flats of each temperature and exposure; b and c are mean and scatter of the slopes.

    Returns the model, its parameters, the fit, the notes, and the true a, b and c.
    """
    rng = np.random.default_rng(seed)
    t, e = np.array(temperatures, float), np.array(exposures, float)
    one, warm, long = (v + s * rng.standard_normal(shape) for v, s in ((1.0, 0.02), (b, b), (c, c)))
    frames = one + warm * t[:, None, None] + long * e[:, None, None] + NOISE * rng.standard_normal((n, t.size, *shape))
    groups = Groups(
        mean=frames.mean(axis=0),
        count=np.full((t.size, *shape), n, np.uint16),
        squares=((frames - frames.mean(axis=0)) ** 2).sum(axis=(0, 1)),
        freedom=np.full(shape, t.size * (n - 1.0)),
    )
    terms, notes = terms_for(t, e)
    model = FlatModel(
        terms=terms, reference_c=0, reference_s=0,
        coldest_c=t.min(), warmest_c=t.max(), shortest_s=e.min(), longest_s=e.max(),
    )  # fmt: skip
    fit = fit_groups(model.design(t, e), np.full(t.size, float(n)), groups)
    return model, parameters_of(model, fit), fit, notes, (one, warm, long)
