"""`nightcal serve`: the daemon put together. This is the only place that knows all of its parts.

One thread is the loop's, which decides; the API answers in its own, the conditions are read in theirs, and every child
process has one that hears it. Nothing here imports what takes frames or combines them: that is for the children.
"""

from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import structlog

from drivers.alpaca.endpoint import Endpoint
from drivers.clock import Clock, ScaledClock, SystemClock
from services import log as logs
from services.config import LoadedConfig
from services.config.moments import listened
from services.daemon.aftermath import close_rows, is_cooler_held, run_left_behind
from services.daemon.api import Api
from services.daemon.board import Board
from services.daemon.configuration import Configuration, Source
from services.daemon.hands import RealHands
from services.daemon.http_server import ApiServer
from services.daemon.hub import Hub, Line
from services.daemon.limits import limits_of
from services.daemon.loop import Loop
from services.daemon.messages import Served, WorkRequest
from services.daemon.mind import Mind
from services.daemon.notify import Heartbeat, Notifier
from services.daemon.observatory_child import ObservatoryChild
from services.daemon.own_journal import OwnJournal
from services.daemon.parts import Ended, Secured
from services.daemon.present import Present
from services.daemon.reading import Reader
from services.daemon.routes import Parts
from services.daemon.security import Policy
from services.daemon.show import Showing
from services.daemon.state_file import Remembered, read_state, with_cooler_held, write_state
from services.daemon.supervisor import Supervisor
from services.daemon.tiles_client import Tiles
from services.daemon.watching import Watched, Watching, completed
from services.daemon.worker_child import Listeners
from services.errors import Exit, StorageError
from services.events.records import Event, Record
from services.events.sentences import sentence
from services.events.serving import SERVE, ServeEnded, ServeStarted
from services.files.locks import ServeLock
from services.observatory import network
from services.observatory.login import check_secrets, token_of
from services.planning.request import RunOptions
from services.root import check_folders, check_root, layout_of
from services.signals import hear
from services.version import version

log = structlog.get_logger(__name__)


def serve(source: Source, *, show: Callable[[str], None], log_level: str = "INFO") -> int:
    """Serve until a signal ends it; return the exit code.

    Parameters
    ----------
    source : Source
    show : callable
        Shows a line to whoever has started the daemon.
    log_level : str
        The least level that is written to the log file.

    Raises
    ------
    ServiceError
        It could not begin: the configuration, the folder, the lock or the address.
    """
    configuration = Configuration(source)
    loaded = configuration.loaded
    check_root(loaded)
    check_folders(loaded)
    layout = layout_of(loaded)
    for note in check_secrets(loaded.config.serve):
        show(f"note: {note}")
    token = token_of(loaded.config.serve)
    with ExitStack() as stack:
        stack.enter_context(ServeLock(layout.root))
        keep_days = loaded.config.serve.keep_logs_days
        logs.configure(log_level, layout.log_path, console=False, keep_days=keep_days)
        stack.callback(logs.close)
        served, clock = _observatory(configuration, layout.logs, stack)
        daemon = _Daemon(configuration, served, clock, show)
        stack.callback(daemon.close)
        server = daemon.api(token)
        stack.callback(server.stop)
        stack.callback(daemon.hub.close)  # before the server is stopped: its streams end by it
        server.start()
        stack.callback(_on_signals(daemon.loop))
        daemon.serve(server)
    return Exit.DONE


