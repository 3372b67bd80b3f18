"""What programmes and windows ask of one another, and of the rest of the file."""

from pathlib import Path

import pytest

from services.config import load, loads, simulated
from services.errors import ConfigInvalid

PROGRAMMES = "programmes:\n"
COOLED = "cooling: {target_temperature: -10}\n"
SITE = "site: {latitude: 48, longitude: 11}\n"
WHEEL = "filter_wheel: {opaque: [Dark]}\n"
SITED = SITE + WHEEL
PANEL = "{source: panel, filters: [L, R]}"


def window(text: str, before: str = "") -> str:
    return f"{before}serve:\n  windows:\n    - {{name: w, {text}}}\n"


def problems(text: str, path: Path = Path("o.yaml")) -> list[str]:
    with pytest.raises(ConfigInvalid) as caught:
        loads(text, path)
    return caught.value.detail.splitlines()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "programmes:\n  - {name: a, bias: {}}\n  - {name: A, darks: {exposures: 5}}\n",
            "o.yaml:3:12: programmes[1].name: found 'A', as number 1 is named — allowed: a name of its own",
        ),
        ("programmes:\n  - {name: a, gain: 3}\n", "o.yaml:2:5: programmes[0]: it wants nothing — allowed: at least"),
        (
            "programmes: [{name: a, darks: {exposures: [60, 300, 60.0]}}]",
            "o.yaml:1:53: programmes[0].darks.exposures[2]: it is listed twice in this programme — keep one of them",
        ),
        (
            "programmes: [{name: a, darks: {exposures: [0.3, 0.30000001]}}]",
            "programmes[0].darks.exposures[1]: it is listed twice",
        ),
        (
            WHEEL + "programmes: [{name: a, flats: {filters: [Ha, L, Hα]}}]",
            "programmes[0].flats.filters[2]: it is listed twice",
        ),
        (
            COOLED + "programmes: [{name: a, temperatures: [-10, -10.0], bias: {}}]",
            "programmes[0].temperatures[1]: it is listed twice",
        ),
        (
            "programmes: [{name: a, darks: {exposures: [0.0005, 5]}}]",
            "programmes[0].darks.exposures[0]: found 0.0005 — allowed: at least dark_capture.min_exposure (0.001)",
        ),
        (
            "programmes: [{name: a, temperatures: [-10], bias: {}}]",
            "programmes[0].temperatures: set-points are listed, but nothing cools — add a `cooling` section that is on",
        ),
        (
            "cooling: off\nprogrammes: [{name: a, temperatures: -10, bias: {}}]",
            "programmes[0].temperatures: set-points are listed, but nothing cools",
        ),
        (
            COOLED + "programmes: [{name: a, temperatures: as_they_come, bias: {}}]",
            "o.yaml:2:38: programmes[0].temperatures: found 'as_they_come' — allowed: set-points in °C while `cooling`",
        ),
        ("programmes: [{name: a, binning: [2, 1], bias: {}}]", "programmes[0].binning: found [2, 1] — allowed: the"),
        (
            "programmes: [{name: a, flats: {filters: [L]}}]",
            "programmes[0].flats.filters: found [L] — it needs a `filter_wheel` section that is enabled",
        ),
        (
            WHEEL + "programmes: [{name: a, flats: {filters: [L, Dark]}}]",
            "programmes[0].flats.filters[1]: found 'Dark' — allowed: a filter that lets light through",
        ),
        (
            "camera: {camera_type: simulator}\nprogrammes: [{name: a, flats: {filters: [L, H-beta]}}]",
            "o.yaml:2:45: programmes[0].flats.filters[1]: found 'H-beta' — allowed: L, R, G, B, Ha, OIII, SII, and",
        ),
        (
            WHEEL + "programmes: [{name: a, flats: {source: sky}}]",
            "programmes[0].flats.source: found 'sky' — it needs a `site` section (dusk or dawn?); panel needs none",
        ),
        (
            f"{SITED}programmes: [{{name: a, flats: {PANEL}}}, {{name: b, flats: {{source: sky, filters: R}}}}]",
            "programmes[1].flats: flats of R are wanted from the sky here, and from the panel in 'a' — allowed: one",
        ),
        (
            f"{SITED}flat_capture: {{source: sky}}\nprogrammes: [{{name: a, flats:}}, {{name: b, flats: {PANEL}}}]",
            "programmes[1].flats: flats of L, R are wanted from the panel here, and from the sky in 'a'",
        ),
        (
            ("camera: {alpaca: {gain: 26}}\n"
            f"{SITED}programmes: [{{name: a, gain: 26, flats: {PANEL}}}, {{name: b, flats: {{source: sky}}}}]"),
            "programmes[1].flats: flats of L, R are wanted from the sky here, and from the panel in 'a'",
        ),
        (
            "serve: {windows: [{name: w, cron: '0 1 * * *', hours: 1}, {name: W, cron: '0 2 * * *', hours: 1}]}",
            "serve.windows[1].name: found 'W', as number 1 is named",
        ),
        (window("sun: [8, -1]"), "o.yaml:3:22: serve.windows[0].sun: it needs to be known where the sun stands"),
        (window("sun: [-1, 8], half: evening", SITE), "found [-1, 8] — allowed: the higher altitude first, as the sun"),
        (window("sun: [8, -1], half: morning", SITE), "found [8, -1] — allowed: the lower altitude first, as the sun"),
        (window("sun: [3, 3]", SITE), "found [3, 3] — allowed: two altitudes that differ"),
        (window("sun: [70, 66]", SITE), "it never opens: at this latitude the sun stands between -65.5 and 65.5"),
        (window("cron: '0 1 * * *', hours: 1, half: evening"), "windows[0].half: found evening — allowed: only with"),
        (
            window("cron: '0 1 * * *', hours: 1, takes: [bias, darks]", "darkness: none\n"),
            "serve.windows[0].takes: found [bias, darks] with `darkness: none` — allowed: that, where",
        ),
        (window("sun: [8, -1], needs: [roof_closed]", SITE), "needs[0]: found roof_closed — it needs"),
        (
            window("sun: [8, -1], needs: [parked]", SITE + "telescope: {device_id: 0, enabled: false}\n"),
            "needs[0]: found parked — it needs a `telescope` section that is enabled",
        ),
        (window("cron: '0 1 * * *', hours: 1, needs: ['sun_below:-12']"), "needs[0]: found sun_below:-12 — it needs"),
        (
            window("sun: [8, -1], needs: [roof_closed, roof_open]", SITE + "dome: {}\n"),
            "serve.windows[0].needs: a roof is never both open and closed",
        ),
        (window("sun: [8, -1], takes: [flats, flats]", SITE), "takes[1]: 'flats' is listed twice — keep one of them"),
        ("serve: {listen: '0.0.0.0:8642'}", "o.yaml:1:17: serve.listen: found '0.0.0.0:8642': beyond this computer"),
        ("serve: {listen: '[::]:8642'}", "beyond this computer a token is asked for: add token_env or token_file"),
        ("serve: {listen: 'observatory.lan:8642'}", "beyond this computer a token is asked for"),
        ("serve: {token_env: A, token_file: b}", "serve.token_file: stands beside `token_env` — keep one of them"),
        ("serve: {publish: darks}", "serve.publish: found 'darks' — allowed: a folder of its own, apart from"),
        ("serve: {publish: flats/2026/out}", "serve.publish: found 'flats/2026/out' — allowed"),
        ("serve: {publish: 'x/../master_frames'}", "serve.publish: found 'x/../master_frames' — allowed"),
        ("serve: {publish: .}", "serve.publish: found '.' — allowed"),
        ("serve: {publish: .nightcal/out}", "serve.publish: found '.nightcal/out' — allowed"),
        (
            "storage: {root: data}\ndark_capture: {output_dir: d/x}\nserve: {publish: data/d/x/y}",
            "serve.publish: found 'data/d/x/y' — allowed",
        ),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_said_at_its_place(text: str, expected: str) -> None:
    (found,) = problems(text)
    assert expected in found


