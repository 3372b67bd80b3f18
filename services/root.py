"""The storage of one configuration: its tree of files."""

from services.config.models import LoadedConfig
from services.files.layout import Layout


def layout_of(loaded: LoadedConfig) -> Layout:
    """Return the tree of files below a configuration's root."""
    config = loaded.config
    return Layout(
        loaded.root,
        darks=config.dark_capture.output_dir,
        flats=config.flat_capture.output_dir,
        masters=config.master_frames.output_dir,
    )
