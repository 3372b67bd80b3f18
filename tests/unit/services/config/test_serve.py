"""The sections of the daemon: what they allow, in the words that an observer reads."""

from pathlib import Path

import pytest

from services.config import loads, show, simulated
from services.errors import ConfigInvalid
from tests.support.places import ROOT

HERE = Path("/somewhere/observatory.yaml")

EVERYTHING = """
programmes:
  - name: broadband
    gain: 26
    offset: 30
    temperatures: [-10.0]
    resume_within: null
    bias:  {frames: 100, max_age_days: 90}
    darks: {exposures: [60, 120, 300], frames: 30, max_age_days: 60}
    flats: {filters: [L, R, G, B], frames: 40, max_age_days: 7, source: panel}
  - name: narrowband
    gain: 56
    temperatures: [-10.0]
    darks: {exposures: [300, 600], frames: 30, max_age_days: 60}
    flats: {filters: [Ha, O3, S2], frames: 30, max_age_days: 14, source: panel}
serve:
  listen: "127.0.0.1:8642"
  allowed_hosts: []
  token_file: null
  timezone: null
  windows:
    - {name: midday, cron: "0 10 * * *", hours: 6, takes: [bias, darks], needs: [roof_closed]}
    - {name: evening, sun: [8.0, -1.0], half: evening, takes: [flats, darks]}
    - {name: dawn_sky, sun: [-9.0, -1.0], half: morning, takes: [flats]}
  blackout: ["2026-12-24/2026-12-26", 2027-01-01]
  ageing_at: 0.8
  resume_after_unsafe: 600.0
  certify: automatic
  publish: null
  keep_logs_days: 60
  webhooks: [{url_env: NIGHTCAL_WEBHOOK, template: ntfy, on: [failed, stale, suspect, unsafe, worker_died, recovered]}]
  heartbeat: {url_env: NIGHTCAL_HEARTBEAT, every: 300.0}
dome:      {device_id: 0}
telescope: {device_id: 0}
cooling: {target_temperature: -10}
filter_wheel: {}
site: {latitude: 48, longitude: 11}
"""


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigInvalid) as caught:
        loads(text, Path("o.yaml"))
    return caught.value.detail.splitlines()


def test_all_sections_of_the_daemon_are_understood_and_shown_as_they_load() -> None:
    loaded = loads(EVERYTHING, HERE)
    assert [each.name for each in loaded.config.programmes] == ["broadband", "narrowband"]
    assert [each.name for each in loaded.config.serve.windows] == ["midday", "evening", "dawn_sky"]
    assert loaded.config.serve.heartbeat is not None
    assert loaded.config.dome is not None
    assert loaded.config.telescope is not None
    assert loads(show(loaded), HERE).config == loaded.config


@pytest.mark.parametrize(
    "text", ["telescope: {focal_length: 2000}", "telescope:", "telescope: {anything: [1], host: x}"]
)
def test_a_telescope_without_a_device_is_the_guides_section(text: str) -> None:
    loaded = loads(text, HERE)
    assert loaded.config.telescope is None
    assert "telescope: accepted, not used" in loaded.notes


def test_a_telescope_that_is_a_device_may_have_the_guides_keys_beside_it() -> None:
    loaded = loads("telescope: {device_id: 1, focal_length: 1500, aperture: 200, type: RC, focal_ratio: 7.5}", HERE)
    assert loaded.config.telescope is not None
    assert loaded.config.telescope.device_id == 1
    assert "telescope.focal_length: accepted, not used" in loaded.notes


