"""The order in which sets and masters stand on the page, and which of them are one and the same."""

from collections.abc import Iterable

from services.reports.event_records import Record
from services.words import title

_RANK = {"BIAS": 0, "DARK": 1, "FLAT": 2}
_SAME = ("exposure_us", "gain", "n", "outcome", "statistics")


def in_order(records: Iterable[Record]) -> tuple[Record, ...]:
    """Return biases, darks from the shortest to the longest, then flats; what is equal in that stays as it was."""

    def rank(record: Record) -> tuple[int, float]:
        kind, exposure_us = str(record.get("kind")), record.get("exposure_us")
        length = float(exposure_us) if kind == "DARK" and isinstance(exposure_us, int | float) else 0.0
        return _RANK.get(kind, len(_RANK)), length

    return tuple(sorted(records, key=rank))


def without_twins(masters: Iterable[Record]) -> tuple[Record, ...]:
    """Return masters with the dark of the biases' exposure named in the bias's title: it is made of the same frames."""
    masters = tuple(masters)
    biases = {_facts(m): m for m in masters if m.get("kind") == "BIAS" and m.get("outcome") != "refused"}
    twins = {id(biases[_facts(m)]): m for m in masters if m.get("kind") == "DARK" and _facts(m) in biases}
    named = {id(m) for m in twins.values()}
    titles = {bias: title({**twin, "apart": ""}) for bias, twin in twins.items()}
    return tuple({**m, "twin": titles[id(m)]} if id(m) in titles else m for m in masters if id(m) not in named)


def _facts(master: Record) -> str:
    return str([master.get(name) for name in _SAME])
