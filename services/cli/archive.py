"""`nightcal archive`: packs the frames that `storage.keep_raw` no longer keeps as they were taken."""

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from services.cli.parameters import default_config
from services.errors import Exit

if TYPE_CHECKING:
    from services.files.layout import Layout
    from services.library.archive import Keep


def archive(path: Path | None, *, simulator: bool, dry_run: bool) -> int:
    """Pack what may be packed below the configuration's root, under its lock; 1 when a frame had to be left."""
    from drivers.clock import SystemClock
    from services.catalogue.catalogue import Catalogue
    from services.config import load, simulated
    from services.library.archive import FOREVER, due
    from services.root import layout_of

    loaded = load(path or default_config())
    loaded = simulated(loaded) if simulator else loaded
    keep = loaded.config.storage.keep_raw
    if keep == FOREVER:
        print("storage.keep_raw is `forever`: nothing is packed — allowed: a number of days, or until_certified")
        return Exit.DONE
    layout = layout_of(loaded)
    if dry_run:
        with Catalogue(layout.catalogue, read_only=True) as catalogue:
            rows = due(catalogue, keep, SystemClock().now())
        print(f"{len(rows)} frames to pack, {sum(row.size for row in rows) / 1e9:.2f} GB")
        return Exit.DONE
    return _pack(layout, keep)


def _pack(layout: "Layout", keep: "Keep") -> int:
    from drivers.clock import SystemClock
    from services.files.locks import RootLock
    from services.indexing.index import adopt, open_catalogue
    from services.library.archive import archive, due
    from services.platform import install_signal_handlers

    wake = threading.Event()
    restore = install_signal_handlers(wake)
    count, left, before, after = 0, 0, 0, 0
    try:
        with RootLock(layout.root), open_catalogue(layout) as catalogue:
            adopt(catalogue, layout)
            for packed in archive(catalogue, layout, due(catalogue, keep, SystemClock().now()), wake=wake):
                if packed.row is None:
                    left += 1
                    print(f"left: {packed.problem}")
                    continue
                count, before, after = count + 1, before + packed.before_bytes, after + packed.row.size
    finally:
        restore()
        print(f"{count} frames packed, {before / 1e9:.2f} GB → {after / 1e9:.2f} GB")
    return Exit.SOME_FAILED if left else Exit.DONE
