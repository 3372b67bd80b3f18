"""What files say beside the rows of frames: masters and models by their sidecars, what cameras make of exposures."""

from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path

from calibration.errors import HeaderError
from calibration.frames import FrameKind
from services.catalogue.catalogue import Catalogue
from services.catalogue.history import EXPOSURE_MADE
from services.catalogue.models import ModelRow
from services.catalogue.rows import FactRow, FrameRow, MasterRow, is_unchanged
from services.files.disk import Disk, reported
from services.files.fits import Unreadable, pixel_hash, read_header, read_pixels
from services.files.layout import Layout, part_path
from services.indexing.checksums import as_it_lies, check_pixels
from services.indexing.model_sidecar import read_model_sidecar
from services.indexing.problems import FileProblem
from services.indexing.sidecar import read_sidecar
from services.indexing.walk import counts


def finish_masters(layout: Layout, disk: Disk) -> None:
    """Name masters whose sidecar says that they are whole, and which a kill kept from their names."""
    for sidecar in sorted(layout.masters.glob("master_*.json")):
        master = sidecar.with_suffix(".fits")
        if master.exists() or not _is_whole(part_path(master), sidecar):
            continue
        for path in (layout.planes_path(master), master):
            if part_path(path).is_file() and not path.exists():
                with reported(path):
                    disk.rename_no_replace(part_path(path), path)
                    disk.fsync_folder(path.parent)


def _is_whole(part: Path, sidecar: Path) -> bool:
    try:
        return part.is_file() and pixel_hash(read_pixels(part)) == read_sidecar(sidecar).pixel_sha256
    except Unreadable:
        return False


def adopt_masters(catalogue: Catalogue, layout: Layout, problems: list[FileProblem]) -> tuple[int, int]:
    """Add masters whose file and sidecar are there, forget those whose file is gone or damaged; return both numbers.

    A damaged one is a problem at each start, as long as its file is there.
    """
    known = catalogue.known_masters()
    gone = [path for path in known if not counts(layout.absolute(path))]
    for name in known.keys() - gone:
        if is_unchanged(known[name], layout.absolute(name)):
            continue
        (changed,) = catalogue.masters(path=name)
        checked = _checked(changed, layout, problems)
        if checked is None:
            gone.append(name)
        else:
            catalogue.add_master(checked)
    catalogue.remove_masters(gone)
    added = [row for sidecar in _unknown(known, layout) if (row := _found(sidecar, layout, problems)) is not None]
    for row in added:
        catalogue.add_master(row)
    return len(added), len(gone)


def adopt_models(catalogue: Catalogue, layout: Layout, problems: list[FileProblem]) -> None:
    """Add models whose sidecar is there, and forget those whose sidecar is gone; no model is changed in its place."""
    known = {row.path: row for row in catalogue.models()}
    found: dict[str, ModelRow] = {}
    for sidecar in sorted(layout.models.glob("[!.]*/model.json")):
        path = layout.relative(sidecar.parent)
        try:
            found[path] = replace(read_model_sidecar(sidecar), path=path)
        except Unreadable as error:
            problems.append(FileProblem(path=layout.relative(sidecar), reason=error.detail))
    catalogue.remove_models(known.keys() - found)
    for path, row in found.items():
        if known.get(path) != row:
            catalogue.add_model(row)


def adopt_exposures(catalogue: Catalogue, layout: Layout, rows: Iterable[FrameRow]) -> None:
    """Note which exposures the cameras of new darks of ours make of others, as a frame of each set says (EXPASKED)."""
    darks = (row for row in rows if row.kind is not FrameKind.FLAT)
    for row in {row.set_id: row for row in darks}.values():
        try:
            header = read_header(layout.absolute(row.path))
        except (Unreadable, HeaderError, OSError):
            continue  # whoever reads the frame says so
        if row.exposure_us is not None and header.asked_exposure_us is not None and row.date_obs is not None:
            catalogue.add_fact(
                FactRow(
                    camera=row.camera,
                    name=EXPOSURE_MADE,
                    value=float(row.exposure_us),
                    at=row.date_obs,
                    settings={"asked_us": header.asked_exposure_us},
                )
            )


def _unknown(known: Collection[str], layout: Layout) -> list[Path]:
    """Return the sidecars of masters that are there and have no row."""
    sidecars = ((sidecar, sidecar.with_suffix(".fits")) for sidecar in sorted(layout.masters.glob("master_*.json")))
    return [sidecar for sidecar, master in sidecars if layout.relative(master) not in known and master.is_file()]


def _found(sidecar: Path, layout: Layout, problems: list[FileProblem]) -> MasterRow | None:
    try:
        row = replace(read_sidecar(sidecar), path=layout.relative(sidecar.with_suffix(".fits")))
    except Unreadable as error:
        problems.append(FileProblem(path=layout.relative(sidecar), reason=str(error)))
        return None
    return _checked(row, layout, problems)


def _checked(row: MasterRow, layout: Layout, problems: list[FileProblem]) -> MasterRow | None:
    """Return a master's row as its file lies there; None when that is damaged, which is added to the problems."""
    path = layout.absolute(row.path)
    try:
        check_pixels(row, path)
        return as_it_lies(row, path)
    except Unreadable as error:
        problems.append(FileProblem(path=row.path, reason=error.detail))
    except OSError as error:
        problems.append(FileProblem(path=row.path, reason=error.strerror or str(error)))
    return None
