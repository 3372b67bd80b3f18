"""Which masters the catalogue's frames become, and which of them exist: recipes are compared, no frame is opened."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

from calibration.combine.recipe import Method, NoiseModel, Recipe
from calibration.frames import FrameKind, GroupKey
from services.catalogue.database import uncollected
from services.catalogue.rows import FactRow, Flag, KnownMaster, Mark, MasterRow, MasterStatus, is_unchanged
from services.planning.chosen import Chosen, chosen, evenly_lit
from services.planning.flat_darks import FlatDark, FlatDarks, NoDark
from services.planning.master_groups import MasterGroup, as_dark, master_groups
from services.planning.master_settings import MasterSettings
from services.planning.predicted_darks import DarkModels
from services.root import Place

Whole = Callable[[MasterRow, Path], bool]
"""Says whether a master's file still holds the pixels that it was built with."""


class MasterPlan:
    """What the masters step has to do: groups of frames, the recipe of each master, and the masters that exist.

    Parameters
    ----------
    settings : MasterSettings
    place : Place
        Its catalogue is read, nothing is written.
    is_whole : callable
        Asked about a master's file whose size or time has changed since it was written.
    """

    def __init__(self, settings: MasterSettings, place: Place, *, is_whole: Whole) -> None:
        self.settings = settings
        self.place = place
        self._is_whole = is_whole
        self._darks: FlatDarks | None = None
        self._foreseen: list[MasterRow] = []
        self._by_recipe: dict[str, list[KnownMaster]] | None = None

    @uncollected()
    def groups(self, sets: Collection[str] | None = None) -> list[MasterGroup]:
        """Return what becomes a master each, flats last: their darks are in the catalogue by then.

        Parameters
        ----------
        sets : collection of str, optional
            Only groups of these sets.
        """
        settings, catalogue = self.settings, self.place.catalogue
        biases = master_groups(catalogue, FrameKind.BIAS, sets) if settings.bias or settings.darks else []
        groups = list(biases) if settings.bias else []
        if settings.darks:
            groups += (as_dark(group) for group in biases if group.key.exposure_us)
            groups += master_groups(catalogue, FrameKind.DARK, sets)
        if settings.flats:
            groups += master_groups(catalogue, FrameKind.FLAT, sets)
        return groups

    def chosen(self, group: MasterGroup, levels_adu: Sequence[float] | None = None) -> Chosen | None:
        """Return the frames of a group that its master is made of; None where only their pixels could say.

        Parameters
        ----------
        group : MasterGroup
        levels_adu : sequence of float, optional
            Level of each flat; by default what the catalogue knows.
        """
        if levels_adu is None and group.product is FrameKind.FLAT:
            if (evenly := evenly_lit(group, self.darks_of)) is not None:
                return evenly
            known = [member.level_adu for member in group.members]
            levels_adu = [level for level in known if level is not None]
            if len(levels_adu) < len(known):
                return None
        least = self.settings.least(group.taken_as, group.key.source, group.key)
        return chosen(group, levels_adu or (), self.darks_of, least=least)

    def existing(self, found: Chosen | None) -> str | None:
        """Return the path of the master of these frames that exists, as far as the catalogue alone knows.

        What rejects outliers among few frames depends on whether their gain is known.
        """
        if found is None or not found.group.rows:
            return None
        gain = self.gain_e_adu(found.group)
        noise = None if gain is None else NoiseModel(read_noise_adu=1.0, gain_e_adu=gain)
        method = Recipe(method=self.settings.method, noise=noise).method_for(len(found.group.rows))
        return self.with_recipe(self.recipe(found.group, found.distinct_darks, method))

    def recipe(self, group: MasterGroup, darks: Sequence[FlatDark], method: Method) -> str:
        """Return the recipe's hash: inputs, settings, what rejects outliers, and the darks' own recipes.

        The numbers of the noise model are not part of it: the gain is measured again every night, and that is no
        reason to build a master again.
        """
        parts = self.settings.recipe_parts(group.product)
        parts["darks"] = sorted(dark.identity for dark in darks)
        parts["rejection"] = str(method)
        return group.recipe(parts)

    def with_recipe(self, recipe: str) -> str | None:
        """Return the path of a recipe's master if its file is still there and whole, else of one that was marked bad.

        That mark stands: the same frames and settings would only give the same master again.
        """
        if self._by_recipe is None:
            self._by_recipe = {}
            for each in self.place.catalogue.known_masters().values():
                self._by_recipe.setdefault(each.recipe, []).append(each)
        found = self._by_recipe.get(recipe, [])
        usable = (each for each in found if each.stands and self._serves(each))
        bad = (each for each in found if each.status == MasterStatus.BAD)
        return next((each.path for each in chain(usable, bad)), None)

    def more_complete(self, group: MasterGroup) -> str | None:
        """Return the path of a complete master of these frames and others: losing frames does not make it worse.

        Frames that were marked bad do.
        """
        inputs = set(group.pixels)
        bad = {row.pixel_sha256 for row in self.place.catalogue.frames(flag=Flag.BAD)}
        for row in self._of_the_key(group.product, group.key.filter, group.exposure_us):
            more = _are_one(row.key, group.key) and inputs < set(row.inputs) and not bad & set(row.inputs)
            complete = row.may_serve and MasterStatus.PARTIAL not in {row.status, row.stood_as}
            if more and complete and self._is_there(row):
                return row.path
        return None

    def rejected_of(self, group: MasterGroup) -> tuple[Mark, ...]:
        """Return the frames of a group's set that were rejected."""
        first, catalogue = group.rows[0], self.place.catalogue
        bad = {row.pixel_sha256 for row in catalogue.frames(flag=Flag.BAD, set_id=first.set_id, kind=first.kind)}
        return tuple(mark for mark in catalogue.marks() if mark.pixel_sha256 in bad) if bad else ()

    def alike(self, new: MasterRow) -> list[MasterRow]:
        """Return the masters that may have the key of a new one, itself included."""
        return self._of_the_key(new.kind, new.key.filter, new.exposure_us)

    def status_of(self, group: MasterGroup) -> MasterStatus:
        """Return `partial` for a set of ours that is not complete; a foreign set is what it is."""
        wanted = self.settings.wanted(group.taken_as, group.key)
        return MasterStatus.PARTIAL if group.own and len(group.rows) < wanted else MasterStatus.BUILT

    def darks_of(
        self, flats: MasterGroup, levels_adu: Mapping[int | None, float]
    ) -> tuple[dict[int | None, FlatDark], list[NoDark]]:
        """Return the dark of each exposure of a group of flats, and of which there is none.

        Parameters
        ----------
        flats : MasterGroup
        levels_adu : mapping
            Mean level of its frames by their exposure in ADU, pedestal included.
        """
        if self._darks is None:
            kinds = (FrameKind.BIAS, FrameKind.DARK)
            rows = self.place.catalogue.masters(kind=kinds, with_inputs=False)
            settings = self.settings
            models = DarkModels(
                catalogue=self.place.catalogue,
                max_error=settings.model_error,
                max_beyond_c=settings.model_beyond_c,
                age_limit=settings.age_of_darks,
            )
            self._darks = FlatDarks([*rows, *self._foreseen], settings.flat_dark, models)
        exposures = sorted(levels_adu, key=lambda exposure_us: -1 if exposure_us is None else exposure_us)
        found = {each: self._darks.of(flats, each, levels_adu[each]) for each in exposures}
        lacking = [dark for dark in found.values() if isinstance(dark, NoDark)]
        return {exposure: dark for exposure, dark in found.items() if isinstance(dark, FlatDark)}, lacking

    def foresee(self, dark: MasterRow) -> None:
        """Let flats have a dark that is yet to be built: in a plan by which nothing is built."""
        self._foreseen.append(dark)

    def forget(self) -> None:
        """Ask the catalogue again for the masters that exist: one was added."""
        self._darks = self._by_recipe = None

    def gain_e_adu(self, group: MasterGroup) -> float | None:
        """Return e-/ADU: measured by our own detector step with these settings, else what the header says."""
        first = group.rows[0]
        settings = {"gain": first.gain, "readout_mode": first.readout_mode, "binning": [first.bin_x, first.bin_y]}
        for fact in self._conversions:
            if fact.camera in {"", first.camera} and fact.holds_for(settings) and fact.value > 0:
                return 1.0 / fact.value
        return first.egain_e_adu if first.egain_e_adu and first.egain_e_adu > 0 else None

    @cached_property
    def _conversions(self) -> list[FactRow]:
        return self.place.catalogue.facts(name="k_adu_e")

    def _of_the_key(self, kind: FrameKind, name: str | None, exposure_us: int | None) -> list[MasterRow]:
        """Return the masters that may have the same key; a flat's exposure is not part of it."""
        filters: dict[str, Any] = {} if kind is FrameKind.FLAT else {"exposure_us": exposure_us}
        return self.place.catalogue.masters(kind=kind, filter=name, **filters)

    def _serves(self, known: KnownMaster) -> bool:
        """Whether a master's file is whole, and its planes exist where they are wanted (or somebody certified it)."""
        path = self.place.layout.absolute(known.path)
        planes = bool(known.chosen) or self.place.layout.planes_path(path).exists()
        return (planes or not self.settings.save_planes) and self._is_there(known)

    def _is_there(self, known: KnownMaster | MasterRow) -> bool:
        path = self.place.layout.absolute(known.path)
        if is_unchanged(known, path):
            return True
        return any(self._is_whole(row, path) for row in self.place.catalogue.masters(path=known.path))


def _are_one(a: GroupKey, b: GroupKey) -> bool:
    """Whether two keys are of one group: those of older masters do not hold the mosaic and the gain in e-/ADU."""
    names = ("egain_e_adu", "bayer_pattern")
    unknown: dict[str, Any] = {name: None for name in names if getattr(a, name) is None or getattr(b, name) is None}
    return replace(a, **unknown) == replace(b, **unknown)
