"""What a predictor says beside its classes, at stated rates: is it of the known kind, which may it be."""

from collections.abc import Sized
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from ..errors import SettingsError, UnavailableError
from ..known.conformal import METHODS, SetScores, choose_sets
from ..settings_schema import check_choice, check_range
from .answer import Known, SureSet, rank_classes

if TYPE_CHECKING:
    from .predictor import Predictor

UNKNOWN_RATE = 0.01


class KnownBy(Sized, Protocol):
    """What strangers are told by: its length is the number of images kept."""

    @property
    def least_rate(self) -> float:
        """The smallest rate at which anything can be called unknown."""


AnyReference = TypeVar("AnyReference", bound=KnownBy)


def pick_reference(reference: AnyReference | None, rate: float) -> AnyReference | None:
    """Return what strangers are told by, None where there is nothing or a rate of 0 says never.

    Raises:
        SettingsError: the rate is no share of the images, or nearly all of them.
    """
    check_range("unknown rate", rate, 0, 0.5)
    return reference if rate else None


def describe_known(p_values: np.ndarray | None, row: int, rate: float) -> Known | None:
    """Return whether an image is of the known kind at a rate, None where nothing tells."""
    return None if p_values is None else Known(float(p_values[row]), bool(p_values[row] > rate))


def why_never_unknown(reference: KnownBy | None, rate: float) -> str | None:
    """Return a sentence where a rate that was asked for cannot make any image unknown, else None."""
    if not rate:
        return None
    if reference is None:
        return (
            "The checkpoint keeps nothing to tell strangers by, so nothing is called unknown: add it with "
            "`catdog calibrate CKPT DATA`."
        )
    if rate < reference.least_rate:
        return (
            f"At an unknown rate of {rate:g} nothing is called unknown: the {len(reference):,} pictures that "
            f"the checkpoint keeps allow {np.ceil(1e4 * reference.least_rate) / 1e4:g} at least."
        )
    return None


class SetChooser:
    """Chooses the classes that an image may be, so that the right one is among them at the rate `sure`."""

    def __init__(
        self, scores: SetScores | None, sure: float, method: str, temperature: float, num_classes: int
    ):
        """Take the scores of the checkpoint's validation images, measured at its `temperature`.

        Raises:
            SettingsError: the rate or the method makes no sense.
            UnavailableError: the checkpoint keeps no such scores, or too few of a class.
        """
        check_range("sure", sure, 0.5, 0.9999)
        check_choice("sets", method, METHODS)
        if scores is None:
            raise UnavailableError(
                f"sure is {sure:g}, but the checkpoint keeps no scores to choose sets by: add them with "
                "`catdog calibrate CKPT DATA`."
            )
        most = scores.most_sure(num_classes)
        if sure > most + 1e-9:
            fewest = int(scores.count(num_classes).min())
            allowed = f"{np.floor(1e4 * most) / 1e4:g} at most" if most >= 0.5 else "no promise"
            raise UnavailableError(
                f"sure is {sure:g}, but the class with the fewest validation pictures has {fewest}, which "
                f"allow {allowed}: give less, or calibrate on more pictures with `catdog calibrate`."
            )
        self.sure, self.method, self.temperature = sure, method, temperature
        self.limits = scores.thresholds(sure, method, num_classes)

    def choose(self, probabilities: np.ndarray) -> np.ndarray:
        """Return (N, C) booleans of probabilities (N, C) at `temperature`."""
        return choose_sets(probabilities, self.limits, self.method)

    def describe(
        self, chosen: np.ndarray, probabilities: Any, class_names: list[str], names: list[str]
    ) -> SureSet:
        """Return the classes of one image, the likeliest first: `chosen` (C,) with probabilities (C,)."""
        kept = {name for name, is_in in zip(class_names, chosen, strict=True) if is_in}
        ranked = rank_classes(probabilities, class_names, names, len(class_names))
        return SureSet(self.sure, tuple(each for each in ranked if each.class_name in kept), len(class_names))


def refuse_sets_of_mean(sure: float | None) -> None:
    """Raise SettingsError where sets are asked for of a mean, which no validation image has calibrated."""
    if sure is not None:
        raise SettingsError(
            f"sure is {sure:g}, but a mean of several checkpoints was never calibrated: give one."
        )


def make_chooser(model: Any, sure: float | None, method: str) -> SetChooser | None:
    """Return what chooses sets of classes at the rate `sure`, None where nobody asked for them.

    `model` has the fields of a `LoadedModel`.

    Raises:
        SettingsError: images may have several labels, or as of `SetChooser`.
        UnavailableError: as of `SetChooser`.
    """
    if sure is None:
        return None
    if model.task.several:
        raise SettingsError(
            f"sure is {sure:g}, but the checkpoint tells several labels a picture: leave it out."
        )
    return SetChooser(model.sets, sure, method, model.temperature, len(model.class_names))


def describe_sets(predictor: "Predictor", logits: Any, probabilities: Any) -> list[SureSet | None]:
    """Return the set of classes of each image, of logits and probabilities (N, C); None where not asked for.

    Sets are chosen at the temperature at which they were calibrated, whatever probabilities are shown.
    """
    chooser = predictor.set_chooser
    if chooser is None:
        return [None] * len(logits)
    chosen = chooser.choose(predictor.task.probabilities(np.asarray(logits), chooser.temperature))
    return [
        chooser.describe(row, each, predictor.class_names, predictor.names)
        for row, each in zip(chosen, probabilities, strict=True)
    ]
