"""The API over real sockets, on a small real root: catalogue, journals, log, configuration; a desk that remembers."""

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from calibration.frames import FrameKind
from drivers.clock import SystemClock
from services.catalogue.catalogue import Catalogue
from services.catalogue.rows import FrameRow, MasterRow, MasterStatus, RunRow
from services.config import load
from services.daemon.api import Api
from services.daemon.board import Board, ClockNow, RunNow, Seen
from services.daemon.http_server import ApiServer
from services.daemon.hub import Hub, Line
from services.daemon.orders import Answer, Order, OrderName, RefusalCode, Refused
from services.daemon.reading import Reader
from services.daemon.routes import Parts
from services.daemon.security import Limits, Policy
from services.events.journal import JournalFile
from services.events.records import Event, Record, RunFinished, RunStarted, StepStarted
from services.events.serving import SERVE, ModeChanged
from services.observatory.login import token_of
from services.root import layout_of

AT = datetime(2026, 1, 5, 22, 0, tzinfo=UTC)
RUN, EARLIER = "20260105T220000-ab12", "20260104T220000-cd34"
TOKEN = "a-token-of-the-tests-0123456789"  # noqa: S105 - of the tests
MASTER = "master_dark_300.000s_20260105_230000.fits"


@dataclass(slots=True)
class SmallDesk:
    """A desk that carries orders out by remembering them, and refuses what the tests let it refuse."""

    taken: list[Order] = field(default_factory=list)
    running: str | None = RUN
    answers: Callable[[Order], Answer] | None = None

    def take(self, order: Order) -> Answer:
        self.taken.append(order)
        if self.answers is not None:
            return self.answers(order)
        if order.run_id is not None and order.run_id != self.running:
            raise Refused(RefusalCode.OTHER_RUN, f"{order.run_id} does not run: {self.running} does")
        if order.order is OrderName.RESUME:
            raise Refused(RefusalCode.NOT_HELD, "nothing is held")
        ends = order.order in {OrderName.CANCEL, OrderName.ABORT, OrderName.RUN}
        return Answer(order=order.order, detail=f"{order.order} is taken", run_id=self.running, is_done=not ends)


def fill(folder: Path, **serve: Any) -> Path:
    """Write a configuration and all that a small library has; return the path of the configuration."""
    config = folder / "config.yaml"
    document = {
        "camera": {"camera_type": "simulator", "simulator": {"width": 64, "height": 48}},
        "hooks": {"before_run": {"url": "http://127.0.0.1:1/?key=secret-of-a-hook"}},
        "serve": serve,
    }
    config.write_text(yaml.safe_dump(document), encoding="utf-8")
    layout = layout_of(load(config))
    with Catalogue(layout.catalogue) as catalogue:
        catalogue.add_frames(_frame(n) for n in range(12))
        catalogue.add_master(_master())
        catalogue.start_run(RunRow(run_id=EARLIER, started_at=AT - timedelta(days=1)))
        catalogue.finish_run(EARLIER, finished_at=AT - timedelta(hours=20), exit_code=1, code="worker_died")
        catalogue.start_run(RunRow(run_id=RUN, started_at=AT))
    write_journal(layout.events(EARLIER), EARLIER, (RunStarted(), StepStarted(step="darks")), AT - timedelta(days=1))
    write_journal(layout.events(RUN), RUN, (RunStarted(), StepStarted(step="flats"), RunFinished(exit_code=0)), AT)
    write_journal(layout.events(SERVE), SERVE, (ModeChanged(mode="automatic"),), AT - timedelta(hours=1))
    layout.logs.mkdir()
    layout.log_path(AT).write_text('{"at": "2026-01-05", "event": "it began"}\nno json\n', encoding="utf-8")
    return config


