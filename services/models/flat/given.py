"""Vignetting that is known beforehand: the three JSON files that the command takes."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from calibration.models.flat.shapes import Mapped, Radial, Shape, half_diagonal, middle
from services.errors import Usage
from services.files.fits import read_pixels
from services.files.units import Unreadable

_LEAST = 0.05
"""A flat falls off to no less than this anywhere on the frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenFiles:
    """At most one of the files is named."""

    lensfun: Path | None = None
    radial: Path | None = None
    empirical: Path | None = None

    @property
    def named(self) -> tuple[str, Path] | None:
        """What the file is and its path; None where none is named.

        Raises
        ------
        Usage
            More than one is named.
        """
        files = {"lensfun": self.lensfun, "radial": self.radial, "empirical": self.empirical}
        found = [(word, path) for word, path in files.items() if path is not None]
        if len(found) > 1:
            words = " and ".join(f"--{word}-json" for word, _ in found)
            raise Usage(f"{words} both say what the vignetting is", advice="name one of them")
        return found[0] if found else None


def given_shape(files: GivenFiles, shape: tuple[int, int]) -> Shape | None:
    """Return the vignetting that a file says for frames of a shape; None where none is named.

    Raises
    ------
    Usage
        The file cannot be read, does not say what it has to, or its vignetting is not positive on the frame.
    """
    named = files.named
    if named is None:
        return None
    word, path = named
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        made = _READERS[word](said, shape, path)
    except OSError as error:
        raise Usage(f"{path} cannot be read: {error.strerror}", advice=_ADVICE[word]) from error
    except (ValueError, KeyError, TypeError, AttributeError, Unreadable) as error:
        raise Usage(f"{path} does not say a vignetting ({error!r})", advice=_ADVICE[word]) from error
    y = np.linspace(0, shape[0] - 1, 64)[:, None]
    x = np.linspace(0, shape[1] - 1, 64)[None, :]
    values = made.at(y, x)
    if not np.isfinite(values).all() or values.min() < _LEAST:
        raise Usage(
            f"{path}: the vignetting falls to {np.nanmin(values):.2f} on frames of {shape[1]} x {shape[0]} pixels",
            advice="check the coefficients and the radius: no optics lose so much light on the sensor",
        )
    return made


def _lensfun(said: Mapping[str, Any], shape: tuple[int, int], _: Path) -> Shape:
    if str(said.get("model", "pa")) != "pa":
        raise ValueError(f"model {said['model']}: only pa is known")
    return Radial(
        centre=_centre(said, shape),
        radius_px=half_diagonal(shape),
        powers=(2, 4, 6),
        coefficients=(float(said["k1"]), float(said.get("k2", 0.0)), float(said.get("k3", 0.0))),
    )


def _radial(said: Mapping[str, Any], shape: tuple[int, int], _: Path) -> Shape:
    coefficients = [float(c) for c in said["coefficients"]]
    if not coefficients or not coefficients[0] > 0:
        raise ValueError("coefficients[0], the value at the centre, is not positive")
    radius = float(said.get("radius_px", half_diagonal(shape)))
    if not radius > 0:
        raise ValueError("radius_px is not positive")
    return Radial(
        centre=_centre(said, shape),
        radius_px=radius,
        powers=tuple(range(1, len(coefficients))),
        coefficients=tuple(c / coefficients[0] for c in coefficients[1:]),
    )


def _empirical(said: Mapping[str, Any], shape: tuple[int, int], path: Path) -> Shape:
    image = read_pixels(path.parent / said["file"]) if "file" in said else np.array(said["map"])
    image = np.asarray(image, np.float64)
    if image.ndim != 2 or not np.isfinite(image).all() or not image.min() > 0:
        raise ValueError("the map is no image of positive numbers")
    return Mapped(image=image, shape=shape)


def _centre(said: Mapping[str, Any], shape: tuple[int, int]) -> tuple[float, float]:
    """Return row and column of the axis; the middle of the frame where it is not said."""
    row, column = middle(shape)
    return float(said.get("centre_y", row)), float(said.get("centre_x", column))


_READERS = {"lensfun": _lensfun, "radial": _radial, "empirical": _empirical}
_ADVICE = {
    "lensfun": 'write {"model": "pa", "k1": -0.3, "k2": 0.1, "k3": 0}, with centre_x and centre_y in pixels if known',
    "radial": 'write {"coefficients": [1, 0, -0.25], "radius_px": 4000}, of r / radius_px to the powers 0, 1, 2 …',
    "empirical": 'write {"map": [[0.8, 0.9, 0.8], …]} or {"file": "map.fits"}',
}
