"""The factor c of a master's uncertainty, ``SIGMA = c s / √COUNT``: what rejection cuts from s is put back.

Rejecting outliers narrows the spread s of the survivors and makes their mean a little less precise than the mean of
all. c holds both, ``c² = Var(MEAN) / ⟨s² / COUNT⟩`` for Gaussian samples, so that SIGMA is the scatter of MEAN. The
truncation of s alone (facts of one clipping pass: 1.0136 at 3 sigma) is the smaller part of it: at 40 frames
`sigma_clip` has c = 1.023, of which 1.011 is truncation.

The tables come from a simulation of 10⁵ to 10⁶ Gaussian pixels per entry with the engine itself (error below 0.003);
`tests/statistical/test_combine_truncation.py` derives them again. Between entries c - 1 is
exponential in k, and c linear in 1/n. They hold for a noise of many steps of the converter; `steps` makes them hold for
any noise of half a step or more.
"""

import numpy as np

SIGMAS = (1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0)
"""Thresholds k of the columns; beyond them the nearest column serves."""

COUNTS = (3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 20, 30, 40, 60, 100, 200, 500)
"""Frames of the rows; beyond them the last row serves."""

_SIGMA_CLIP = (
    (2.1536, 1.1924, 1.0000, 1.0000, 1.0000, 1.0000, 1.0000),  # n = 3
    (2.3112, 1.2033, 1.0000, 1.0000, 1.0000, 1.0000, 1.0000),  # n = 4
    (3.0478, 1.3597, 1.0048, 1.0000, 1.0000, 1.0000, 1.0000),  # n = 5
    (3.3612, 1.3622, 1.0186, 1.0000, 1.0000, 1.0000, 1.0000),  # n = 6
    (3.8411, 1.4326, 1.0427, 1.0000, 1.0000, 1.0000, 1.0000),  # n = 7
    (4.1057, 1.4458, 1.0502, 1.0000, 1.0000, 1.0000, 1.0000),  # n = 8
    (4.3078, 1.4864, 1.0642, 1.0014, 1.0000, 1.0000, 1.0000),  # n = 9
    (4.4318, 1.5002, 1.0682, 1.0027, 1.0000, 1.0000, 1.0000),  # n = 10
    (4.5674, 1.5354, 1.0797, 1.0061, 1.0000, 1.0000, 1.0000),  # n = 12
    (4.6315, 1.5782, 1.0935, 1.0108, 1.0003, 1.0000, 1.0000),  # n = 15
    (4.6892, 1.6160, 1.1039, 1.0151, 1.0011, 1.0000, 1.0000),  # n = 20
    (4.7247, 1.6612, 1.1153, 1.0202, 1.0023, 1.0001, 1.0000),  # n = 30
    (4.7618, 1.6900, 1.1228, 1.0229, 1.0034, 1.0003, 1.0000),  # n = 40
    (4.8023, 1.7107, 1.1294, 1.0257, 1.0041, 1.0005, 1.0000),  # n = 60
    (4.8740, 1.7401, 1.1359, 1.0279, 1.0051, 1.0007, 1.0000),  # n = 100
    (4.9640, 1.7590, 1.1404, 1.0302, 1.0059, 1.0009, 1.0000),  # n = 200
    (5.0329, 1.7745, 1.1434, 1.0308, 1.0059, 1.0008, 1.0000),  # n = 500
)