@pytest.mark.parametrize(
    "text",
    [
        # two programmes that want the same dark and the same flat share them
        (
            "cooling: {target_temperature: 0}\nfilter_wheel: {}\nprogrammes:\n"
            "  - {name: a, temperatures: -10, darks: {exposures: 60, frames: 30}, flats: {filters: L}}\n"
            "  - {name: b, temperatures: -10, darks: {exposures: [60, 10], frames: 90}, flats: {filters: L}}\n"
        ),
        # other gains have flats of their own, from wherever
        f"{SITED}programmes: [{{name: a, gain: 1, flats: {PANEL}}}, {{name: b, gain: 2, flats: {{source: sky}}}}]",
        f"{SITED}programmes: [{{name: a, flats: {PANEL}}}, {{name: b, flats: {{source: sky, filters: Ha}}}}]",
        "programmes: [{name: a, temperatures: as_they_come, bias:}]",
        "cooling: off\nprogrammes: [{name: a, temperatures: as_they_come, bias:}]",
        "programmes: [{name: a, darks: {exposures: [0.001, 3600]}}]",  # longer than dark_capture.max_exposure
        "camera: {camera_type: simulator}\nprogrammes: [{name: a, flats: {filters: [Hα]}}]",
        "camera: {simulator: {filters: [O3]}}\nprogrammes: [{name: a, flats: {filters: [O3]}}]",
        window("cron: '0 1 * * *', hours: 1, takes: [darks], needs: ['sun_below:-12']", SITE + "darkness: none\n"),
        window("cron: '0 1 * * *', hours: 1", "darkness: none\n"),
        window("sun: [8, -1], needs: [roof_closed, parked]", SITE + "dome: {}\ntelescope: {device_id: 0}\n"),
        window("sun: [8, -1], needs: [roof_closed]", SITE + "camera: {camera_type: simulator}\n"),
        "serve: {listen: 'localhost:1'}",
        "serve: {listen: '[::1]:8642'}",
        "serve: {listen: '0.0.0.0:8642', token_env: TOKEN}",
        "serve: {publish: published}",
        "serve: {publish: darks_published}",
        "serve: {publish: ../elsewhere}",
    ],
)
def test_what_goes_together_is_accepted(text: str) -> None:
    loads(text, Path("o.yaml"))


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("serve: {token: s3cret}", "token_env"),
        ("serve: {webhooks: [{url: 'https://ntfy.example/s3cret'}]}", "url_env"),
        ("serve: {webhooks: ['https://ntfy.example/s3cret']}", "a section of keys"),
        ("serve: {webhooks: [{url_env: 'https://ntfy.example/s3cret'}]}", "the name of an environment variable"),
        ("serve: {heartbeat: 'https://ping.example/s3cret'}", "a section of keys"),
        ("serve: {token_env: 's3cret!'}", "the name of an environment variable"),
    ],
)
def test_a_secret_in_the_file_is_refused_and_not_repeated(text: str, key: str) -> None:
    found = "\n".join(problems(text))
    assert key in found
    assert "s3cret" not in found


def test_what_cannot_be_checked_without_the_devices_is_said() -> None:
    text = (
        WHEEL + "gains: [1, 2]\nprogrammes: [{name: a, flats: {filters: [L, Ha]}}, {name: b, flats: {filters: [L, B]}}]"
    )
    assert {
        "gains: not used: `programmes` say which gains are wanted",
        "programmes: whether the wheel has L, Ha, B is not checked here, but when a run begins",
    } <= {*loads(text, Path("o.yaml")).capture_notes}


def test_paths_start_at_the_file_and_a_rehearsal_publishes_apart(tmp_path: Path) -> None:
    file = tmp_path / "o.yaml"
    file.write_text("serve: {publish: out, token_file: secrets/token}\n", encoding="utf-8")
    loaded = load(file)
    assert loaded.config.serve.publish == str(tmp_path / "out")
    assert loaded.config.serve.token_file == str(tmp_path / "secrets" / "token")
    rehearsed = simulated(loaded)
    assert rehearsed.config.serve.publish == str(rehearsed.root / "published")