def test_lists_with_every_line_commented_out_are_empty() -> None:
    config = loads("programmes:\nserve:\n  windows:\n    # - name: x\n  webhooks:\n  blackout:\n", HERE).config
    assert (config.programmes, config.serve.windows, config.serve.webhooks, config.serve.blackout) == ((), (), (), ())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("serve: {listen: 8642}", "serve.listen: found 8642 — allowed: an address and a port, such as 127.0.0.1:8642"),
        ("serve: {listen: 'http://x:1'}", "serve.listen: found 'http://x:1' — allowed: an address and a port"),
        ("serve: {listen: 'localhost:70000'}", "(a port is a number up to 65535, 0 for a free one)"),
        ("serve: {listen: '127.0.0.256:80'}", "serve.listen: found '127.0.0.256:80' — allowed: an address and a port"),
        ("serve: {listen: '::1:80'}", "serve.listen: found '::1:80' — allowed: an address and a port"),
        ("serve: {timezone: Europe/Munich}", "serve.timezone: found 'Europe/Munich' — allowed: the name of a time"),
        ("serve: {timezone: ../../etc/passwd}", "serve.timezone: found '../../etc/passwd' — allowed: the name"),
        ("serve: {blackout: [2026-02-30]}", "serve.blackout[0]: found '2026-02-30' — allowed: a day such as"),
        ("serve: {blackout: [2026]}", "serve.blackout[0]: found 2026 — allowed: a day such as 2026-12-24, or"),
        ("serve: {blackout: [2026-02-30]}", "(there is no such day)"),
        ("serve: {blackout: [20260230]}", "serve.blackout[0]: found 20260230 — allowed: a day such as 2026-12-24"),
        ("serve: {blackout: [2026-12-26/2026-12-24]}", "(the first day comes first)"),
        ("serve: {blackout: 2026-12-26}", "serve.blackout: found '2026-12-26' — allowed: a list"),
        ("serve: {ageing_at: 0}", "serve.ageing_at: found 0 — allowed: a number above 0 and at most 1"),
        ("serve: {ageing_at: 1.01}", "serve.ageing_at: found 1.01 — allowed: a number above 0 and at most 1"),
        ("serve: {token: abc}", "serve.token: tokens and addresses to be called do not belong in this"),
        ("serve: {token_env: 'my secret!'}", "serve.token_env: found something else — allowed: the name of an env"),
        ("serve: {webhooks: [{url: 'http://x'}]}", "serve.webhooks[0].url: tokens and addresses to be called"),
        ("serve: {webhooks: [{template: ntfy}]}", "serve.webhooks[0].url_env: missing"),
        ("serve: {webhooks: [{url_env: X, template: nfty}]}", "allowed: json, ntfy (did you mean `ntfy`?)"),
        ("serve: {webhooks: [{url_env: X, on: [dawn]}]}", "serve.webhooks[0].on[0]: found 'dawn' — allowed: failed, "),
        ("serve: {heartbeat: {every: 300}}", "serve.heartbeat.url_env: missing"),
        ("serve: {certify: maybe}", "serve.certify: found 'maybe' — allowed: automatic, by_hand"),
        ("serve: {windows: [{name: a}]}", "serve.windows[0]: a window needs either `cron` with `hours`, or `sun`"),
        ("serve: {windows: [{name: a, cron: '0 1 * * *'}]}", "`hours` says how long a window of `cron` is open"),
        ("serve: {windows: [{name: a, cron: '0 1 * * *', hours: 0}]}", "hours: found 0 — allowed: a number above 0"),
        ("serve: {windows: [{name: a, cron: '0 1 * * *', hours: 745}]}", "at most 744"),
        ("serve: {windows: [{name: a, cron: '0 1 * *', hours: 1}]}", "(it has 4 fields)"),
        ("serve: {windows: [{name: a, cron: '0 25 * * *', hours: 1}]}", "windows[0].cron: found '0 25 * * *'"),
        ("serve: {windows: [{name: a, cron: '0 0 30 2 *', hours: 1}]}", "cron: found '0 0 30 2 *' — allowed: five"),
        ("serve: {windows: [{name: a, cron: '@daily', hours: 1}]}", "(it has 1 field)"),
        ("serve: {windows: [{name: a, cron: */30 * * * *, hours: 1}]}", 'such as "*/30 * * * *"'),
        ("serve: {windows: [{name: a, sun: [8]}]}", "serve.windows[0].sun: found [8] — allowed: a list of 2"),
        ("serve: {windows: [{name: a, sun: [91, 0]}]}", "sun[0]: found 91 — allowed: a number from -90"),
        ("serve: {windows: [{name: a, sun: [8, -1], takes: [lights]}]}", "takes[0]: found 'lights' — allowed: bias"),
        ("serve: {windows: [{name: a, sun: [8, -1], takes: []}]}", "takes: found [] — allowed: a not empty list"),
        ("serve: {windows: [{name: a, sun: [8, -1], needs: [dark]}]}", "needs[0]: found 'dark' — allowed: roof_"),
        ("serve: {windows: [{name: a, sun: [8, -1], needs: ['sun_below:x']}]}", "needs[0]: found 'sun_below:x'"),
        ("serve: {windows: [{name: a, sun: [8, -1], needs: ['sun_below:nan']}]}", "needs[0]: found 'sun_below:nan'"),
        ("programmes: {name: a}", "programmes: found {\"name\": \"a\"} — allowed: a list"),
        ("programmes: [{gain: 3}]", "programmes[0].name: missing"),
        ("programmes: [{name: a, darks: {exposures: [0]}}]", "darks.exposures[0]: found 0 — allowed: a number above 0"),
        ("programmes: [{name: a, darks: {exposures: [90000]}}]", "exposures[0]: found 90000 — allowed: a number"),
        ("programmes: [{name: a, bias: {frames: 0}}]", "programmes[0].bias.frames: found 0 — allowed: a whole number"),
        ("programmes: [{name: a, temperatures: warm}]", "programmes[0].temperatures"),
        ("programmes: [{name: a, flats: {source: lamp}}]", "flats.source: found 'lamp' — allowed: panel, sky"),
        ("dome: {device_id: -1}", "dome.device_id: found -1"),
        ("telescope: {device_id: 0, focal: 3}", "telescope.focal: unknown key — did you mean"),
    ],
)  # fmt: skip
def test_what_is_not_allowed_is_said_in_words(text: str, expected: str) -> None:
    found = problems(text)
    assert any(expected in line for line in found), found
    assert all(line.startswith("o.yaml:1:") for line in found)


def test_a_rehearsal_keeps_programmes_and_windows_and_calls_nobody() -> None:
    loaded = loads(EVERYTHING.replace("dome:      {device_id: 0}", "dome: {device_id: 3, host: roof}"), HERE)
    config = simulated(loaded).config
    assert config.programmes == loaded.config.programmes
    assert config.serve.windows == loaded.config.serve.windows
    assert (config.serve.webhooks, config.serve.heartbeat) == ((), None)
    assert config.dome is not None
    assert (config.dome.host, config.dome.device_id) == (None, 0)


def test_the_example_of_the_readme_is_understood_together_with_the_file_that_is_copied() -> None:
    blocks = (ROOT / "README.md").read_text(encoding="utf-8").split("```yaml\n")[1:]
    example = next(block for block in blocks if "programmes:" in block).partition("```")[0]
    copied = (ROOT / "config_calibration_frames.yaml").read_text(encoding="utf-8")
    config = loads(f"{copied}\n{example}", ROOT / "config_calibration_frames.yaml").config
    assert [window.name for window in config.serve.windows] == ["midday", "evening"]
