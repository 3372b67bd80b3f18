"""FITS frames of a dataset as a laboratory has them, with levels and noise that a test chooses."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from astropy.io import fits

SHAPE = (24, 32)
NOISE = 5.0


def write_frame(
    path: Path,
    kind: str,
    level: float,
    *,
    celsius: float | None = 20.0,
    seconds: float | None = 1.0,
    shape: tuple[int, int] = SHAPE,
    noise: float = NOISE,
    seed: int = 0,
    **cards: object,
) -> Path:
    """Write a frame of whole numbers about a level, and return its path; the same seed gives the same noise."""
    rng = np.random.default_rng([seed, int(level), *path.name.encode()])
    pixels = np.rint(level + rng.normal(0.0, noise, shape)) if noise else np.full(shape, level)
    header = fits.Header({"CALTYPE": kind})
    known = {"TEMP": celsius, "EXPTIME": seconds, **cards}
    header.update({name: value for name, value in known.items() if value is not None})
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.PrimaryHDU(pixels.astype(np.uint16), header).writeto(path)
    return path


def write_series(folder: Path, kind: str, levels: Sequence[float], **more: object) -> list[Path]:
    """Write frames of one attempt, one for each level."""
    name = kind.lower()
    return [
        write_frame(folder / "fits" / f"{name}_f{n}.fits", kind, level, seed=n, **more)  # type: ignore[arg-type]
        for n, level in enumerate(levels)
    ]
