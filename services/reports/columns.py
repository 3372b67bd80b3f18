"""What the columns of the tables of a night mean."""

from services.reports.parts import Column

SETS = (
    Column(name="Set", meaning="frames of one kind, taken with the same settings to be combined into one master"),
    Column(name="Status", meaning="complete, or why not; below it why frames were refused"),
    Column(name="Wanted", meaning="frames that the configuration asks for"),
    Column(name="There", meaning="frames that an earlier run had taken already"),
    Column(name="Taken", meaning="frames that this run has taken and kept"),
    Column(name="Refused", meaning="frames that failed a check; they were taken again within bounds"),
    Column(name="Exposure", meaning="exposure time that was asked for"),
    Column(name="Lamp", meaning="brightness of the flat panel"),
    Column(name="Level", meaning="mean over the set of the frames' medians in the central quarter, pedestal included"),
    Column(name="Spread", meaning="half of the range of those levels, over their mean"),
    Column(name="Set-point", meaning="temperature that the cooler was set to hold"),
    Column(name="Sensor", meaning="lowest and highest temperature of the sensor during the set"),
    Column(name="Gain", meaning="the camera's gain setting"),
)
MASTERS = (
    Column(
        name="Master",
        meaning="the combined frames of a set; a dark of the biases' own exposure has the same frames as the bias",
    ),
    Column(name="Verdict", meaning="ok, or suspect with the reasons below it"),
    Column(name="Frames", meaning="frames that were combined"),
    Column(name="Rejected", meaning="values left out as outliers, of all values of all frames"),
    Column(name="Level", meaning="median of the master, of flats before they are normalised to 1"),
    Column(
        name="Noise",
        meaning="noise of one pixel in one frame, from the differences of frames, and in the master",
    ),
    Column(name="Hot / dead", meaning="pixels far above and far below their surroundings, marked in the mask"),
    Column(
        name="Faint",
        meaning="pixels a little above their neighbours (warm), of flats those that respond less; marked in the mask",
    ),
    Column(
        name="Noisy",
        meaning="pixels that scatter more from frame to frame than their level explains, marked in the mask",
    ),
    Column(
        name="Corners",
        meaning="level of the corners over that of the centre: vignetting of flats, glow of darks",
    ),
)
