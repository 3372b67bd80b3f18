"""Models that were written are read back, and a sidecar that somebody edited or cut is refused in words."""

import json
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path

import pytest
from astropy.io import fits

from calibration.models.flat.model import FlatModel, Term
from services.errors import Usage
from services.models.bias.records import Loaded as LoadedBias
from services.models.dark.records import Loaded as LoadedDark
from services.models.flat.records import Loaded as LoadedFlat
from services.models.records import LoadedModel

KINDS = [LoadedBias, LoadedDark, LoadedFlat]
FLAT = FlatModel(
    terms=(Term.A, Term.B), reference_c=0.0, reference_s=1.0, coldest_c=-10.0, warmest_c=10.0,
    shortest_s=1.0, longest_s=2.0, common=((1e-6, 0.0), (0.0, 1e-8)),
)  # fmt: skip


def written(kind: type[LoadedModel], folder: Path, **said: object) -> Path:
    """Write a model's two files with nothing but what is asked for in the sidecar."""
    planes = folder / kind.FOLDER / f"{kind.KIND}_model.fits"
    planes.parent.mkdir(parents=True)
    header = fits.Header([("MODELID", "1234")])
    fits.PrimaryHDU(header=header).writeto(planes)
    planes.with_suffix(".json").write_text(json.dumps({"form": kind.FORM, "identity": "1234", **said}))
    return planes


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("said", [{}, {"model": {}}, {"model": None}, {"model": {"terms": ["Z"]}, "family": 3}])
def test_a_sidecar_that_describes_no_model_is_refused(kind: type[LoadedModel], said: dict[str, object], tmp_path: Path):
    planes = written(kind, tmp_path, **said)
    with pytest.raises(Usage, match="damaged") as refused:
        kind.load(tmp_path)
    assert planes.with_suffix(".json").as_posix() in str(refused.value).replace("\\", "/")


@pytest.mark.parametrize(
    "way", [".", "flat_model_fits", "flat_model_fits/flat_model.json", "flat_model_fits/flat_model.fits"]
)
def test_each_way_to_name_a_model_leads_to_it(way: str, tmp_path: Path):
    plain = {key: [each.value if isinstance(each, StrEnum) else each for each in value] if key == "terms" else value
             for key, value in asdict(FLAT).items()}  # fmt: skip
    planes = written(LoadedFlat, tmp_path, model={**plain, "more": 1}, inputs=[{}, {}])
    found = LoadedFlat.load(tmp_path / way)
    assert (found.model, found.frames, found.planes, found.folder) == (FLAT, 2, planes, tmp_path)
