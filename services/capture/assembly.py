"""Puts the parts of a session together from its observatory and configuration."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from services.capture.acquisition import words_of
from services.capture.cooler import Cooler
from services.capture.cooling import Thermostat
from services.capture.daylight import Daylight
from services.capture.filters import Filters
from services.capture.panel import Light
from services.capture.recovery import Recovery
from services.capture.runner import Runner
from services.capture.safety import SafetyWatch
from services.capture.shelf import Apart, Shelf
from services.capture.state import StateKeeper, StateRules
from services.capture.writer import Writer
from services.config.devices import Cooling
from services.events.bus import Events
from services.observatory import Observatory
from services.root import Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembly:
    """Makes the parts; each method makes a new one.

    Attributes
    ----------
    observatory : Observatory
    events : Events
    place : Place
    """

    observatory: Observatory
    events: Events
    place: Place

    def recovery(self) -> Recovery:
        """Return the ladder of the camera."""
        site = self.observatory
        return Recovery(camera=site.camera, clock=site.clock, events=self.events, interlock=site.interlock)

    def thermostat(self, recovery: Recovery, *, skip: bool, until: datetime | None = None) -> Thermostat:
        """Return the thermostat; with `skip` the cooler is left as found, after `until` nothing is waited for."""
        site, settings = self.observatory, self.observatory.config.cooling
        cooler = Cooler(
            camera=site.camera,
            clock=site.clock,
            events=self.events,
            interlock=site.interlock,
            recovery=recovery,
            settings=settings or Cooling(),
            until=until,
        )
        wanted = settings is not None and settings.mode != "off" and settings.enable_cooling
        return Thermostat(cooler, active=wanted and not skip)

    def safety_watch(self) -> SafetyWatch | None:
        """Return the safety watch, None without a safety monitor."""
        site, settings = self.observatory, self.observatory.config.safety_monitor
        monitor = site.new_safety_monitor()
        if settings is None or monitor is None:
            return None
        return SafetyWatch(
            monitor=monitor,
            panel=site.new_panel(),
            stop_camera=site.camera.close,
            abort_exposure=site.abort_exposure,
            clock=site.clock,
            events=self.events,
            interlock=site.interlock,
            settings=settings,
        )

    def writer(self, apart: Apart) -> Writer:
        """Return the writer, not started yet; `apart` as for `Shelf`."""
        site, storage = self.observatory, self.observatory.config.storage
        filters = None if site.wheel is None else site.wheel.names
        shelf = Shelf(
            self.place,
            events=self.events,
            clock=site.clock,
            storage=storage,
            filters=filters,
            apart=apart,
        )
        return Writer(
            shelf,
            catalogue=self.place.catalogue,
            clock=site.clock,
            words=words_of(site.config, run_id=self.events.run_id, simulated=site.is_simulated, wheel=site.wheel),
            interlock=site.interlock,
            ahead=storage.frames_in_flight,
        )

    def runner(
        self,
        *,
        recovery: Recovery,
        thermostat: Thermostat,
        writer: Writer,
        until: datetime | None,
        ready: Callable[[], object] = lambda: None,
    ) -> Runner:
        """Return the runner.

        Parameters
        ----------
        recovery, thermostat, writer
        until, ready
            See `Runner`.
        """
        site = self.observatory
        filters = Filters(
            site.wheel,
            camera=site.camera,
            clock=site.clock,
            events=self.events,
            interlock=site.interlock,
            recovery=recovery,
        )
        state = StateKeeper(
            camera=site.camera,
            filters=filters,
            light=self._light(recovery),
            thermostat=thermostat,
            clock=site.clock,
            events=self.events,
            interlock=site.interlock,
            recovery=recovery,
            rules=self._rules(),
        )
        recovery.on_restored(state.lost)
        return Runner(
            camera=site.camera,
            clock=site.clock,
            interlock=site.interlock,
            recovery=recovery,
            thermostat=thermostat,
            state=state,
            writer=writer,
            events=self.events,
            until=until,
            ready=ready,
            ahead=site.config.storage.frames_in_flight,
        )

    def _light(self, recovery: Recovery) -> Light | None:
        site, settings = self.observatory, self.observatory.config.flat_panel
        if site.panel is None:
            return None
        return Light(
            panel=site.panel,
            clock=site.clock,
            events=self.events,
            interlock=site.interlock,
            is_day=Daylight(site.config.site, clock=site.clock, events=self.events).is_day,
            open_by_day=settings is not None and settings.open_by_day,
            on_lost=lambda: recovery.call(site.camera.state),
        )

    def _rules(self) -> StateRules:
        config = self.observatory.config
        cooling = config.cooling or Cooling()
        return StateRules(
            darkness=config.darkness,
            opaque=self.observatory.opaque_filters,
            on_dark_failure=cooling.on_dark_failure,
            on_flat_failure=cooling.on_flat_failure,
        )
