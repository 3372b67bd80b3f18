"""The bias that is taken off darks: from the biases beside them by a model, else the nearest master, else none."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.models.bias import BiasModel, Parameters, parameters_of
from calibration.models.dark.fit import Pedestal
from calibration.models.linear import fit_groups
from calibration.models.means import Groups, Planes
from services.errors import Usage
from services.models.bias import fit as bias_fit
from services.models.bias import plan as bias_plan
from services.models.gathering import Gathered, Member
from services.models.sampling import Place, sample_groups


class Way(StrEnum):
    """How the bias of darks is known."""

    MODEL = "model"
    MASTERS = "masters"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bias:
    """The bias of K groups of darks, before its pixels.

    Attributes
    ----------
    way : Way
    temperature_c, offset_adu : ndarray, shape (K,)
        Of the groups: mean temperature, and the offset of the session where its biases show it.
    work : bias_fit.Work or None
        The biases; None without any.
    nearest : ndarray of int, shape (K,)
        Number of the bias temperature that is nearest to each group.
    reason : str
        In a whole sentence, why this way.
    unused : mapping of Path to str
        Biases that are left out, with the reason in words.
    inputs : tuple of Member
        Those that are used.
    floor_adu : float
        The lowest level of the darks, where there are no biases.
    """

    way: Way
    temperature_c: NDArray[np.float64]
    offset_adu: NDArray[np.float64]
    work: bias_fit.Work | None
    nearest: NDArray[np.intp]
    reason: str
    unused: dict[Path, str]
    inputs: tuple[Member, ...] = ()
    floor_adu: float = 0.0

    @property
    def level_adu(self) -> NDArray[np.float64]:
        """The usual level of the bias of each group, shape (K,); the floor of the darks where it is not known."""
        if self.work is None:
            return np.full(len(self.temperature_c), self.floor_adu)
        if self.way is Way.MASTERS:
            return np.array([self.work.level_adu[self.work.labels_c[i]] for i in self.nearest])
        return np.asarray(self.work.model.basis.design(self.temperature_c) @ np.array(self.work.model.level.theta))

    @property
    def pedestal(self) -> Pedestal:
        """What its error adds to the darks."""
        k, work = len(self.temperature_c), self.work
        if work is None:
            return Pedestal.free(k)
        weights = np.array(work.sizes, np.float64)
        if self.way is Way.MASTERS:
            frames = np.array([weights[work.label_c == label].sum() for label in work.labels_c])
            used = np.unique(self.nearest)
            return Pedestal.of_masters(np.searchsorted(used, self.nearest), frames[used])
        design = work.model.basis.design(work.temperature_c)
        covariance = np.asarray(np.linalg.inv(design.T @ (design * weights[:, None])) * work.model.excess)
        return Pedestal.of_model(work.model.basis.design(self.temperature_c), covariance)

    @property
    def level_covariance_adu2(self) -> NDArray[np.float64]:
        """Covariance of the errors of the levels of the groups' biases, shape (K, K), as the biases show it."""
        k, work = len(self.temperature_c), self.work
        if work is None:
            return np.zeros((k, k))
        if self.way is Way.MODEL:
            design = work.model.basis.design(self.temperature_c)
            return np.asarray(design @ np.array(work.model.level.covariance) @ design.T)
        weights = np.array(work.sizes, np.float64)
        frames = np.array([weights[work.label_c == label].sum() for label in work.labels_c])[self.nearest]
        drift = np.nan_to_num(work.model.level.frame_sigma_adu) ** 2
        return np.asarray((self.nearest[:, None] == self.nearest) * (drift / frames))

    def at(self, temperature_c: NDArray[np.float64]) -> "Bias":
        """Return the bias of darks of other temperatures, without offsets of sessions."""
        nearest = self.nearest_to(temperature_c)
        return replace(self, temperature_c=temperature_c, offset_adu=np.zeros(len(temperature_c)), nearest=nearest)

    def part(self, kept: NDArray[np.bool_]) -> "Bias":
        """Return the bias of some of the groups of darks."""
        return replace(
            self,
            temperature_c=self.temperature_c[kept],
            offset_adu=self.offset_adu[kept],
            nearest=self.nearest[kept],
        )

    def nearest_to(self, temperature_c: NDArray[np.float64]) -> NDArray[np.intp]:
        """Return the number of the nearest temperature of the biases, 0 without any."""
        labels = np.zeros(1) if self.work is None else np.array(self.work.labels_c)
        return np.asarray(np.abs(temperature_c[:, None] - labels).argmin(axis=1))

    def planes(self, groups: Groups) -> Planes:
        """Return the bias of each group of darks from the means of the groups of biases, shape (K, ...), in ADU."""
        work = self.work
        if work is None:
            raise ValueError("there are no biases")
        offset = self.offset_adu.reshape(-1, *(1,) * groups.squares.ndim)
        if self.way is Way.MASTERS:
            return _masters(work, groups)[self.nearest] + offset
        theta = _fitted(work, groups).theta
        return np.tensordot(work.model.basis.design(self.temperature_c), theta, axes=1) + offset


