"""The storage of one configuration: its tree of files and its library of masters."""

from collections.abc import Iterator
from contextlib import contextmanager

from services.config.models import LoadedConfig
from services.errors import RunCode, StorageError
from services.storage.catalogue import Catalogue
from services.storage.layout import Layout
from services.storage.library import MasterLibrary


def layout_of(loaded: LoadedConfig) -> Layout:
    """Return the tree of files below a configuration's root."""
    config = loaded.config
    return Layout(
        loaded.root,
        darks=config.dark_capture.output_dir,
        flats=config.flat_capture.output_dir,
        masters=config.master_frames.output_dir,
    )


@contextmanager
def open_library(loaded: LoadedConfig) -> Iterator[MasterLibrary]:
    """Open a configuration's masters for reading.

    Raises
    ------
    StorageError
        Nothing was ever taken below this root.
    """
    layout = layout_of(loaded)
    if not layout.catalogue.exists():
        raise StorageError(f"{layout.root} holds no catalogue: run the workflow first", code=RunCode.READ_FAILED)
    with Catalogue(layout.catalogue, read_only=True) as catalogue:
        yield MasterLibrary(layout, catalogue)
