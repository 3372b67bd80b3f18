"""Hooks know how a run ended: exit code, what stopped it, summary and report."""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from services.config import from_dict
from services.planning.request import RunOptions, RunResult, Step
from services.workflow.job import Job

NOTES = """\
import json, os, pathlib, sys
known = {k: v for k, v in os.environ.items() if k.startswith("NIGHTCAL_")}
report = pathlib.Path(known.get("NIGHTCAL_REPORT") or "none")
told = {"known": known, "read": json.load(sys.stdin), "has_report": report.is_file()}
pathlib.Path(sys.argv[1]).write_text(json.dumps(told))
sys.exit(int(sys.argv[2]))
"""


def run(root: Path, **hooks: Any) -> RunResult:
    """Run the masters step on a folder."""
    config = {"hooks": hooks, "storage": {"root": str(root)}}
    return Job(from_dict(config, root / "c.yaml"), RunOptions(steps=(Step.MASTERS,))).run()


def noting(path: Path, exit_code: int = 0, **more: Any) -> dict[str, Any]:
    """Return a hook that notes what it knows."""
    return {"command": [sys.executable, "-c", NOTES, str(path), str(exit_code)], **more}


def test_the_last_hook_knows_how_the_run_ended_and_finds_the_report_written(tmp_path: Path):
    root = tmp_path / "Sternwarte Köln"
    result = run(root, before_run=noting(tmp_path / "before"), after_run=noting(tmp_path / "after"))
    told = json.loads((tmp_path / "after").read_text())
    assert told["has_report"]
    assert told["read"] == {
        "hook": "after_run", "run_id": result.run_id, "exit_code": 0, "code": None, "summary": result.detail,
        "report": str(result.report_html), "report_json": str(result.report_json),
    }  # fmt: skip
    texts = {f"NIGHTCAL_{name.upper()}": str(value or 0) if name == "exit_code" else value or "" for name, value in
             told["read"].items()}  # fmt: skip
    assert told["known"] == texts
    before = json.loads((tmp_path / "before").read_text())
    assert before["read"] == {"hook": "before_run", "run_id": result.run_id}


@pytest.mark.parametrize(("policy", "code", "exit_code"), [("continue", None, 0), ("stop", "hook_failed", 1)])
def test_a_last_hook_that_fails_is_in_the_report_all_the_same(tmp_path: Path, policy: str, code: str, exit_code: int):
    result = run(tmp_path / "root", after_run=noting(tmp_path / "after", 3, on_failure=policy))
    assert (result.code, result.exit_code) == (code, exit_code)
    assert result.report_json is not None
    report = json.loads(result.report_json.read_text(encoding="utf-8"))
    assert (report["run"]["code"], report["run"]["exit_code"]) == (code, exit_code)
    assert [w["code"] for w in report["warnings"]] == ["hook_failed"]


def test_a_run_that_a_first_hook_stops_tells_the_last_one(tmp_path: Path):
    result = run(
        tmp_path / "r", before_run=noting(tmp_path / "b", 1, on_failure="stop"), after_run=noting(tmp_path / "a")
    )
    read = json.loads((tmp_path / "a").read_text())["read"]
    assert (read["exit_code"], read["code"]) == (result.exit_code, "hook_failed") == (1, "hook_failed")


@pytest.mark.parametrize("status", [None, 403])
def test_an_address_that_fails_is_named_without_its_secrets(tmp_path: Path, status: int | None):
    class Site(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if status is not None:  # else the connection is closed without an answer
                self.send_error(status)

        def log_message(self, *_: Any) -> None:
            """Print nothing."""

    with HTTPServer(("127.0.0.1", 0), Site) as server:
        place = f"127.0.0.1:{server.server_port}/roof"
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        run(tmp_path, after_run={"url": f"http://anna:geheim@{place}?token=s3cret", "timeout": 10})
        thread.join(10)
    written = [path.read_text("utf-8", "replace") for path in tmp_path.rglob("*.*") if path.is_file()]
    assert any(f"http://{place}" in text for text in written)
    assert not any(secret in text for text in written for secret in ("geheim", "s3cret"))


def test_an_address_hears_it_in_headers(tmp_path: Path):
    heard: dict[str, str] = {}

    class Site(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.update(self.headers.items())
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Print nothing."""

    with HTTPServer(("127.0.0.1", 0), Site) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        result = run(tmp_path / "Köln", after_run={"url": f"http://127.0.0.1:{server.server_port}/off", "timeout": 10})
        thread.join(10)
    assert heard["X-Nightcal-Exit-Code"] == "0"
    assert unquote(heard["X-Nightcal-Report"]) == str(result.report_html)
    assert unquote(heard["X-Nightcal-Summary"]) == result.detail
