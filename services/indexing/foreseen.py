"""What a run would know at its start, for who only asks: the catalogue, and the files that it does not list yet.

Nothing is written, no lock is taken and no pixel is read: headers alone say what the files are. Where the catalogue is
missing or damaged, they say everything.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from services.catalogue.catalogue import Catalogue
from services.files.layout import Layout
from services.indexing.walk import counts, names


@contextmanager
def foreseen(
    layout: Layout, *, longitude_deg: float | None = None, aliases: Mapping[str, str], ignored: bool = False
) -> Iterator[Catalogue]:
    """Open what a run would know, to be read.

    Parameters
    ----------
    layout : Layout
    longitude_deg, aliases
        As for `index_folder`.
    ignored : bool
        The file of the catalogue is damaged: only the frames and masters themselves are asked.

    Raises
    ------
    StorageError
        The catalogue is damaged or was written by a newer version, or a folder cannot be read.
    """
    with Catalogue(layout.catalogue, read_only=True, empty=ignored) as catalogue:
        there, known = names((layout.darks, layout.flats), layout), catalogue.known_files().keys()
        new = sorted(there - known)
        gone = [path for path in known if path not in there and not counts(layout.absolute(path))]
        if not new and not gone:
            yield catalogue
            return
        with catalogue.copied() as copy:
            copy.remove_frames(gone)
            _add(copy, new, layout, longitude_deg, aliases)
            yield copy


def _add(
    copy: Catalogue, new: list[str], layout: Layout, longitude_deg: float | None, aliases: Mapping[str, str]
) -> None:
    """Add what the headers of new files say; what cannot be used is the run's to report."""
    from services.indexing.adopting import adopt_masters  # reading headers takes long to import
    from services.indexing.foreign import index_files
    from services.indexing.problems import FileProblem
    from services.indexing.reading import own_unseen_row, row_or_problem, unseen_row

    problems: list[FileProblem] = []
    read = (row_or_problem(own_unseen_row, layout.absolute(path), path, problems) for path in new)
    ours = {row.path: row for row in read if row is not None}
    copy.add_frames(ours.values())
    foreign = {path: (0, 0) for path in new if path not in ours}
    index_files(copy, foreign, layout, longitude_deg, aliases, row_of=unseen_row)
    adopt_masters(copy, layout, problems)