class _Daemon:
    """The parts of the daemon, and what each says to the others."""

    def __init__(
        self, configuration: Configuration, served: Served | None, clock: Clock, show: Callable[[str], None]
    ) -> None:
        loaded, layout = configuration.loaded, layout_of(configuration.loaded)
        self._configuration = configuration
        self._clock = clock
        self._served = served
        self._show_line = show
        self._unshown: list[str] = []
        self.hub = Hub()
        self._journal = OwnJournal(layout.events(SERVE), clock, self.hub)
        self._notifier = Notifier(loaded.config.serve.webhooks)
        self._heartbeat = Heartbeat(loaded.config.serve.heartbeat, SystemClock())
        self._state_path = layout.hidden / "serve.json"
        state, problem = read_state(self._state_path)
        if is_cooler_held(layout, clock):
            state = replace(state, cooler_held=True)
        self._problems = {"state_file": problem}
        self._is_unkept = False
        watched = self._watched(loaded)
        self._watching = Watching(watched, clock, on_change=self._look_again, unsafe_at=state.unsafe_at)
        self._mind = Mind(loaded, read=self._reread, surroundings=self._watching)
        self._showing = Showing(self._mind, clock, simulated=isinstance(clock, ScaledClock))
        self._tiles = Tiles(layout)
        self._board = Board(self._showing.first())
        present = Present(clock, state, keep=self._keep, say=self._say)
        self._supervisor = Supervisor(
            Listeners(event=self._heard, ended=self._ended, secured=self._secured),
            logs=layout.logs,
            limits=lambda: limits_of(self._mind.loaded.config),
        )
        hands = RealHands(self._supervisor, self._request)
        self.loop = Loop(clock=clock, mind=self._mind, hands=hands, present=present, show=self._show)

    def api(self, token: str | None) -> ApiServer:
        """Return the server of the API, which listens but does not answer yet."""
        section = self._mind.loaded.config.serve
        reader = Reader(lambda: self._mind.loaded, plan=lambda: self._mind.plan, state=self._board.state)
        parts = Parts(board=self._board, desk=self.loop, events=self.hub, reader=reader, pictures=self._tiles)
        policy = Policy(allowed_hosts=section.allowed_hosts, prefix=section.path_prefix)
        api = Api(parts, policy, token=token, clock=SystemClock())
        return ApiServer(api, listened(section.listen), prefix=section.path_prefix)

    def serve(self, server: ApiServer) -> None:
        """Work until the loop ends."""
        path = self._mind.loaded.path
        root = str(layout_of(self._mind.loaded).root)
        self._watching.start()
        self._say(
            ServeStarted(
                software=f"nightcal {version()}",
                config=str(path),
                root=root,
                url=server.url,
                everywhere=server.is_everywhere,
                simulated=isinstance(self._clock, ScaledClock),
            )
        )
        self._show_lines()
        layout = layout_of(self._mind.loaded)
        if (left := run_left_behind(layout, self._clock.now())) is not None:
            self.loop.recover(left)
        else:
            close_rows(layout)
        self.loop.run()
        self._say(ServeEnded())
        self._show_lines()

    def close(self) -> None:
        """Let go of what is open."""
        self._watching.close()
        self._supervisor.close()
        self._tiles.close()
        self._heartbeat.close()
        self._notifier.close()
        self._journal.close()

    def _say(self, what: Record) -> None:
        event = self._journal.say(what)
        self._notifier.hear(event)
        if (words := sentence(what)) is not None:
            self._unshown.append(f"{event.at:%Y-%m-%d %H:%M:%S}  {words}")
            log.info("serve.said", what=words)

    def _show_lines(self) -> None:
        """Let what was said be heard, now that the board shows it, too; a terminal that is gone is done without."""
        self._journal.publish()
        lines, self._unshown = self._unshown, []
        with suppress(OSError, ValueError):
            for line in lines:
                self._show_line(line)

    def _heard(self, event: Event) -> None:
        """Take an event of a worker, on the thread that hears it."""
        self.hub.publish(Line.of(event))
        self._notifier.hear(event)
        self.loop.heard(event)

    def _ended(self, ended: Ended) -> None:
        self.loop.ended(ended)

    def _secured(self, done: Secured) -> None:
        self.loop.secured(done)

    def _keep(self, state: Remembered) -> None:
        try:
            write_state(self._state_path, state)
        except StorageError as error:
            self._problems["state_file"] = f"what is to survive a restart cannot be kept: {error.detail}"
            self._is_unkept = True
            log.warning("serve.state_not_kept", detail=error.detail)
        else:
            self._problems["state_file"] = ""
            self._is_unkept = False

    def _show(self, loop: Loop) -> None:
        if self._configuration.is_changed:
            loop.reload()
        if self._is_unkept:  # the disk may have room by now
            self._keep(loop.present.state)
        self._problems["journal"] = self._journal.problem
        self._problems["left_unsafe"] = _left_in_words(loop.present.state)
        self._problems["webhooks"] = self._notifier.problem
        self._problems["heartbeat"] = self._heartbeat.problem
        self._problems["config_invalid"] = self._configuration.problem
        self._problems["restart_needed"] = self._configuration.waits_for_start
        self._heartbeat.alive()
        self._watching.run_is_at_work = not loop.present.is_idle
        self._remember_unsafe(loop.present)
        loop.present.remember(with_cooler_held(loop.present.state, self._clock.now()))
        self._watching.cooler_held_at = loop.present.state.held_at
        seen = self._showing.seen(loop, devices=self._watching.shown(), problems=self._problems)
        free = self._watching.readings.free_bytes.value
        self._board.show(seen if free is None else replace(seen, disk={"free_bytes": free}))
        self._show_lines()

    def _remember_unsafe(self, present: Present) -> None:
        """Keep when it was last unsafe, so that a restart does not forget it; to a minute, for it is a file."""
        at, before = self._watching.unsafe_at, present.state.unsafe_at
        if at is not None and (before is None or at - before > timedelta(minutes=1)):
            present.remember(replace(present.state, unsafe_at=at))

    def _request(self) -> WorkRequest:
        """Return what every child begins with."""
        options = RunOptions(cooler_held_at=self.loop.present.state.held_at)
        return replace(self._configuration.request(self._served), options=options)

    def _look_again(self) -> None:
        self.loop.look_again()

    def _reread(self) -> LoadedConfig:
        loaded = self._configuration.reread()
        self._watching.use(self._watched(loaded))
        self._notifier.use(loaded.config.serve.webhooks)
        self._heartbeat.use(loaded.config.serve.heartbeat)
        return loaded

    def _watched(self, loaded: LoadedConfig) -> Watched:
        layout = layout_of(loaded)
        server = None if self._served is None else Endpoint(self._served.host, self._served.port)
        return completed(Watched(config=loaded.config, root=layout.root, catalogue=layout.catalogue, server=server))


