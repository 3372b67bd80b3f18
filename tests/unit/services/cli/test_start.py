"""What the command line costs before it does anything, and what it answers to words it does not know."""

import io
import json
import os
import subprocess
import sys
import time
from contextlib import redirect_stdout
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

import pytest
import typer

from services.cli.failures import run_app
from services.cli.main import COMMANDS, app
from services.cli.parameters import loaded_config
from services.cli.run import chosen_steps, until_time
from services.cli.runners import dark_runner, flat_runner, master_runner, workflow
from services.errors import Usage
from services.planning.request import ALL_STEPS, Step
from services.version import version
from tests.support.places import ROOT

HEAVY = (
    "numpy",
    "astropy",
    "pydantic",
    "scipy",
    "numba",
    "matplotlib",
    "rich",
    "yaml",
    "requests",
    "structlog",
    "alpaca",
)
NOW = datetime(2026, 1, 31, 22, 0, tzinfo=UTC)


def python(*words: str, folder: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a Python of its own."""
    variables = {**os.environ, "PYTHONIOENCODING": "utf-8", **environment}
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=variables,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("module", ["services.cli.main", "services.cli.runners"])
def test_starting_the_command_line_loads_nothing_heavy(module: str):
    code = f"import sys, json, {module}; print(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    assert json.loads(python("-c", code).stdout) == []


def test_the_list_of_commands_imports_none_of_them():
    code = "import sys, json; from services.cli.main import app, run_app; run_app(app, ['--help'], name='nightcal'); "
    code += "print(json.dumps(sorted(m for m in sys.modules if m.startswith('services.cli.'))))"
    loaded = json.loads(python("-c", code).stdout.splitlines()[-1])
    assert loaded == [f"services.cli.{name}" for name in ("earlier", "failures", "main", "parameters")]


def _listed(*words: str) -> list[str]:
    """Return the commands that a group's help lists."""
    shown = io.StringIO()
    with redirect_stdout(shown):
        assert run_app(app, [*words, "--help"], name="nightcal") == 0
    lines = shown.getvalue().partition("Commands:")[2].splitlines()
    return [line.split()[0] for line in lines if line.strip()]


def test_every_listed_command_exists_and_says_what_it_does(capsys: pytest.CaptureFixture[str]):
    inner = {tuple(each.words.split()[:-1]) for each in COMMANDS}
    groups = sorted(list(words[:n]) for words in inner for n in range(len(words) + 1))
    groups = [words for n, words in enumerate(groups) if words not in groups[:n]]
    commands = [[*group, name] for group in groups for name in _listed(*group) if [*group, name] not in groups]
    assert len(commands) == sum(not each.hidden for each in COMMANDS)
    for words in commands:
        assert run_app(app, [*words, "--help"], name="nightcal") == 0
        usage, *text = capsys.readouterr().out.splitlines()
        assert usage.startswith(f"Usage: nightcal {' '.join(words)} [OPTIONS]"), usage
        assert len(text[1].strip()) > 10, words


def test_help_names_every_option_of_the_guide(capsys: pytest.CaptureFixture[str]):
    assert workflow(["--help"]) == 0
    text = capsys.readouterr().out
    for option in (
        "--config", "-c", "--step", "darks|flats|masters|models|all", "--no-confirm", "--debug", "-d", "--log-level",
        "--darks-only", "--flats-only", "--masters-only", "--skip-cooling", "--skip-warmup",
        "--simulator", "--dry-run", "--until", "--fresh",
    ):  # fmt: skip
        assert option in text, option


def test_no_line_of_the_list_of_commands_is_cut_short(capsys: pytest.CaptureFixture[str]):
    for words in (
        ["--help"],
        ["config", "--help"],
        ["catalogue", "--help"],
        ["library", "--help"],
        ["model", "bias", "--help"],
    ):
        assert run_app(app, words, name="nightcal") == 0
        assert "..." not in capsys.readouterr().out.partition("Commands:")[2]


def test_help_names_every_choice_of_the_methods(capsys: pytest.CaptureFixture[str]):
    from services.config.models import MasterFrames, RejectionMethod

    assert master_runner(["--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert ", ".join(list(RejectionMethod)[:-1]) + f" or {list(RejectionMethod)[-1]}" in text
    choices = get_args(MasterFrames.model_fields["normalization_method"].annotation)
    assert f"{', '.join(choices[:-1])} or {choices[-1]}" in text


@pytest.mark.parametrize(
    ("runner", "options"),
    [
        (dark_runner, "--num-darks --science-exposure-time --bias-only --science-only --skip-cooling --skip-warmup"),
        (flat_runner, "--num-flats --target-count-rate --tolerance"),
        (master_runner, "--darks-only --flats-only --rejection-method --sigma-threshold --normalization-method"),
    ],
)
def test_help_of_a_runner_names_its_options(runner, options: str, capsys: pytest.CaptureFixture[str]):
    assert runner(["--help"]) == 0
    text = capsys.readouterr().out
    for option in [*options.split(), "--config", "--simulator", "--no-confirm", "--dry-run"]:
        assert option in text, option


def test_the_version_is_the_projects(capsys: pytest.CaptureFixture[str]):
    assert run_app(app, ["--version"], name="nightcal") == 0
    assert capsys.readouterr().out == f"nightcal {version()}\n"
    assert f'version = "{version()}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "--step", "lights"], "'darks', 'flats', 'masters', 'models', 'all'"),
        (["run", "--log-level", "loud"], "'debug', 'info'"),
        (["run", "--frobnicate"], "--frobnicate"),
        (["run", "--config"], "--config"),
        (["frobnicate"], "frobnicate"),
        (["simulate", "--port", "70000"], "--port"),
        (["run", "--step", "darks", "--flats-only"], "--step darks and --flats-only contradict each other"),
        (["run", "--darks-only", "--masters-only"], "--darks-only and --masters-only contradict each other"),
        (["run", "--until", "25:00"], "--until: found '25:00' — allowed: HH:MM (local time)"),
        (["run", "--until", "sunrise"], "has no `site`"),
        (["run", "--until", "2020-01-01T00:00Z"], "is over"),
    ],
)  # fmt: skip
def test_words_that_are_not_understood_end_with_2(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config_calibration_frames.yaml").write_text("{}", encoding="utf-8")
    assert run_app(app, words, name="nightcal") == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("runner", "words", "said"),
    [
        (dark_runner, ["--num-darks", "0"], "--num-darks: dark_capture.num_darks: found 0 — allowed: a whole number"),
        (dark_runner, ["--num-darks", "many"], "--num-darks"),
        (dark_runner, ["--science-exposure-time", "1e9"], "--science-exposure-time: dark_capture."),
        (dark_runner, ["--bias-only", "--science-only"], "contradict each other"),
        (flat_runner, ["--target-count-rate", "1.5"], "--target-count-rate: flat_capture.target_count_rate: found 1.5"),
        (flat_runner, ["--tolerance", "nan"], "--tolerance: flat_capture.count_tolerance"),
        (master_runner, ["--rejection-method", "best"], "--rejection-method: master_frames.rejection_method: found"),
        (master_runner, ["--sigma-threshold", "-1"], "--sigma-threshold: master_frames.sigma_threshold: found -1"),
        (master_runner, ["--darks-only", "--flats-only"], "contradict each other"),
    ],
)  # fmt: skip
def test_options_of_the_runners_are_checked_like_the_yaml(
    runner, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
):
    assert runner(words) == 2
    assert said in capsys.readouterr().err


def test_a_step_may_be_said_twice_in_one_meaning():
    assert chosen_steps(None, []) == chosen_steps("all", []) == ALL_STEPS
    assert chosen_steps("darks", [Step.DARKS]) == (Step.DARKS,)
    assert chosen_steps(None, [Step.FLATS]) == (Step.FLATS,)
    with pytest.raises(Usage):
        chosen_steps("all", [Step.FLATS])


def test_older_spellings_of_commands_stay_valid_and_are_not_listed(capsys: pytest.CaptureFixture[str]):
    for words in (["library", "certify", "--help"], ["archive", "--help"], ["library", "list", "--help"]):
        assert run_app(app, words, name="nightcal") == 0
    capsys.readouterr()
    assert run_app(app, ["--help"], name="nightcal") == 0
    listed = [
        line.split()[0] for line in capsys.readouterr().out.partition("Commands:")[2].splitlines() if line.strip()
    ]
    assert {"run", "certify", "reject", "invalidate", "library", "config", "catalogue", "report"} <= set(listed)
    assert "archive" not in listed


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("23:30Z", NOW + timedelta(hours=1.5)),
        ("05:30Z", NOW + timedelta(hours=7.5)),
        ("05:30:15Z", NOW + timedelta(hours=7.5, seconds=15)),
        ("22:00Z", NOW + timedelta(days=1)),
        ("2026-02-01T05:30Z", NOW + timedelta(hours=7.5)),
        ("2026-02-01T05:30+02:00", NOW + timedelta(hours=5.5)),
    ],
)
def test_until_is_the_next_such_moment(text: str, moment: datetime):
    assert until_time(text, NOW) == moment


