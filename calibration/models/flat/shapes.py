"""The shapes of the smooth parts of a flat: vignetting about an optical axis, and how the light falls on the sensor.

Places are row and column in pixels from 0, the centre of a pixel being a whole number. Every shape gives its values
and their derivatives by its own parameters, divided by the values, so that fits and errors need nothing else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float64]
Place = tuple[float, float]


class Shape(Protocol):
    """A smooth plane of known form; `names` and `values` are those of its parameters."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters."""
        ...

    @property
    def values(self) -> tuple[float, ...]:
        """Values of the parameters, in the order of the names."""
        ...

    def at(self, y: Plane, x: Plane) -> Plane:
        """Return the plane at rows and columns in pixels, of any shape that broadcasts."""
        ...

    def slopes(self, y: Plane, x: Plane) -> Plane:
        """Return the derivative by each parameter over the value, the parameters along the first axis."""
        ...

    def moved(self, values: Sequence[float]) -> "Shape":
        """Return the same form with other values of the parameters."""
        ...


def half_diagonal(shape: tuple[int, int]) -> float:
    """Return half the diagonal of a frame in pixels, the unit of radii."""
    return float(np.hypot(shape[0] / 2, shape[1] / 2))


def middle(shape: tuple[int, int]) -> Place:
    """Return the middle of a frame, row and column."""
    return (shape[0] - 1) / 2, (shape[1] - 1) / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Radial:
    """Vignetting ``1 + Σ k_i (r / R)^p_i`` about a centre; without coefficients there is none.

    lensfun's model `pa` is that of the powers 2, 4 and 6 with R half the diagonal.

    Attributes
    ----------
    centre : tuple of float
        Row and column of the optical axis.
    radius_px : float
        R.
    powers, coefficients : tuple
    """

    centre: Place
    radius_px: float
    powers: tuple[int, ...] = ()
    coefficients: tuple[float, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters."""
        return ("centre_y", "centre_x", *(f"k{i + 1}" for i in range(len(self.powers)))) if self.powers else ()

    @property
    def values(self) -> tuple[float, ...]:
        """Values of the parameters."""
        return (*self.centre, *self.coefficients) if self.powers else ()

    def at(self, y: Plane, x: Plane) -> Plane:
        """Return the vignetting at rows y and columns x, which broadcast."""
        radius = np.sqrt(_square(self.centre, self.radius_px, y, x))
        return 1.0 + sum((k * radius**p for k, p in zip(self.coefficients, self.powers, strict=True)), 0.0 * radius)

    def slopes(self, y: Plane, x: Plane) -> Plane:
        """Return the derivatives by the parameters over the value, shape (parameters, ...)."""
        square, value = _square(self.centre, self.radius_px, y, x), self.at(y, x)
        if not self.powers:
            return np.empty((0, *value.shape))
        radius = np.sqrt(square)
        by_square = sum(  # dV / d(r²)
            (k * p / 2 * radius ** max(p - 2, 0) for k, p in zip(self.coefficients, self.powers, strict=True)),
            0.0 * radius,
        )
        return (
            np.stack([*_by_centre(self.centre, self.radius_px, y, x, by_square), *(radius**p for p in self.powers)])
            / value
        )

    def moved(self, values: Sequence[float]) -> "Radial":
        """Return the same shape with other parameters."""
        return Radial(
            centre=(float(values[0]), float(values[1])),
            radius_px=self.radius_px,
            powers=self.powers,
            coefficients=tuple(map(float, values[2:])),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cos4:
    """Natural vignetting: the fourth power of the cosine of the angle from the axis, ``(1 + q (r / R)²)^-2``.

    q is (R / f)², f the distance of the exit pupil from the sensor.
    """

    centre: Place
    radius_px: float
    q: float

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters."""
        return "centre_y", "centre_x", "q"

    @property
    def values(self) -> tuple[float, ...]:
        """Values of the parameters."""
        return (*self.centre, self.q)

    def at(self, y: Plane, x: Plane) -> Plane:
        """Return the vignetting at rows y and columns x, which broadcast."""
        return np.asarray((1 + self.q * _square(self.centre, self.radius_px, y, x)) ** -2)

    def slopes(self, y: Plane, x: Plane) -> Plane:
        """Return the derivatives by the parameters over the value, shape (3, ...)."""
        square = _square(self.centre, self.radius_px, y, x)
        by_square = -2 * self.q / (1 + self.q * square)
        by_q = -2 * square / (1 + self.q * square)
        return np.stack([*_by_centre(self.centre, self.radius_px, y, x, by_square), by_q])

    def moved(self, values: Sequence[float]) -> "Cos4":
        """Return the same shape with other parameters."""
        y, x, q = map(float, values)
        return Cos4(centre=(y, x), radius_px=self.radius_px, q=q)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mapped:
    """Vignetting that was measured: a small image over the whole frame, in straight lines; 1 at its brightest."""

    image: Plane
    shape: tuple[int, int]

    names: tuple[str, ...] = ()
    values: tuple[float, ...] = ()

    def at(self, y: Plane, x: Plane) -> Plane:
        """Return the vignetting at rows y and columns x, which broadcast."""
        from scipy import ndimage  # 0.1 s to import: few flats have a map

        y, x = np.broadcast_arrays(y, x)
        places = [
            (values + 0.5) * size / full - 0.5
            for values, size, full in zip((y, x), self.image.shape, self.shape, strict=True)
        ]
        found = ndimage.map_coordinates(self.image, places, order=1, mode="nearest")
        return np.asarray(found / self.image.max())

    def slopes(self, y: Plane, x: Plane) -> Plane:
        """Return nothing: it has no parameters."""
        return np.empty((0, *np.broadcast_shapes(y.shape, x.shape)))

    def moved(self, values: Sequence[float]) -> "Mapped":  # noqa: ARG002 - it has no parameters
        """Return itself."""
        return self


TERMS: Mapping[str, Any] = {
    "x": lambda y, x: x + 0 * y,
    "y": lambda y, x: y + 0 * x,
    "xx_minus_yy": lambda y, x: x**2 - y**2,
    "xy": lambda y, x: x * y,
    "rr": lambda y, x: x**2 + y**2,
}
"""Terms of an illumination. `rr` is that which vignetting about the middle has, too."""

PLANE = ("x", "y")
QUADRATIC = ("x", "y", "xx_minus_yy", "xy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Illumination:
    """How the light falls on the sensor: a level times ``1 + Σ c_i term_i``, x and y in half diagonals from the middle.

    Attributes
    ----------
    level : float
    shape : tuple of int
        Of the frame.
    terms : tuple of str
        Of `TERMS`.
    coefficients : tuple of float
    """

    level: float
    shape: tuple[int, int]
    terms: tuple[str, ...] = ()
    coefficients: tuple[float, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters."""
        return ("level", *self.terms)

    @property
    def values(self) -> tuple[float, ...]:
        """Values of the parameters."""
        return (self.level, *self.coefficients)

    def _terms(self, y: Plane, x: Plane) -> list[Plane]:
        (row, column), unit = middle(self.shape), half_diagonal(self.shape)
        return [TERMS[term]((y - row) / unit, (x - column) / unit) for term in self.terms]

    def _relative(self, y: Plane, x: Plane) -> Plane:
        start = np.ones(np.broadcast_shapes(y.shape, x.shape))
        return sum((c * term for c, term in zip(self.coefficients, self._terms(y, x), strict=True)), start)

    def at(self, y: Plane, x: Plane) -> Plane:
        """Return the illumination at rows y and columns x, which broadcast."""
        return self.level * self._relative(y, x)

    def slopes(self, y: Plane, x: Plane) -> Plane:
        """Return the derivatives by the parameters over the value, shape (parameters, ...)."""
        relative = self._relative(y, x)
        return np.stack([np.full_like(relative, 1 / self.level), *(term / relative for term in self._terms(y, x))])

    def moved(self, values: Sequence[float]) -> "Illumination":
        """Return the same shape with other parameters."""
        return Illumination(
            level=float(values[0]),
            shape=self.shape,
            terms=self.terms,
            coefficients=tuple(map(float, values[1:])),
        )


def _square(centre: Place, radius_px: float, y: Plane, x: Plane) -> Plane:
    return np.asarray(((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / radius_px**2)


def _by_centre(centre: Place, radius_px: float, y: Plane, x: Plane, by_square: Plane) -> list[Plane]:
    """Return the derivatives by row and column of the centre, from that by (r / R)²."""
    return [-2 * (place - own) / radius_px**2 * by_square for place, own in zip((y, x), centre, strict=True)]