def _left_in_words(state: Remembered) -> str:
    """Return what is not known to be safe, and what is done about it; "" where all is."""
    if not state.left:
        return ""
    return f"{'; '.join(state.left)}: go and see; the daemon tries again until it is safe, `nightcal secure` at once"


def _observatory(configuration: Configuration, folder: Path, stack: ExitStack) -> tuple[Served | None, Clock]:
    """Start the simulated observatory, where one is served; return where it listens, and the clock of everything.

    One that somebody else serves is a camera on the network like any other, but states its clock: runs go by that, and
    so does the daemon, or no window, age or end of a run would mean the same to both.
    """
    if not configuration.loaded.config.camera.is_simulator:
        return None, network.clock_of_runs(configuration.loaded.config.camera) or SystemClock()
    child = ObservatoryChild(configuration.request(None), logs=folder)
    stack.callback(child.close)
    return child.served, ScaledClock(rate=child.rate, start=datetime.fromisoformat(child.utc))


def _on_signals(loop: Loop) -> Callable[[], None]:
    """Let SIGTERM and SIGINT end the daemon (again: in a hurry), SIGHUP read the configuration again; as `hear`."""
    heard = 0

    def end() -> None:
        nonlocal heard
        heard += 1
        loop.stop(hurry=heard > 1)

    return hear({"SIGTERM": end, "SIGINT": end, "SIGBREAK": end, "SIGHUP": loop.reload})
