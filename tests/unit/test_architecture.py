"""Rules of the house that import-linter cannot see: circles, sizes, kernels, clocks."""

import ast
import graphlib
import re

import grimp
import pytest

from tests.support.places import ROOT
from tests.support.sources import SOURCES, definitions, imports


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


def test_the_page_of_the_design_names_every_room():
    page = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    rooms = [p.name for package in ("calibration", "drivers", "services") for p in (ROOT / package).glob("*/")]
    rooms += [p.stem for p in (ROOT / "services").glob("*.py")]
    assert not [room for room in rooms if not room.startswith("__") and f"`{room}`" not in page]


def test_every_link_between_the_pages_leads_somewhere():
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    links = [(p, link) for p in pages for link in re.findall(r"\]\(([^):#]+)\)", p.read_text(encoding="utf-8"))]
    assert links
    assert not [(page.name, link) for page, link in links if not (page.parent / link).exists()]


def test_the_page_of_failures_names_tests_that_exist():
    page = (ROOT / "tests" / "end_to_end" / "README.md").read_text(encoding="utf-8")
    files = list((ROOT / "tests").rglob("test_*.py"))
    named = set(re.findall(r"`([\w/]*test_\w+\.py)`", page))
    assert named
    assert not [name for name in named if not any(p.as_posix().endswith(f"/{name}") for p in files)]
    functions = {
        name for p in files for name in re.findall(r"^def (test_\w+)", p.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert not set(re.findall(r"`(test_\w+)`", page)) - functions


def test_no_file_imports_in_a_circle(monkeypatch: pytest.MonkeyPatch):
    """Imports inside functions and those for type checkers only count as well."""
    monkeypatch.syspath_prepend(ROOT)
    graph = grimp.build_graph("calibration", "drivers", "services", cache_dir=None)
    order = graphlib.TopologicalSorter({m: graph.find_modules_directly_imported_by(m) for m in graph.modules})
    try:
        order.prepare()
    except graphlib.CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


def test_files_stay_small():
    assert not [path for path in SOURCES if len(path.read_text(encoding="utf-8").splitlines()) > 400]


def test_functions_stay_small():
    lengths = sorted((lines, where) for where, node, lines in definitions(ast.FunctionDef))
    assert lengths[-1][0] <= 60, lengths[-1]
    assert lengths[len(lengths) * 9 // 10][0] <= 20


def test_long_classes_say_why():
    """A class of more than 200 lines gives the reason in its docstring, in a sentence with "in one class"."""
    long = {node for _, node, lines in definitions(ast.ClassDef) if lines > 200}
    unexplained = {node.name for node in long if not re.search(r"in\s+one\s+class", ast.get_docstring(node) or "")}
    assert unexplained == set()