_MAD = (
    (1.8334, 1.6140, 1.4836, 1.3974, 1.3377, 1.2928, 1.2327),  # n = 3
    (1.9070, 1.5124, 1.3382, 1.2423, 1.1819, 1.1421, 1.0938),  # n = 4
    (2.0476, 1.6294, 1.4307, 1.3143, 1.2403, 1.1902, 1.1279),  # n = 5
    (2.0988, 1.5721, 1.3456, 1.2265, 1.1563, 1.1124, 1.0638),  # n = 6
    (2.1532, 1.6140, 1.3774, 1.2505, 1.1748, 1.1271, 1.0730),  # n = 7
    (2.2283, 1.5941, 1.3346, 1.2047, 1.1325, 1.0894, 1.0443),  # n = 8
    (2.2492, 1.6111, 1.3470, 1.2124, 1.1375, 1.0928, 1.0463),  # n = 9
    (2.3165, 1.6043, 1.3204, 1.1832, 1.1104, 1.0695, 1.0306),  # n = 10
    (2.3840, 1.6060, 1.3058, 1.1653, 1.0938, 1.0556, 1.0216),  # n = 12
    (2.4455, 1.6020, 1.2867, 1.1461, 1.0784, 1.0442, 1.0153),  # n = 15
    (2.5499, 1.5934, 1.2549, 1.1169, 1.0548, 1.0267, 1.0071),  # n = 20
    (2.6555, 1.5670, 1.2131, 1.0844, 1.0339, 1.0140, 1.0027),  # n = 30
    (2.7276, 1.5478, 1.1910, 1.0686, 1.0251, 1.0096, 1.0013),  # n = 40
    (2.7901, 1.5124, 1.1623, 1.0528, 1.0171, 1.0054, 1.0006),  # n = 60
    (2.8607, 1.4829, 1.1406, 1.0425, 1.0125, 1.0034, 1.0002),  # n = 100
    (2.9409, 1.4523, 1.1249, 1.0353, 1.0093, 1.0020, 1.0001),  # n = 200
    (2.9993, 1.4347, 1.1167, 1.0310, 1.0070, 1.0012, 1.0000),  # n = 500
)

_WINSORIZED = (
    (1.0000, 1.0000, 1.0000, 1.0000, 1.0000, 1.0000, 1.0000),  # n = 3
    (1.0000, 1.0000, 1.0000, 1.0000, 1.0000, 1.0000, 1.0000),  # n = 4
    (1.4024, 1.1975, 1.1233, 1.0809, 1.0558, 1.0398, 1.0229),  # n = 5
    (1.6518, 1.2399, 1.1272, 1.0739, 1.0461, 1.0302, 1.0149),  # n = 6
    (1.8865, 1.3016, 1.1548, 1.0874, 1.0524, 1.0334, 1.0150),  # n = 7
    (2.0097, 1.3078, 1.1451, 1.0751, 1.0418, 1.0249, 1.0098),  # n = 8
    (2.1483, 1.3417, 1.1581, 1.0799, 1.0430, 1.0247, 1.0091),  # n = 9
    (2.2656, 1.3530, 1.1504, 1.0709, 1.0353, 1.0185, 1.0061),  # n = 10
    (2.4865, 1.3817, 1.1517, 1.0668, 1.0305, 1.0146, 1.0037),  # n = 12
    (2.7743, 1.4236, 1.1544, 1.0622, 1.0265, 1.0116, 1.0025),  # n = 15
    (3.1863, 1.4586, 1.1482, 1.0540, 1.0200, 1.0076, 1.0012),  # n = 20
    (3.8712, 1.5031, 1.1386, 1.0439, 1.0142, 1.0044, 1.0005),  # n = 30
    (4.4380, 1.5285, 1.1360, 1.0413, 1.0125, 1.0036, 1.0002),  # n = 40
    (5.4485, 1.5546, 1.1304, 1.0358, 1.0095, 1.0023, 1.0001),  # n = 60
    (7.0276, 1.5743, 1.1279, 1.0340, 1.0083, 1.0017, 1.0001),  # n = 100
    (10.2338, 1.5907, 1.1251, 1.0318, 1.0077, 1.0014, 1.0000),  # n = 200
    (17.5672, 1.5938, 1.1259, 1.0305, 1.0062, 1.0011, 1.0000),  # n = 500
)

_NOISE_MODEL = (
    (1.8492, 1.4178, 1.1863, 1.0725, 1.0250, 1.0073, 1.0004),  # n = 3
    (1.6915, 1.3346, 1.1344, 1.0462, 1.0135, 1.0032, 1.0001),  # n = 4
    (1.8167, 1.3733, 1.1479, 1.0509, 1.0147, 1.0037, 1.0001),  # n = 5
    (1.7908, 1.3513, 1.1330, 1.0427, 1.0114, 1.0026, 1.0001),  # n = 6
    (1.8141, 1.3553, 1.1331, 1.0428, 1.0117, 1.0027, 1.0001),  # n = 7
    (1.8120, 1.3471, 1.1260, 1.0392, 1.0100, 1.0020, 1.0000),  # n = 8
    (1.8170, 1.3468, 1.1261, 1.0396, 1.0105, 1.0022, 1.0001),  # n = 9
)
"""Clipping by the noise model serves below 10 frames only."""

