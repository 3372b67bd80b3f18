"""What the columns of the page's tables mean: shown when a pointer rests on a head, and in a list below each table."""

from collections.abc import Mapping, Sequence

from services.reports.markup import Markup, joined, tag

SETS: Mapping[str, str] = {
    "Set": "frames of one kind, taken with the same settings to be combined into one master",
    "Status": "complete, or why not; below it why frames were refused",
    "Wanted": "frames that the configuration asks for",
    "There": "frames that an earlier run had taken already",
    "Taken": "frames that this run has taken and kept",
    "Refused": "frames that failed a check; they were taken again within bounds",
    "Exposure": "exposure time that was asked for",
    "Lamp": "brightness of the flat panel",
    "Level": "mean over the set of the frames' medians in the central quarter, pedestal included",
    "Spread": "half of the range of those levels, over their mean",
    "Set-point": "temperature that the cooler was told to hold",
    "Sensor": "lowest and highest temperature of the sensor during the set",
    "Gain": "the camera's gain setting",
}
MASTERS: Mapping[str, str] = {
    "Master": "the combined frames of a set; a dark of the biases' own exposure is made of the same frames as the bias",
    "Verdict": "ok, or suspect with the reasons below it",
    "Frames": "frames that were combined",
    "Rejected": "values left out as outliers, of all values of all frames",
    "Level": "median of the master, of flats before they are normalised to 1",
    "Frame noise": "noise of one pixel in one frame, from the difference of two frames",
    "Master noise": "noise of one pixel in the master",
    "Hot": "pixels far above their surroundings, marked in the mask",
    "Dead": "pixels far below their surroundings, marked in the mask",
    "Noisy": "pixels that scatter more from frame to frame than their level explains, marked in the mask",
    "Corner / centre": "level of the corners over that of the centre: vignetting of flats, glow of darks",
}


def heads(columns: Mapping[str, str], shown: Sequence[str]) -> list[Markup]:
    """Return the heads of some columns, each with its meaning as a tooltip."""
    return [tag("abbr", name, title=columns[name]) for name in shown]


def key(columns: Mapping[str, str], shown: Sequence[str]) -> Markup:
    """Return the meanings of some columns as a list that opens: touch screens and paper know no tooltips."""
    lines = tag("dl", *(joined((tag("dt", name), tag("dd", columns[name]))) for name in shown), class_="lines left")
    return tag("details", tag("summary", "What the columns mean"), lines)