def _fitted(work: bias_fit.Work, groups: Groups) -> Parameters:
    design, weights = work.model.basis.design(work.temperature_c), np.array(work.sizes, np.float64)
    fit = fit_groups(design, weights, groups, usual_variance=work.noise_adu**2)
    return parameters_of(work.model, fit)


def _masters(work: bias_fit.Work, groups: Groups) -> Planes:
    """Return the mean of the biases of each temperature."""
    found = []
    for label in work.labels_c:
        count = groups.count[work.label_c == label].astype(np.float64)
        total = np.nan_to_num(groups.mean[work.label_c == label] * np.where(count > 0, 1.0, np.nan)) * count
        with np.errstate(divide="ignore", invalid="ignore"):
            found.append(total.sum(axis=0) / count.sum(axis=0) + work.level_adu[label])
    return np.stack(found)


def bias_for(
    gathered: Gathered, darks: Sequence[Sequence[Member]], temperature_c: NDArray[np.float64], scratch: Path
) -> tuple[Bias, bias_plan.Plan | None]:
    """Decide how the bias of groups of darks is known.

    Parameters
    ----------
    gathered : Gathered
        The darks with what is beside them.
    darks : sequence of sequences of Member
        The frames of each of K groups.
    temperature_c : ndarray, shape (K,)
        Mean temperature of each group.
    scratch : Path
        Folder for frames that are unpacked; the caller removes it.

    Raises
    ------
    StorageError
        There is no room to unpack a frame.
    """
    try:
        plan = bias_plan.plan_of(Gathered(members=gathered.beside), scratch) if gathered.beside else None
    except Usage as error:
        plan, reason = None, f"The biases cannot be used: {error.detail}."
    else:
        reason = "There are no biases of the same settings."
    if plan is None:
        none = f"{reason} A constant is fitted to each pixel in their place."
        floor = min(member.numbers.median for member in gathered.members)
        return _without(temperature_c, none, floor), None
    work = bias_fit.work_of(plan)
    way, reason = _way(plan.model, temperature_c)
    labels = np.array(work.labels_c)
    return (
        Bias(
            way=way,
            temperature_c=temperature_c,
            offset_adu=offsets_of(plan, darks) if way is Way.MODEL else np.zeros(len(darks)),
            work=work,
            nearest=np.abs(temperature_c[:, None] - labels).argmin(axis=1),
            reason=reason,
            unused=dict(plan.unused),
            inputs=plan.members,
        ),
        plan,
    )


def _without(temperature_c: NDArray[np.float64], reason: str, floor_adu: float) -> Bias:
    k = len(temperature_c)
    return Bias(
        way=Way.NONE,
        temperature_c=temperature_c,
        offset_adu=np.zeros(k),
        work=None,
        nearest=np.zeros(k, np.intp),
        reason=reason,
        unused={},
        floor_adu=floor_adu,
    )


def _way(model: BiasModel, temperature_c: NDArray[np.float64]) -> tuple[Way, str]:
    coldest, warmest = model.coldest_c, model.warmest_c
    measured = f"{coldest:.1f} to {warmest:.1f} °C"
    if coldest == warmest:
        return Way.MASTERS, f"The biases have one temperature, {coldest:.1f} °C: their mean is taken off."
    family, far = model.basis.family.value, _beyond(model, temperature_c)
    reason = f"The bias of each temperature is that of a {family} model of the biases, {measured}"
    if not far.any():
        return Way.MODEL, f"{reason}."
    outside = f"{int((far > 0).sum())} of {len(far)} groups of darks lie outside of it, up to {far.max():.1f} °C"
    return Way.MODEL, f"{reason}. {outside}: their bias is an extrapolation. Take biases at these temperatures."


def _beyond(model: BiasModel, temperature_c: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return by how many degrees temperatures lie outside of those of the biases, 0 of those that count as inside."""
    outside = np.maximum(np.maximum(temperature_c - model.warmest_c, model.coldest_c - temperature_c), 0.0)
    inside = [model.holds_at(float(celsius)) for celsius in temperature_c]
    return np.where(inside, 0.0, outside)


def offsets_of(plan: bias_plan.Plan, darks: Sequence[Sequence[Member]]) -> NDArray[np.float64]:
    """Return the offset of the level of each group of darks, in ADU.

    That is the mean of those of its frames' sessions, which may be several; 0 of a session that no bias shows.
    """
    of = dict(zip(plan.sessions, plan.model.level.offsets_adu, strict=True))
    return np.array([np.mean([of.get(member.session, 0.0) for member in group]) for group in darks])


def sampled_biases(plan: bias_plan.Plan, place: Place) -> Groups:
    """Return the means of the groups of biases on a sample of pixels, shape (K, 1, pixels)."""
    noise, step = plan.noise_adu, plan.step_adu
    return sample_groups(plan.sources, plan.groups, plan.levels_adu, place, noise_adu=noise, step_adu=step)
