"""`programmes`: which masters must exist, how many frames each has and how old it may be.

What a programme leaves out is what the rest of the file says, so that one without keys is the file itself.
"""

from typing import Annotated, Literal

from pydantic import Field

from services.config.access import Section
from services.config.values import Binning, Celsius, FilterName, OneOrMany, Positive, Setting, Text, Whole

SERVED_AGE_DAYS = {"bias": 90.0, "dark": 60.0, "flat": 7.0}
"""How old the sets of each kind may be and still serve, in programmes that state nothing else."""

Exposure = Annotated[Positive, Field(le=86_400)]
Days = Annotated[Positive, Field(le=3_650)]


class Wanted(Section):
    """What the kinds of a programme have in common."""

    frames: Whole | None = Field(None, ge=1, le=10_000, description="frames of a set; null: num_… of its section")


class WantedBias(Wanted):
    """`bias` of a programme."""

    max_age_days: Days | None = Field(None, description="days; null: `bias_hours` where this file has it, else 90")


class WantedDarks(Wanted):
    """`darks` of a programme."""

    exposures: Annotated[tuple[Exposure, ...], OneOrMany] = Field(
        (), description="s; empty: the multiples of science_exposure_time in `dark_capture`"
    )
    max_age_days: Days | None = Field(None, description="days; null: `dark_hours` where this file has it, else 60")


class WantedFlats(Wanted):
    """`flats` of a programme."""

    filters: Annotated[tuple[FilterName, ...], OneOrMany] = Field(
        (), description="names; empty: those of `flat_capture`, else all of the wheel that are not opaque"
    )
    max_age_days: Days | None = Field(None, description="days; null: `flat_hours` where this file has it, else 7")
    source: Literal["panel", "sky"] | None = Field(None, description="where the light comes from; null: flat_capture's")


class Programme(Section):
    """One entry of `programmes`."""

    name: Text = Field(max_length=60, description="unique; plans and messages name it")
    gain: Setting | None = Field(None, description="number, or name in the camera's list; null: the camera section's")
    offset: Setting | None = Field(None, description="number, or name in the camera's list; null: the camera section's")
    readout_mode: Setting | None = Field(None, description="number or name; null: the camera section's")
    binning: Binning | None = Field(None, description="one number, or [x, y]; null: the camera section's")
    temperatures: Annotated[tuple[Celsius, ...], OneOrMany] | Literal["as_they_come"] = Field(
        (), description="°C; empty: those of this file; as_they_come: of a camera without a cooler"
    )
    resume_within: Positive | None = Field(
        None, description="hours in which a begun set is continued; null: to the end of the second window after it"
    )
    bias: WantedBias | None = Field(None, description="absent: none are taken")
    darks: WantedDarks | None = Field(None, description="absent: only those that the flats need")
    flats: WantedFlats | None = Field(None, description="absent: none are taken")
