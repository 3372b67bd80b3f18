"""What the API answers, over real sockets: state, library, history, orders."""

import json
from collections.abc import Iterator

import pytest

from services.catalogue.rows import MasterStatus
from services.daemon.reading import MASKED, masked
from services.files.layout import Layout
from tests.support.served_api import EARLIER, MASTER, RUN, Served, changed, serve


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("api"), plan={"fingerprint": "f1", "masters": [{"item": "bias"}]}) as found:
        yield found


def test_the_state_is_the_board_and_its_tag_names_the_snapshot(served: Served) -> None:
    answer, state = served.ask("GET", "/api/state")
    tag = answer.getheader("etag", "")
    assert (answer.status, state["seq"], tag) == (200, served.board.seq, f'"{served.board.tag}"')
    assert served.ask("GET", "/api/state", If_None_Match=tag)[0].status == 304
    changed(served.board)
    answer, state = served.ask("GET", "/api/state", If_None_Match=tag)
    assert (answer.status, state["seq"]) == (200, served.board.seq)


def test_every_answer_has_the_headers_that_keep_browsers_careful(served: Served) -> None:
    for path in ("/api/state", "/healthz", "/nothing", "/openapi.json"):
        answer, _ = served.ask("GET", path)
        assert answer.getheader("content-security-policy", "").startswith("default-src 'none'"), path
        assert answer.getheader("x-content-type-options") == "nosniff"
        assert answer.getheader("cache-control") == "no-store"
        assert answer.getheader("server") is None


def test_the_plan_and_the_library_say_what_is_wanted_and_what_is_there(served: Served) -> None:
    assert served.ask("GET", "/api/plan")[1]["fingerprint"] == "f1"
    library = served.ask("GET", "/api/library")[1]
    assert library["wanted"] == [{"item": "bias"}]
    assert [each["name"] for each in library["there"]] == [MASTER]


def test_masters_are_listed_by_kind_and_status_and_shown_with_their_frames(served: Served) -> None:
    assert [each["name"] for each in served.ask("GET", "/api/masters?kind=DARK")[1]["masters"]] == [MASTER]
    assert served.ask("GET", "/api/masters?kind=FLAT")[1]["masters"] == []
    assert served.ask("GET", f"/api/masters?status={MasterStatus.SUSPECT}")[1]["masters"] == []
    master = served.ask("GET", f"/api/masters/{MASTER}")[1]
    assert master["inputs"] == ["00", "01"]
    assert (master["master"]["status"], master["master"]["binning"]) == ("certified", [1, 1])
    assert master["master"]["statistics"]["snr"] is None  # no number is none that JSON has
    assert served.ask("GET", "/api/masters/master_of_another_name.fits")[0].status == 404


def test_trends_have_level_noise_and_temperature_of_each_master(served: Served) -> None:
    (point,) = served.ask("GET", "/api/trends?kind=DARK")[1]["points"]
    assert (point["level_adu"], point["frame_noise_adu"], point["master_noise_adu"]) == (512.0, 5.0, 1.8)
    assert (point["ccd_temp_c"], point["at"]) == (-10.0, "2026-01-05T22:00:00+00:00")


def test_runs_say_how_they_ended_and_only_one_that_the_daemon_knows_goes_on(served: Served) -> None:
    page = served.ask("GET", "/api/runs")[1]
    assert [(each["run"]["run_id"], each["is_running"]) for each in page["runs"]] == [(RUN, True), (EARLIER, False)]
    assert page["runs"][1]["run"]["code"] == "worker_died"
    assert served.ask("GET", "/api/runs?limit=2")[1]["next"] is None
    first = served.ask("GET", "/api/runs?limit=1")[1]
    assert first["next"] == RUN
    assert served.ask("GET", f"/api/runs?limit=1&before={first['next']}")[1]["runs"][0]["run"]["run_id"] == EARLIER
    assert served.ask("GET", f"/api/runs/{RUN}")[1]["frames"] == 12
    assert served.ask("GET", "/api/runs/20200101T000000-0000")[0].status == 404


def test_events_of_a_run_come_in_pages(served: Served) -> None:
    page = served.ask("GET", f"/api/runs/{RUN}/events?limit=2")[1]
    assert [each["name"] for each in page["events"]] == ["run.started", "step.started"]
    rest = served.ask("GET", f"/api/runs/{RUN}/events?after={page['next']}")[1]
    assert ([each["name"] for each in rest["events"]], rest["next"]) == (["run.finished"], None)
    assert served.ask("GET", "/api/runs/serve/events")[1]["events"][0]["name"] == "mode.changed"
    assert served.ask("GET", "/api/runs/none/events")[0].status == 404


def test_frames_come_in_pages_that_neither_repeat_nor_miss_one(served: Served) -> None:
    seen, before = [], ""
    while True:
        page = served.ask("GET", f"/api/frames?limit=5{before}")[1]
        seen += [each["frame_no"] for each in page["frames"]]
        if page["next"] is None:
            break
        before = f"&before={page['next']}"
    assert seen == list(range(11, -1, -1))
    assert len(served.ask("GET", "/api/frames?kind=FLAT&night=2026-01-05")[1]["frames"]) == 2


def test_nights_count_their_frames(served: Served) -> None:
    nights = served.ask("GET", "/api/nights")[1]["nights"]
    assert [night["night"] for night in nights] == ["2026-01-05", "2026-01-04"]
    assert [(kind["kind"], kind["frames"]) for kind in nights[0]["kinds"]] == [("DARK", 4), ("FLAT", 2)]


def test_the_log_ends_with_its_last_lines_whatever_they_are(served: Served) -> None:
    log = served.ask("GET", "/api/log?lines=5")[1]
    assert [line["event"] for line in log["lines"]] == ["it began", "no json"]
    assert len(served.ask("GET", "/api/log?lines=1")[1]["lines"]) == 1


