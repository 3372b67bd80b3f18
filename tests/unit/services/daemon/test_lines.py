"""Lines over pipes: none is torn, none is kept waiting for, none grows without bound."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.daemon.lines import LONGEST, Speaker, lines_of
from tests.support.places import ROOT


@given(st.lists(st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=50), max_size=20))
def test_lines_arrive_however_they_are_cut(texts: list[str]) -> None:
    source, sink = os.pipe()
    data = "".join(f"{text}\n" for text in texts).encode() + b"torn"
    os.write(sink, data)
    os.close(sink)
    assert list(lines_of(source)) == texts
    os.close(source)


def test_a_line_that_is_too_long_is_left_out_and_the_next_one_is_heard() -> None:
    source, sink = os.pipe()

    def flood() -> None:
        os.write(sink, b"first\n")
        for _ in range(LONGEST // 1_000_000 + 2):
            os.write(sink, b"x" * 1_000_000)
        os.write(sink, b"\nlast\n")
        os.close(sink)

    thread = threading.Thread(target=flood)
    thread.start()
    assert list(lines_of(source)) == ["first", "last"]
    thread.join()
    os.close(source)


PRINTS = """
import os, sys, structlog
from services.daemon.lines import claim_pipes
_, sink = claim_pipes()
structlog.get_logger().error("step failed", exc_info=ValueError("x"))
print("x" * 100_000)
print("complained", file=sys.stderr)
os.write(sink, b"done")
"""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only some systems have a disk that is always full")
def test_a_log_on_a_full_disk_ends_no_child() -> None:
    with Path("/dev/full").open("wb") as full:
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": full}
        child = subprocess.run([sys.executable, "-c", PRINTS], check=False, cwd=ROOT, timeout=100, **pipes)
    assert (child.stdout, child.returncode) == (b"done", 0)


def test_whoever_speaks_is_not_kept_waiting_and_what_must_be_said_is() -> None:
    source, sink = os.pipe()
    speaker = Speaker(sink, limit=100)
    for number in range(20_000):  # more than any pipe holds
        speaker.say(f"line {number}")
    speaker.say("the end", must=True)
    speaker.close(timeout_s=0.0)
    heard: list[str] = []
    reader = threading.Thread(target=lambda: heard.extend(lines_of(source)))
    reader.start()
    speaker.close(timeout_s=60.0)
    os.close(sink)
    reader.join()
    os.close(source)
    assert heard[-1] == "the end"
    assert heard[:100] == [f"line {number}" for number in range(100)]


def test_nobody_who_listens_is_no_error() -> None:
    source, sink = os.pipe()
    os.close(source)
    speaker = Speaker(sink)
    speaker.say("anybody?")
    speaker.close(timeout_s=60.0)
    os.close(sink)
