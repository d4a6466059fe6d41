"""What a field of the settings says about itself: bounds, help, group, whether a resumed run may change it.

The check of a value, the option of the command line, the rule of what may change on resume and the table in
the documentation all come from here. A field is declared with `field(default, metadata=about(...))`.
"""

import dataclasses
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

from .errors import SettingsError, quote

LARGEST = 10**15  # of whole numbers without another limit: a file may hold one of 5,000 digits

NETWORK, TRAINING, FINE_TUNING = "Network", "Training", "Fine-tuning, a second phase"
IMAGES, MACHINE, RUN = "Pictures and labels", "Speed, memory and machine", "The run"
GROUPS = (NETWORK, TRAINING, FINE_TUNING, IMAGES, MACHINE, RUN)


@dataclass(frozen=True)
class Setting:
    """What one field says about itself.

    Attributes:
        help: a sentence for `--help` and the documentation, without the default.
        group: the heading that it stands under, one of GROUPS; empty for what is no option.
        kind: of the value: int is a whole number, float any finite number.
        low, high: the bounds of a number, both allowed.
        choices: the texts that are allowed; any if empty.
        label: its name in messages; the field's name with blanks where empty.
        metavar: what stands for the value in `--help`.
        default: how `--help` tells it, where that is not the field's own default; "": it does not.
        on_resume: whether a run that resumes may be given another value.
        check: raises SettingsError where bounds and choices do not say enough; gets label and value.
    """

    help: str
    group: str
    kind: type
    low: float
    high: float
    choices: tuple[str, ...]
    label: str
    metavar: str | None
    default: str | None
    on_resume: bool
    check: Callable[[str, Any], None] | None


def about(
    help: str = "",
    group: str = "",
    kind: type = str,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    choices: tuple[str, ...] = (),
    label: str = "",
    metavar: str | None = None,
    default: str | None = None,
    on_resume: bool = False,
    check: Callable[[str, Any], None] | None = None,
) -> dict[str, Setting]:
    """Return the metadata of a field; the arguments are those of `Setting`."""
    return {
        "setting": Setting(help, group, kind, low, high, choices, label, metavar, default, on_resume, check)
    }


def settings_of(kind: type) -> dict[str, Setting]:
    """Return what the fields of a settings class say about themselves, complete, by name, in order."""
    return {
        item.name: _complete(item, item.metadata["setting"])
        for item in dataclasses.fields(kind)
        if "setting" in item.metadata
    }


def _complete(item: "dataclasses.Field[Any]", setting: Setting) -> Setting:
    """Return a setting with its label, and with the field's own default as `--help` tells it."""
    label = setting.label or item.name.replace("_", " ")
    default = setting.default
    if default is None and item.default is not dataclasses.MISSING:
        value = item.default
        default = ("yes" if value else "no") if isinstance(value, bool) else _as_text(value)
    return dataclasses.replace(setting, label=label, default=default)


def _as_text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


class PlainDict:
    """A frozen dataclass of settings: checks its fields, turns into plain containers and back."""

    def __post_init__(self) -> None:
        for name, setting in settings_of(type(self)).items():
            check_value(setting, getattr(self, name))

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain containers: tuples become lists, nested settings become dicts."""
        return {name: _plain(value) for name, value in dataclasses.asdict(self).items()}  # type: ignore[call-overload]

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Build from `to_dict`'s output; a missing field takes its default.

        Raises:
            SettingsError: a field is unknown, or its value fails the class's checks.
        """
        if not isinstance(values, dict):
            raise SettingsError(f"{cls.__name__} is {quote(values)}, but must be names with values.")
        fields = {item.name: item for item in dataclasses.fields(cls)}  # type: ignore[arg-type]
        for name in values:
            if name not in fields:
                import difflib

                close = difflib.get_close_matches(quote(name).strip("'"), fields, 1)
                hint = f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(fields)}."
                raise SettingsError(f"Unknown setting {quote(name)}{hint}")
        made = {name: _revive(fields[name], value) for name, value in values.items()}
        try:
            return cls(**made)
        except TypeError as error:
            raise SettingsError(f"Incomplete {cls.__name__}: {error}.") from error


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _revive(item: "dataclasses.Field[Any]", value: Any) -> Any:
    kind = item.metadata.get("kind")
    if kind is not None and isinstance(value, dict):
        return kind.from_dict(value)
    if kind is not None and isinstance(value, list):
        return tuple(kind.from_dict(entry) if isinstance(entry, dict) else entry for entry in value)
    return tuple(value) if isinstance(value, list) else value


def check_value(setting: Setting, value: Any) -> None:
    """Raise SettingsError unless `value` is what the setting may be."""
    label = setting.label
    if setting.check is not None:
        setting.check(label, value)
    elif setting.choices:
        check_choice(label, value, setting.choices)
    elif setting.kind is bool:
        check_kind(label, value, bool, "true or false")
    elif setting.kind is str:
        check_kind(label, value, str, "a text")
    else:
        check_range(label, value, setting.low, setting.high, whole=setting.kind is int)


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Raise SettingsError unless `value` is one of `choices`."""
    if value not in choices:
        raise SettingsError(f"{name} is {quote(value)}, but must be one of: {', '.join(choices)}.")


def check_range(name: str, value: Any, low: float, high: float = math.inf, whole: bool = False) -> None:
    """Raise SettingsError unless `value` is a number in [low, high], and whole if asked."""
    number = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    high = LARGEST if isinstance(value, int) and high == math.inf else high
    if not number or not low <= value <= high or value == math.inf:
        wide = high == math.inf or (high == LARGEST and not (number and value > high))
        bounds = f"of at least {low:g}" if wide else f"from {low:g} to {high:g}"
        kind = "whole number" if whole else "number"
        raise SettingsError(f"{name} is {quote(value)}, but must be a {kind} {bounds}.")


def check_kind(name: str, value: Any, kind: type | tuple[type, ...], wanted: str) -> None:
    """Raise SettingsError unless `value` is of `kind`, which a person would call `wanted`."""
    if not isinstance(value, kind):
        raise SettingsError(f"{name} is {quote(value)}, but must be {wanted}.")


def save_interval(text: str) -> tuple[float, float]:
    """Return (seconds, batches) between saves within an epoch: one of them, or both, is infinite.

    `text` is a time (30s, 10m, 2h), a number of batches (200 or 200b), or off (also 0).

    Raises:
        SettingsError: it is something else.
    """
    form = r"(\d{1,9}(?:\.\d{1,9})?)(s|m|h)|(\d{1,9})b?|off"
    found = re.fullmatch(form, text) if isinstance(text, str) else None
    if found is None:
        raise SettingsError(
            f"save every is {quote(text)}, but must be a time (30s, 10m, 2h), a number of batches (200) or "
            f"off."
        )
    number, unit, batches = found.groups()
    seconds = float(number or 0) * {"s": 1, "m": 60, "h": 3600, None: 1}[unit]
    return seconds or math.inf, int(batches or 0) or math.inf


def check_save_every(label: str, value: Any) -> None:
    """Raise SettingsError unless `value` says how often to save."""
    save_interval(value)