def test_the_configuration_shows_defaults_and_no_secret(served: Served) -> None:
    _, found = served.ask("GET", "/api/config")
    assert found["config"]["dark_capture"]["num_darks"] == 40
    assert "secret-of-a-hook" not in json.dumps(found)
    assert found["config"]["hooks"]["before_run"]["url"] == "(masked)"


def test_what_may_hold_a_secret_is_masked_wherever_it_stands() -> None:
    document = {
        "serve": {"webhooks": [{"url_env": "http://secret", "on": ["failed"]}], "token_file": None},
        "hooks": [{"command": ["curl", "secret"]}, [{"url": {"deep": "secret"}}]],
    }
    assert masked(document) == {
        "serve": {"webhooks": [{"url_env": MASKED, "on": ["failed"]}], "token_file": None},
        "hooks": [{"command": MASKED}, [{"url": MASKED}]],
    }


def test_orders_are_done_or_begun_and_say_so(served: Served) -> None:
    answer, said = served.ask("POST", "/api/orders", {"order": "pause", "by": "me"})
    assert (answer.status, said["detail"]) == (200, "pause is taken")
    answer, said = served.ask("POST", "/api/orders", {"order": "abort", "run_id": RUN})
    assert (answer.status, said["run_id"], said["is_done"]) == (202, RUN, False)
    assert served.desk.taken[-1].by == "somebody at 127.0.0.1"
    assert served.desk.taken[-2].by == "me"


@pytest.mark.parametrize(
    ("order", "status", "code"),
    [
        ({"order": "resume"}, 409, "not_held"),
        ({"order": "cancel", "run_id": "another"}, 409, "other_run"),
        ({"order": "dance"}, 422, "order_invalid"),
        ({"order": "yield", "for_s": "soon"}, 422, "order_invalid"),
        ({"order": "yield", "for_s": 0}, 422, "order_invalid"),
        ({"order": "pause", "speed": 3}, 422, "order_invalid"),
        ({"order": "run", "items": "bias"}, 422, "order_invalid"),
        ({"order": "invalidate", "since": 5}, 422, "order_invalid"),
        ({"order": "invalidate", "since": "2026-01-05T22:00:00"}, 422, "order_invalid"),
        ({"order": "invalidate", "kind": "lights"}, 422, "order_invalid"),
        ([], 422, "order_invalid"),
        (b"{", 422, "order_invalid"),
        (b"", 422, "order_invalid"),
        (b'{"order": "pause", "for_s": NaN}', 422, "order_invalid"),
        (b"[" * 60_000, 422, "order_invalid"),
        (b'{"order": "\xff"}', 422, "order_invalid"),
    ],
)
def test_an_order_that_cannot_be_taken_is_refused_in_words(
    served: Served, order: object, status: int, code: str
) -> None:
    answer, said = served.ask("POST", "/api/orders", order)
    assert (answer.status, said["code"]) == (status, code)
    assert said["detail"]
    assert said["advice"]


def test_a_path_that_is_not_there_and_a_method_that_does_not_fit_are_answered_in_words(served: Served) -> None:
    answer, said = served.ask("GET", "/api/nothing")
    assert (answer.status, said["code"]) == (404, "not_found")
    answer, said = served.ask("DELETE", "/api/state")
    assert (answer.status, said["code"], answer.getheader("allow")) == (405, "method_not_allowed", "GET")
    assert served.ask("GET", "/docs")[0].status == served.ask("GET", "/redoc")[0].status == 404


@pytest.mark.parametrize("query", ["frames?limit=0", "frames?limit=x", "frames?kind=cat", "log?lines=99999"])
def test_what_a_query_may_not_say_is_named(served: Served, query: str) -> None:
    answer, said = served.ask("GET", f"/api/{query}")
    assert (answer.status, said["code"]) == (422, "input_invalid")
    assert query.partition("?")[2].partition("=")[0] in said["detail"]


@pytest.mark.parametrize("view", ["difference", "ratio"])
def test_a_comparison_without_another_master_is_refused_in_words(served: Served, view: str) -> None:
    status, said = served.ask("GET", f"/api/masters/{MASTER}/tile/{view}/0/0/0")
    assert (status.status, said["code"]) == (422, "input_invalid")
    assert said["detail"] == "other: Field required"
    document = served.ask("GET", "/openapi.json")[1]["paths"][
        f"/api/masters/{{name}}/tile/{view}/{{level}}/{{x}}/{{y}}"
    ]
    assert {each["name"]: each["required"] for each in document["get"]["parameters"]}["other"] is True


def test_a_damaged_journal_costs_its_damage_only(served: Served) -> None:
    path = Layout(served.config.parent).events("20260103T220000-ef56")
    whole = (Layout(served.config.parent).events(RUN)).read_bytes()
    path.write_bytes(b"\x00\xff{]\n" + whole + b'{"name": "run.finished", "seq": 9')
    page = served.ask("GET", "/api/runs/20260103T220000-ef56/events")[1]
    assert [each["seq"] for each in page["events"]] == [1, 2, 3]


def test_a_damaged_catalogue_is_said_and_stops_nothing(served: Served) -> None:
    path = Layout(served.config.parent).catalogue
    whole = path.read_bytes()
    try:
        path.write_bytes(b"no catalogue" * 500)
        answer, said = served.ask("GET", "/api/masters")
        assert (answer.status, said["code"]) == (503, "cannot_read")
        assert served.ask("GET", "/api/state")[0].status == 200
    finally:
        path.write_bytes(whole)
    assert served.ask("GET", "/api/masters")[0].status == 200
