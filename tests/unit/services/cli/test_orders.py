"""`nightcal certify`, `reject` and `invalidate` of masters on the command line, and the taking back of each."""

from datetime import timedelta
from pathlib import Path

import pytest

from calibration.frames import FrameKind
from services.catalogue.catalogue import Catalogue
from services.files.layout import Layout
from tests.support.made_root import START, Root
from tests.unit.services.cli.test_commands import folder, nightcal

__all__ = ["folder"]

N = 12


@pytest.fixture
def library(folder: Path) -> Path:
    """Return a root with two master biases, the later one suspect."""
    root = Root(folder)
    for number in (0, 60):
        root.taken = 2880 * number
        root.add(FrameKind.BIAS, 0.001, N, set_id=f"bias{number}", night=f"{START + timedelta(number):%Y-%m-%d}")
        root.pattern += 15.0
    root.build(darks=False)
    root.catalogue.close()
    return folder


def states(folder: Path) -> list[str]:
    with Catalogue(Layout(folder).catalogue, read_only=True) as catalogue:
        return [str(row.status) for row in sorted(catalogue.masters(), key=lambda row: row.valid_from or row.built_at)]


def names(folder: Path) -> list[str]:
    with Catalogue(Layout(folder).catalogue, read_only=True) as catalogue:
        rows = sorted(catalogue.masters(), key=lambda row: row.valid_from or row.built_at)
    return [Path(row.path).name for row in rows]


def test_a_suspect_master_is_listed_with_its_reason_and_certified_by_name(
    library: Path, capsys: pytest.CaptureFixture[str]
):
    first, second = names(library)
    assert states(library) == ["certified", "suspect"]
    assert nightcal("library", "list") == 0
    good, bad = capsys.readouterr().out.splitlines()
    assert good.startswith(f"certified  {first}")
    assert bad.startswith(f"suspect    {second}")
    assert f"unlike {first}: level changed: the level is 15." in bad
    assert bad.count("level changed") == 1
    assert nightcal("certify", "master_bias_*") == 0
    assert states(library) == ["certified", "suspect"], "a pattern means those that serve"
    assert nightcal("certify", second) == 0
    assert states(library) == ["superseded", "certified"]
    assert nightcal("certify", second, "--undo") == 0
    assert states(library) == ["certified", "suspect"]
    capsys.readouterr()
    assert nightcal("certify", second, "--undo") == 2
    assert f"nobody has certified {second}" in capsys.readouterr().err


def test_a_rejected_master_is_listed_and_taken_back(library: Path, capsys: pytest.CaptureFixture[str]):
    _, second = names(library)
    assert nightcal("reject", f"master_frames/{second}") == 2
    assert "reject needs --reason TEXT" in capsys.readouterr().err
    assert nightcal("reject", f"master_frames/{second}", "--reason", "fog  on the window") == 0
    assert capsys.readouterr().out.splitlines()[0] == f"rejected   master_frames/{second}: fog on the window"
    assert states(library) == ["certified", "bad"]
    assert nightcal("reject") == 0
    assert f"master_frames/{second}: fog on the window" in capsys.readouterr().out
    assert nightcal("reject", second, "--undo") == 0
    assert states(library) == ["certified", "suspect"]


def test_older_masters_end_and_a_rebuilt_catalogue_knows_it(library: Path, capsys: pytest.CaptureFixture[str]):
    first, second = names(library)
    assert nightcal("invalidate", "biases", "--since", "2026-02-01T12:00Z") == 2
    assert "invalidate needs --reason TEXT" in capsys.readouterr().err
    assert nightcal("invalidate", "biases", "--since", "2026-02-01T12:00Z", "--reason", "a new power supply") == 0
    line, told = capsys.readouterr().out.splitlines()
    assert line.startswith(f"superseded {first}")
    assert line.endswith("invalidated from 2026-02-01 12:00 UTC on: a new power supply")
    assert told == "1 master invalidated"
    assert nightcal("catalogue", "rebuild") == 0
    assert states(library) == ["superseded", "suspect"]
    capsys.readouterr()
    assert nightcal("invalidate", "biases", "--undo") == 0
    assert capsys.readouterr().out.splitlines()[-1] == "1 master no longer invalidated"
    assert states(library) == ["certified", "suspect"]
    assert nightcal("invalidate", first, "--reason", "dew") == 0
    assert states(library) == ["superseded", "suspect"], second


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothing"], "allowed: biases, darks, flats, or the file of a master"),
        (["darks", "flats"], "allowed: one of biases, darks and flats, or masters"),
        (["flats", "--since", "yesterday"], "--since: found 'yesterday' — allowed: an ISO time"),
        (["flats", "--since", "2999-01-01"], "is yet to come: say it when it has come"),
        (["flats"], "there is no master that it concerns"),
        (["master_flat_1.fits"], "there is no master master_flat_1.fits that may serve below"),
    ],
)
def test_what_cannot_be_invalidated_is_said(
    library: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
):
    assert nightcal("invalidate", *words, "--reason", "x") == 2
    assert said in capsys.readouterr().err
    assert states(library) == ["certified", "suspect"]
