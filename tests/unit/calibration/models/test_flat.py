"""The flat of each pixel against temperature and exposure, and whether it depends on them at all."""

import numpy as np
import pytest

from calibration.models.flat.model import FlatModel, Level, Norm, Term, level_of, parameters_of, predict
from calibration.models.flat.noise import shared_errors
from calibration.models.flat.significance import SignificanceSums
from tests.support.fitted_flats import fitted_flats


def test_a_flat_at_another_temperature_and_exposure_is_predicted_with_its_error():
    model, parameters, _, notes, (a, b, c) = fitted_flats([0, 10, 20, 0, 10, 20], [1, 1, 1, 5, 5, 5], b=1e-3, c=2e-3)
    assert (model.terms, notes) == ((Term.A, Term.B, Term.C), ())
    found = predict(model, parameters, 5.0, 3.0)
    pull = (found.mean - (a + 5 * b + 3 * c)) / found.sigma
    assert found.inside
    assert abs(pull.mean()) < 0.15
    assert np.sqrt((pull**2).mean()) == pytest.approx(1, abs=0.08)
    assert not predict(model, parameters, 30.0, 3.0).inside
    assert (predict(model, parameters, 30.0, 3.0).sigma > found.sigma).all()


@pytest.mark.parametrize(
    ("temperatures", "exposures", "terms", "words"),
    [
        ([10, 10], [2, 2], "A", "one temperature"),
        ([0, 10], [2, 2], "AB", "one exposure"),
        ([10, 10], [2, 5], "AC", "one temperature"),
        ([0, 10, 20], [1, 2, 3], "AB", "change together"),
        ([0, 10], [1, 2], "AB", "change together"),
    ],
)
def test_what_the_flats_do_not_vary_in_has_no_term(temperatures, exposures, terms, words):
    model, parameters, *_, notes, _ = fitted_flats(temperatures, exposures)
    assert "".join(model.terms) == terms
    assert any(words in note for note in notes)
    beyond = predict(model, parameters, 40.0, 60.0)
    assert not beyond.inside
    assert np.isnan(beyond.sigma).all()


@pytest.mark.parametrize(("b", "c", "real"), [(0, 0, ""), (1e-3, 0, "B"), (0, 1e-3, "C"), (2e-3, 2e-3, "BC")])
def test_a_term_counts_where_it_is_more_than_noise(b, c, real):
    model, parameters, fit, *_ = fitted_flats([0, 10, 20, 0, 10, 20], [1, 1, 1, 9, 9, 9], b=b, c=c)
    found = ""
    for number, place in ((1, 3), (2, 5)):
        sums = SignificanceSums(model.terms[number])
        for rows in (np.s_[:7], np.s_[7:]):
            sums.add(parameters.theta[number][rows], parameters.covariance[place][rows], fit.freedom[rows])
        one = sums.result()
        found += one.term if one.real else ""
        assert one.spread == pytest.approx((b, c)[number - 1], abs=2e-4)
    assert found == real


def test_what_the_frames_have_in_common_widens_every_error():
    model, _, fit, *_ = fitted_flats([0, 10], [2, 2])
    wider = FlatModel(**{**{n: getattr(model, n) for n in model.__slots__}, "common": ((0.01, 0.0), (0.0, 0.0))})
    assert (predict(wider, parameters_of(wider, fit), 0, 2).sigma > 0.1).all()


def level(norm, values):
    known = values[np.isfinite(values)]
    return level_of(
        norm,
        values,
        noise=10.0,
        mean=known.mean() if known.size else np.nan,
        largest=max(known, default=np.nan),
        pixels=known.size,
    )


def test_levels():
    values = np.full((10, 10), 100.0)
    values[0, 0], values[1, 1] = 5000.0, np.nan
    assert level(Norm.MAX, values.ravel()).value == 5000
    assert level(Norm.MEAN, values.ravel()).value == pytest.approx(100 + 4900 / 99)
    assert level(Norm.ROBUST, values.ravel()).value == 100
    noisy = 1000 + 10 * np.random.default_rng(1).standard_normal(2500)
    assert level(Norm.ROBUST, noisy).relative_sigma == pytest.approx(0.01 / 50, rel=0.05)
    assert level(Norm.MAX, noisy).relative_sigma == pytest.approx(0.01, rel=0.1)


def test_a_flat_of_which_most_is_saturated_has_no_level():
    with pytest.raises(ValueError, match="60 % of its centre are saturated"):
        level(Norm.ROBUST, np.array([np.nan] * 6 + [50_000.0] * 4))


def test_a_flat_no_brighter_than_its_noise_has_no_level():
    with pytest.raises(ValueError, match="no light is in it"):
        level(Norm.ROBUST, np.full(9, 20.0))


@pytest.mark.parametrize("values", [np.zeros(9), np.full(9, np.nan), -np.ones(9)])
@pytest.mark.parametrize("norm", Norm)
def test_a_frame_without_light_has_no_level(norm, values):
    with pytest.raises(ValueError, match=r"no light is in it|finite"):
        level(norm, values)


def test_the_brightest_of_noisy_pixels_moves_with_their_noise():
    """Of a fainter light noise raises it more: the flat seems to change with the exposure, and may not be said to."""
    design, group = np.array([[1.0, 1.0], [1.0, 5.0]]), np.repeat([0, 1], 4)
    rng, seen = np.random.default_rng(1), {}
    for norm in (Norm.MAX, Norm.ROBUST):
        levels = [Level(value=1.0, relative_sigma=sigma, norm=norm) for sigma in (0.0131, 0.0058)]
        rise = np.array([level.rise(3000) for level in levels])[group]
        shared = shared_errors(
            design,
            np.ones(2),
            group,
            1 - rise + 1e-4 * rng.standard_normal(8),
            stated=np.full(8, 1e-4),
            rise=rise,
        )
        seen[norm] = shared.slopes[1], np.sqrt(shared.covariance[1, 1])
        assert shared.freedom == 6
    assert seen[Norm.MAX][0] > 0.005
    assert seen[Norm.MAX][0] < 1.1 * seen[Norm.MAX][1]
    assert abs(seen[Norm.ROBUST][0]) < 1e-4
    assert seen[Norm.ROBUST][1] == pytest.approx(1e-4 / np.sqrt(4 * 8), rel=0.5)
