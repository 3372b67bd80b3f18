"""What the whole suite needs before its first test."""

import subprocess
import sys

import pytest

from tests.support.places import ROOT


def pytest_sessionstart(session: pytest.Session) -> None:
    """Compile the kernels once, before the workers begin: a night in a test is shorter than the compiler takes."""
    if hasattr(session.config, "workerinput") or session.config.option.collectonly:
        return
    warm_up = [sys.executable, "-m", "services.cli.main", "warm-up"]
    subprocess.run(warm_up, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, timeout=900)
