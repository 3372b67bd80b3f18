"""The project's own source files, and what tests of the house read from them."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from tests.support.places import ROOT

N = TypeVar("N", ast.FunctionDef, ast.ClassDef)

SOURCES = sorted(p for room in ("calibration", "drivers", "services") for p in (ROOT / room).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Yield the dotted names that a file imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def definitions(kind: type[N]) -> Iterator[tuple[str, N, int]]:
    """Yield each function or class: file and line, its node, and how many lines it has."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, kind):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                yield f"{path.relative_to(ROOT).as_posix()}:{node.lineno}", node, lines