def test_until_without_a_zone_is_local():
    local = until_time("05:30", NOW).astimezone()
    assert (local.hour, local.minute) == (5, 30)
    assert timedelta(0) < local - NOW <= timedelta(days=1)


@pytest.mark.parametrize(
    "words",
    [
        "run", "run --no-confirm", "run --dry-run", "run --step masters", "run --darks-only", "secure", "report",
        "library list", "library certify", "library archive", "library publish", "certify", "archive",
        "catalogue rebuild", "config check",
        "invalidate flats --reason cleaned",
    ],
)  # fmt: skip
def test_a_folder_without_a_configuration_stops_every_command_that_needs_one(
    words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The file of the clone was taken instead, so that the frames of a real camera were stored in the clone."""
    monkeypatch.chdir(tmp_path)
    assert run_app(app, words.split(), name="nightcal") == 2
    said = capsys.readouterr().err
    assert f"{tmp_path / 'config_calibration_frames.yaml'}: there is no such file" in said
    assert "What to do: go to the folder in which your frames are stored, or name its file with --config" in said
    assert str(ROOT / "config_calibration_frames.yaml") in said, "what a new user copies is named"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("runner", [workflow, dark_runner, flat_runner, master_runner])
def test_the_scripts_of_the_guide_stop_in_a_folder_without_a_configuration(
    runner, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    assert runner([]) == 2
    assert "there is no such file" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_demo_needs_no_configuration_and_writes_below_the_folder_it_is_called_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    loaded = loaded_config(None, simulator=True)
    assert loaded.config.camera.is_simulator
    assert loaded.root == tmp_path / "simulated"
    (tmp_path / "config_calibration_frames.yaml").write_text("dark_capture: {num_darks: 7}", encoding="utf-8")
    loaded = loaded_config(None, simulator=True)
    assert (loaded.config.dark_capture.num_darks, loaded.root) == (7, tmp_path / "simulated")


@pytest.mark.parametrize(
    ("words", "code"),
    [("run", 2), ("run --dry-run", 2), ("run --step flats", 2), ("config check", 2), ("run --simulator --dry-run", 0)],
)
@pytest.mark.parametrize("below", ["", "tests"])
def test_frames_of_a_real_camera_are_not_stored_in_the_folder_of_the_program(
    words: str, code: int, below: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    file = tmp_path / "night.yaml"
    file.write_text(f"storage: {{root: {json.dumps(str(ROOT / below))}}}", encoding="utf-8")
    assert run_app(app, [*words.split(), "--config", str(file)], name="nightcal") == code
    if code:
        assert "a part of the program's own folder" in capsys.readouterr().err


@pytest.mark.parametrize(("code", "expected"), [(3, 3), (None, 0), (0, 0), ("it failed", 1)])
def test_a_program_that_exits_by_itself_keeps_its_exit_code(
    code: object, expected: int, capsys: pytest.CaptureFixture[str]
) -> None:
    failing = typer.Typer()

    @failing.command()
    def end() -> None:
        raise SystemExit(code)

    assert run_app(failing, [], name="x") == expected
    assert ("it failed" in capsys.readouterr().err) == (code == "it failed")


@pytest.mark.skipif(sys.platform == "win32", reason="no `head` there")
def test_a_reader_that_has_had_enough_is_no_failure() -> None:
    program = "import sys; from services.cli.failures import run_app; from services.cli.main import COMMANDS, app; "
    program += "code = run_app(app, ['config', 'schema'], name='nightcal'); print(code, file=sys.stderr)"
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as done:
        assert done.stdout is not None
        assert done.stderr is not None
        done.stdout.close()
        assert done.stderr.read() == "0\n"
    assert done.returncode == 0


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the zone of a process cannot be changed there")
@pytest.mark.parametrize(
    ("text", "now", "moment"),
    [
        ("02:30", "2026-10-24T20:00Z", "2026-10-25T00:30Z"),  # the first of two
        ("02:30", "2026-10-25T00:40Z", "2026-10-25T01:30Z"),  # the second
        ("02:30", "2026-10-25T01:10Z", "2026-10-25T01:30Z"),  # now is in the second hour itself
        ("02:30", "2026-10-25T01:40Z", "2026-10-26T01:30Z"),
        ("05:30", "2026-10-24T20:00Z", "2026-10-25T04:30Z"),
        ("2026-10-25T02:30", "2026-10-25T00:40Z", "2026-10-25T01:30Z"),
        ("02:30", "2026-03-28T20:00Z", "2026-03-29T01:30Z"),  # no clock shows it
        ("05:30", "2026-03-28T20:00Z", "2026-03-29T03:30Z"),
        ("01:30Z", "2026-10-25T00:40Z", "2026-10-25T01:30Z"),
    ],
)
def test_until_over_the_changes_of_the_clocks(
    monkeypatch: pytest.MonkeyPatch, text: str, now: str, moment: str
) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        found = until_time(text, datetime.fromisoformat(now))
    finally:
        monkeypatch.undo()
        time.tzset()
    assert found == datetime.fromisoformat(moment)
