"""`serve`: when the daemon works by itself, where it listens, and who hears of it."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from services.config.access import Section, Variable
from services.config.moments import Blackout, Cron, Listen, Need, Prefix, ZoneName
from services.config.values import Days, Positive, Real, Seconds, Text

Altitude = Annotated[Real, Field(ge=-90, le=90)]
Kind = Literal["bias", "darks", "flats"]
Notice = Literal["failed", "stale", "suspect", "unsafe", "worker_died", "recovered"]
NOTICES: tuple[Notice, ...] = ("failed", "stale", "suspect", "unsafe", "worker_died", "recovered")


class Window(Section):
    """One of `windows`: an interval in which the daemon may work; by the clock (`cron`), or by the sun (`sun`)."""

    name: Text = Field(max_length=60, description="unique; messages name it")
    cron: Cron | None = Field(None, description="when it opens, local time: minute hour day month weekday (0: Sunday)")
    hours: Annotated[Positive, Field(le=744)] | None = Field(None, description="how long it is open, with `cron`")
    sun: tuple[Altitude, Altitude] | None = Field(
        None, description="altitudes of the sun in degrees at which it opens and closes"
    )
    half: Literal["evening", "morning"] | None = Field(None, description="with `sun`; null: as the altitudes say")
    takes: tuple[Kind, ...] = Field(("bias", "darks", "flats"), min_length=1, description="what is taken in it")
    needs: tuple[Need, ...] = Field((), description="what must be so, beside a safety monitor that says safe")

    @model_validator(mode="after")
    def _one_of(self) -> "Window":
        if (self.cron is None) == (self.sun is None):
            raise ValueError("a window needs either `cron` with `hours`, or `sun`")
        if (self.cron is None) != (self.hours is None):
            raise ValueError("`hours` says how long a window of `cron` is open — give both, or `sun` alone")
        return self


class Webhook(Section):
    """One of `webhooks`: an address that is called when something has happened; it is a secret of its own."""

    url_env: Variable = Field(description="environment variable that holds the address")
    template: Literal["json", "ntfy"] = Field("json", description="what is sent: the event as JSON, or text for ntfy")
    on: tuple[Notice, ...] = Field(NOTICES, min_length=1, description="what is announced")


class Heartbeat(Section):
    """`heartbeat`: an address that is called while all is well, for a service that warns when the calls stay away."""

    url_env: Variable = Field(description="environment variable that holds the address")
    every: Annotated[Positive, Field(ge=10, le=86_400)] = Field(300.0, description="s between two calls")


class Serve(Section):
    """`serve`: the daemon."""

    listen: Listen = Field(
        "127.0.0.1:8642",
        description="where the API listens, port 0: a free one; beyond this machine it needs a token",
    )
    allowed_hosts: tuple[Text, ...] = Field((), description="names beside the address by which it may be called")
    path_prefix: Prefix = Field("", description="of its paths, behind a proxy")
    token_env: Variable | None = Field(None, description="environment variable that holds the token of the API")
    token_file: Text | None = Field(None, description="or the file that holds it alone, readable by you only")
    timezone: ZoneName | None = Field(None, description="of windows and blackouts; null: the computer's")
    windows: tuple[Window, ...] = Field((), description="when it works; empty: always open, for what darkness allows")
    blackout: tuple[Blackout, ...] = Field((), description="local days, or spans of days, on which nothing is taken")
    ageing_at: Annotated[Real, Field(gt=0, le=1)] = Field(
        0.8, description="of the greatest age: from then on taken early, when a window has time to spare"
    )
    resume_after_unsafe: Seconds = Field(600.0, description="s of safe weather before work goes on")
    certify: Literal["automatic", "by_hand"] = Field("automatic", description="masters that are like their predecessor")
    publish: Text | None = Field(None, description="folder of the masters that are valid now; null: none")
    after_sets: tuple[Literal["masters", "models"], ...] = Field(
        ("masters", "models"), description="steps that follow complete sets, in a process of low priority"
    )
    keep_logs_days: Days = Field(60.0, description="logs that are older are removed; journals are kept")
    webhooks: tuple[Webhook, ...] = Field((), description="who is called when something has happened")
    heartbeat: Heartbeat | None = Field(None, description="absent: nobody is called")