def write_journal(path: Path, run_id: str, records: tuple[Record, ...], begun: datetime) -> None:
    """Write a journal of one event a minute."""
    file = JournalFile(path)
    for number, what in enumerate(records):
        event = Event(run_id=run_id, seq=number + 1, at=begun + timedelta(minutes=number), what=what)
        file.write(event.to_json() + "\n")
    file.close()


def _frame(number: int) -> FrameRow:
    kind = FrameKind.DARK if number < 8 else FrameKind.FLAT
    return FrameRow(
        path=f"darks/exp_300.000s/dark_{number:03d}.fits", pixel_sha256=f"{number:064x}", size=1, mtime_ns=2**60,
        kind=kind, camera="cam", height=48, width=64, exposure_us=300_000_000, set_id=f"{RUN}-s", run_id=RUN,
        frame_no=number, night="2026-01-05" if number % 2 else "2026-01-04", date_obs=AT + timedelta(minutes=number),
    )  # fmt: skip


def _master() -> MasterRow:
    return MasterRow(
        path=f"master_frames/{MASTER}", key=_frame(1).key(-10.0), n=8, recipe="r", built_at=AT + timedelta(hours=1),
        status=MasterStatus.CERTIFIED, exposure_us=300_000_000, ccd_temp_c=-10.0, valid_from=AT, inputs=("00", "01"),
        statistics={"level_adu": 512.0, "pair_noise_adu": 5.0, "master_noise_adu": 1.8, "snr": float("nan")},
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A server that runs, and what stands behind it."""

    url: str
    config: Path
    desk: SmallDesk
    board: Board
    hub: Hub
    api: Api
    server: ApiServer

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or 0

    @property
    def host(self) -> str:
        return "{}:{}".format(*self.address)

    def publish(self, run_id: str, seq: int, what: Record) -> None:
        """Let everybody hear an event."""
        self.hub.publish(Line.of(Event(run_id=run_id, seq=seq, at=AT + timedelta(hours=2), what=what)))

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[HTTPResponse, Any]:
        """Return the answer to a request, its body decoded where it is JSON; `_` in names of headers stands for `-`."""
        connection = HTTPConnection(*self.address, timeout=20)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        if data is not None:
            given.setdefault("content-type", "application/json")
        try:
            connection.request(method, path, data, given)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        is_json = answer.getheader("content-type", "").startswith("application/json")
        return answer, json.loads(content) if is_json else content

    def raw(self, sent: bytes) -> bytes:
        """Return all that is answered to bytes, until the line is closed."""
        with socket.create_connection(self.address, timeout=20) as line:
            line.sendall(sent)
            found = b""
            while piece := line.recv(65536):
                found += piece
        return found


@contextmanager
def serve(folder: Path, *, limits: Limits | None = None, plan: Any = None, **keys: Any) -> Iterator[Served]:
    """Serve a small root as the configuration's section `serve` says."""
    config = fill(folder, **keys)
    loaded = load(config)
    section = loaded.config.serve
    clock = SystemClock()
    seen = Seen(at=AT, clock=ClockNow(utc=AT), root=str(folder), run=RunNow(run_id=RUN, by="a test", since=AT))
    board, hub, desk = Board(seen), Hub(limit=50), SmallDesk()
    reader = Reader(lambda: loaded, plan=lambda: plan, state=board.state)
    policy = Policy(allowed_hosts=section.allowed_hosts, prefix=section.path_prefix, limits=limits or Limits())
    parts = Parts(board=board, desk=desk, events=hub, reader=reader)
    api = Api(parts, policy, token=token_of(loaded.config.serve), clock=clock)
    server = ApiServer(api, ("127.0.0.1", 0), prefix=section.path_prefix)
    server.start()
    try:
        yield Served(url=server.url, config=config, desk=desk, board=board, hub=hub, api=api, server=server)
    finally:
        server.stop()


def changed(board: Board) -> None:
    """Show a new snapshot."""
    board.show(replace(board.seen, uptime_s=board.seen.uptime_s + 1))