_MINMAX = (
    0.6698,
    1.4085,
    1.3765,
    1.3459,
    1.3171,
    1.2942,
    1.2743,
    1.2571,
    1.2289,
    1.1985,
    1.1640,
    1.1241,
    1.1020,
    1.0763,
    1.0527,
    1.0314,
    1.0154,
)
"""Of `COUNTS`; with 3 frames the median is left, and s is the noise that its level should have."""

_MEDIAN_ODD = {3: 1.1602, 5: 1.1976, 7: 1.2137, 9: 1.2227, 11: 1.2283, 15: 1.2351, 21: 1.2403, 31: 1.2446, 61: 1.2489}
_MEDIAN_EVEN = {4: 1.0922, 6: 1.1351, 8: 1.1599, 10: 1.1761, 12: 1.1875, 16: 1.2025, 20: 1.2119, 30: 1.2250, 60: 1.2388}
"""√(n Var(median)) of Gaussian samples, integrated from their order statistics; √(π/2) for n without end.

The mean of the two in the middle of an even number is more precise than the one of an odd number.
"""

_DECAY = {
    "sigma_clip": (4.0, 0.0, 0.0),
    "mad": (8.6, -27.0, 0.5),
    "winsorized": (3.1, -10.0, 0.0),
    "noise_model": (3.3, 0.0, 0.5),
}
"""How fast c - 1 falls with the step of the converter in sigmas: ``exp(-(a + b / n) (k / 3)^p steps)``.

The bounds lie a step farther out than k sigma, so that they cut the less the coarser the samples are.
"""

_TABLES = {
    "sigma_clip": _SIGMA_CLIP,
    "mad": _MAD,
    "winsorized": _WINSORIZED,
    "noise_model": _NOISE_MODEL,
}


def truncation_factor(method: str, n: int, k: float, steps: float = 0.0) -> float:
    """Return c for a method at n frames and a threshold of k sigma.

    1 for `none` and for fewer than 3 frames. For `median` it is the scatter of the median over that of the mean.

    Parameters
    ----------
    method : str
    n : int
    k : float
    steps : float
        Step of the converter in standard deviations of a sample.
    """
    if n < COUNTS[0] or method == "none":
        return 1.0
    if method == "median":
        return _median_factor(n) * (1.0 - _grouping(n, steps) * steps)
    if method == "minmax":
        return float(np.interp(1.0 / n, [1.0 / count for count in reversed(COUNTS)], _MINMAX[::-1]))
    table = np.asarray(_TABLES[method])
    at_k = [1.0 + float(np.exp(np.interp(k, SIGMAS, np.log(np.maximum(row, 1.00001) - 1.0)))) for row in table]
    inverse = 1.0 / np.asarray(COUNTS[: len(at_k)], np.float64)
    of_many, by_n, power = _DECAY[method]
    decay = max(of_many + by_n / n, 0.0) * (k / 3.0) ** power
    return 1.0 + float(np.interp(1.0 / n, inverse[::-1], at_k[::-1]) - 1.0) * float(np.exp(-decay * steps))


def widening_factor(method: str, n: int, c: float) -> float:
    """Return the noise of a sample over the s of what a method keeps of n frames; `c` is as from `truncation_factor`.

    One half of c of a clipping method is what it cuts from s, the other that the mean of the rest scatters more than
    that of all (to 0.5 %; `mad` of few frames to 2 %). The mean that `minmax` leaves scatters hardly more than that.
    """
    if method in {"none", "median"} or n < COUNTS[0]:
        return 1.0
    if method == "minmax":
        return c * float(np.sqrt(n / (n - 2))) / (1.0 + 0.28 / n)
    return float(np.sqrt(c))


def _grouping(n: int, steps: float) -> float:
    """Return by what part of itself, for each step in sigmas, the scatter of a median is less when it is grouped.

    The place of a median within its step comes from the count of samples below it. It adds precision where some are
    equal: of an odd number the middle one always is within its step, of an even number the two in the middle must share
    theirs.
    """
    number = n * steps
    return 0.12 * float(1.0 - np.exp(-number / 3.0 if n % 2 else -((number / 14.0) ** 2)))


def _median_factor(n: int) -> float:
    """Return c of the median of n samples, between entries linear in 1/n."""
    table = _MEDIAN_ODD if n % 2 else _MEDIAN_EVEN
    inverse = [0.0, *(1 / count for count in reversed(table))]
    return float(np.interp(1 / n, inverse, [np.sqrt(np.pi / 2), *reversed(table.values())]))
