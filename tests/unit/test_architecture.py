"""Rules of the house that import-linter cannot see: subpackages, kernels, clocks."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.places import ROOT

SOURCES = sorted(p for room in ("calibration", "drivers", "services") for p in (ROOT / room).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Yield the dotted names a file imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def inside(name: str, *packages: str) -> bool:
    """Whether a dotted name is one of the packages or lies in one."""
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def test_there_is_something_to_look_at():
    assert len(SOURCES) > 50


DOORS = {"calibration_workflow", "dark_capture", "flat_capture", "master_frame_builder"}
PURE = [
    p
    for p in SOURCES
    if "calibration" in p.relative_to(ROOT).parts[:1] and p.stem not in DOORS and "_runner" not in p.stem
]


@pytest.mark.parametrize("path", PURE, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_calibration_reads_and_writes_nothing(path):
    assert not [n for n in imports(path) if inside(n, "astropy.io", "os", "shutil", "tempfile", "pathlib.Path")]


def test_numba_lives_in_kernels_only():
    users = {p for p in SOURCES if any(inside(n, "numba") for n in imports(p))}
    assert users
    assert all(p.stem.endswith("kernels") or p.parent.name == "kernels" for p in users)


def test_one_clock():
    """`time` is imported by the clock alone; sockets' real deadlines take `Clock.real`."""
    users = {p.relative_to(ROOT).as_posix() for p in SOURCES if any(inside(n, "time") for n in imports(p))}
    assert users <= {"drivers/clock.py"}
    naming_now = [p for p in SOURCES if "datetime.now(" in p.read_text(encoding="utf-8")]
    assert [p.relative_to(ROOT).as_posix() for p in naming_now] == ["drivers/clock.py"]


def test_files_and_functions_stay_small():
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 400, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 60, f"{path}:{node.lineno} {node.name}"
