"""Where things are: the tree of files of one configuration, and the place that a run reads and writes."""

import os
import stat
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


def check_folders(loaded: LoadedConfig) -> None:
    """Refuse folders in which nothing can be stored, before anything is made or moved.

    Raises
    ------
    ConfigInvalid
        With the key that names the folder, and what is in its way. Room on the disk is not asked for here.
    """
    layout = layout_of(loaded)
    own = (layout.root, layout.hidden, layout.logs, layout.reports, layout.refused)
    named = {
        "dark_capture.output_dir": layout.darks,
        "flat_capture.output_dir": layout.flats,
        "master_frames.output_dir": layout.masters,
    }
    for key, folder in (*(("storage.root", each) for each in own), *named.items()):
        if in_the_way := _in_the_way(folder):
            detail = f"{loaded.path}: {key}: files cannot be stored in {folder}: {in_the_way}"
            raise ConfigInvalid(detail, advice=f"put that right, or name another folder in {key}")


def _in_the_way(folder: Path) -> str:
    """Return in words why a folder cannot be made, or nothing be stored in it; "" where it can."""
    for each in (folder, *folder.parents):
        try:
            is_folder = stat.S_ISDIR(each.stat().st_mode)
        except (FileNotFoundError, NotADirectoryError):
            if each.is_symlink():
                return f"{each} is a link to something that is not there"
            continue
        except (OSError, ValueError) as error:
            return f"{each}: {getattr(error, 'strerror', None) or error}"
        if not is_folder:
            return f"{each} is a file, not a folder"
        return "" if os.access(each, os.W_OK | os.X_OK) else f"nightcal may not write into {each}"
    return f"there is no {folder.anchor or folder}"  # a drive that is not there


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
