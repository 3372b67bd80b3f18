"""What the commands of datasets print: messages of one kind together, and sums that add up."""

from pathlib import Path

from services.cli.dataset import by_kind
from services.cli.dataset_process import said_of
from services.datasets.processing.processing import looked_at
from tests.support.dataset_frames import write_series


def test_messages_that_differ_in_numbers_or_in_the_files_they_name_stand_together() -> None:
    notes = [(f"its bytes are those of /data/backup {n}/{name}.raw", Path(f"/data/{n}.raw")) for n, name in ENUMERATED]
    notes.insert(1, ("it is empty", Path("/data/void.raw")))
    assert list(by_kind(notes, most=2)) == [
        "/data/0.raw: its bytes are those of /data/backup 0/a.raw",
        "/data/1.raw: its bytes are those of /data/backup 1/b.raw",
        "  and 1 more (--verbose names them)",
        "it is empty:",
        "  /data/void.raw",
    ]


ENUMERATED = tuple(enumerate("abc"))


def test_files_in_masters_and_those_left_out_are_all_files(tmp_path: Path) -> None:
    first, *_ = write_series(tmp_path / "set", "DARK", [700, 701, 702])
    (first.parent / "copy_f9.fits").write_bytes(first.read_bytes())
    (first.parent / "broken.fits").write_text("no frame", encoding="utf-8")
    said = list(said_of(looked_at(tmp_path / "set", tmp_path / "out"), tmp_path / "out", verbose=False))
    assert "5 files: 3 in masters, 2 left out" in said
