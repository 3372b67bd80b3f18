"""Masters of a real CCD give the published spatial noise (EMVA 1288 reference set 001, release 3 evaluation).

50 darks and 50 flats of 5.16 ms, 640 x 480, 12 bit. The data lie beside the checkout where there is room for them;
without them the test is skipped. K = 0.280769 DN/e- (published; a photon transfer curve over many exposures gives it,
one exposure cannot).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from calibration.combine.recipe import Method
from calibration.frames import FrameKind
from drivers.clock import ManualClock
from services.catalogue.catalogue import Catalogue
from services.events.bus import Events
from services.files.layout import Layout
from services.indexing.index import index_folder
from services.masters import MasterSettings, Outcome, build_all
from services.root import Place
from tests.support.places import SHARED

DATA = SHARED / "data" / "emva001"
K_DN_E = 0.280769
DSNU_E, PRNU_PCT = 0.55179, 0.432704

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"the reference frames are not at {DATA}")


@dataclass(frozen=True)
class Planes:
    """MEAN and SIGMA in DN."""

    mean: np.ndarray
    sigma: np.ndarray

    @property
    def spatial_variance(self) -> float:
        """Spatial variance in DN², corrected for what temporal noise is left in the mean: SIGMA² on average."""
        return float(self.mean.var() - np.mean(self.sigma**2))


def dsnu_and_prnu(found: dict[FrameKind, Planes]) -> tuple[float, float]:
    """Return DSNU1288 in e- and PRNU1288 in %, by the standard's formulas.

    The standard wants the mean of the flats as they are: the master flat with its divisor and its dark put back.
    """
    dark, light = found[FrameKind.DARK], found[FrameKind.FLAT]
    flats = Planes(mean=light.mean + dark.mean, sigma=np.sqrt(light.sigma**2 - dark.sigma**2))
    prnu = (flats.spatial_variance - dark.spatial_variance) ** 0.5 / light.mean.mean()
    return dark.spatial_variance**0.5 / K_DN_E, 100 * prnu


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def masters(layout: Layout, method: Method) -> dict[FrameKind, Planes]:
    """Run the masters step over the two folders and read back what it wrote."""
    clock = ManualClock()
    events = Events(run_id="peers", clock=clock)
    with Catalogue(layout.catalogue) as catalogue:
        for folder in ("darks", "flats"):
            index_folder(catalogue, DATA / folder, layout=layout)
        outcomes = build_all(
            settings=MasterSettings(method=method),
            place=Place(layout=layout, catalogue=catalogue),
            events=events,
            clock=clock,
        )
    events.close()
    assert {o.status for o in outcomes} == {Outcome.BUILT}, outcomes
    found = {}
    for outcome in outcomes:
        assert outcome.path is not None
        assert outcome.n == 50
        with fits.open(outcome.path) as master, fits.open(layout.planes_path(outcome.path)) as planes:
            mean, sigma = (unit.data.astype(np.float64) for unit in (master[0], planes["SIGMA"]))
            divisor = master[0].header.get("FLATNORM", 1.0)
            found[outcome.kind] = Planes(mean=divisor * mean, sigma=divisor * sigma)
    return found


def test_published_dsnu_and_prnu_from_the_masters_alone(layout: Layout) -> None:
    found = masters(layout, Method.NONE)
    dsnu_e, prnu_pct = dsnu_and_prnu(found)
    print(f"DSNU1288 {dsnu_e:.5f} e- (published {DSNU_E}), PRNU1288 {prnu_pct:.5f} % (published {PRNU_PCT})")
    assert dsnu_e == pytest.approx(DSNU_E, rel=0.005)
    assert prnu_pct == pytest.approx(PRNU_PCT, rel=0.005)


def test_clipping_biases_the_temporal_variance_a_little(layout: Layout) -> None:
    found = masters(layout, Method.SIGMA_CLIP)
    dsnu_e, prnu_pct = dsnu_and_prnu(found)
    print(f"with sigma_clip: DSNU1288 {dsnu_e:.5f} e-, PRNU1288 {prnu_pct:.5f} %")
    assert dsnu_e == pytest.approx(DSNU_E, rel=0.15)
    assert prnu_pct == pytest.approx(PRNU_PCT, rel=0.02)
