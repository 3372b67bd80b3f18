"""Benchmarks that are stopped leave nothing behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.places import ROOT

BENCHMARK = """
import pathlib, signal, sys, threading
signal.signal(signal.SIGINT, signal.default_int_handler)
folder = pathlib.Path(sys.argv[1])
folder.mkdir()
try:
    print("at work", flush=True)
    threading.Event().wait(60)
finally:
    threading.Event().wait(1)  # gigabytes to remove: longer than `subprocess.run` would wait
    folder.rmdir()
"""

TABLE = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from tests.benchmarks.__main__ import to_its_end
to_its_end([sys.executable, "-c", *sys.argv[1:]])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is sent to a process group")
def test_ctrl_c_waits_until_a_benchmark_has_removed_its_frames(tmp_path: Path) -> None:
    command = [sys.executable, "-c", TABLE, BENCHMARK, str(tmp_path / "frames")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True) as table:
        assert table.stdout is not None
        assert table.stdout.readline() == "at work\n"
        os.killpg(table.pid, signal.SIGINT)
        table.wait(30)
    assert list(tmp_path.iterdir()) == []
