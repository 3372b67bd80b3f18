"""Where things are: the tree of files of one configuration, and the place that a run reads and writes."""

from dataclasses import dataclass
from pathlib import Path

from services.catalogue.catalogue import Catalogue
from services.config.models import LoadedConfig
from services.errors import ConfigInvalid
from services.files.disk import REAL_DISK, Disk
from services.files.layout import Layout


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One storage root, opened: its names, its index, and the disk that is written through.

    Attributes
    ----------
    layout : Layout
        Names of files and folders below the root.
    catalogue : Catalogue
        The index of the frames and masters there.
    disk : Disk
        What writes; tests give disks that fail.
    """

    layout: Layout
    catalogue: Catalogue
    disk: Disk = REAL_DISK

    @property
    def root(self) -> Path:
        """The folder that everything lies below."""
        return self.layout.root


def layout_of(loaded: LoadedConfig) -> Layout:
    """Return the tree of files below a configuration's root."""
    config = loaded.config
    return Layout(
        loaded.root,
        darks=config.dark_capture.output_dir,
        flats=config.flat_capture.output_dir,
        masters=config.master_frames.output_dir,
    )


_PROGRAM = Path(__file__).resolve().parents[1]


def check_root(loaded: LoadedConfig) -> None:
    """Refuse to store the frames of a real camera in the program's own folder, which updates and clean-ups change.

    Raises
    ------
    ConfigInvalid
        The root is the program's folder, or lies in it.
    """
    if loaded.config.camera.is_simulator or not loaded.root.resolve().is_relative_to(_PROGRAM):
        return
    detail = f"{loaded.path}: files would go to {loaded.root}, which is a part of the program's own folder"
    advice = (
        "copy the file to a folder that is made for your frames and call nightcal there, or name such a folder in "
        "storage.root; --simulator rehearses here without a camera"
    )
    raise ConfigInvalid(detail, advice=advice)
