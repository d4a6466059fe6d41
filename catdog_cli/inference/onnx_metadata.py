"""What an exported file says of itself: the text of JSON under the key `catdog` of its metadata.

{
  "format": 1, "catdog": "0.1.0",
  "checkpoint": {"name": "best.pt", "sha256": "..."},
  "arch": "mobilenet_v2", "weights": "float32" | "float16" | "int8",
  "task": "single-label" | "multi-label",
  "classes": ["cats", "dogs"],              the order of the outputs
  "category_names": {"cats": "Cats"},       names to show, where there are any
  "input_specs": [{"size", "resize", "mean", "std", "interpolation"}],   one a network
  "looks": "once" | "mirror" | "whole",     in the graph already
  "temperature": 1.7,                       in `probabilities` already
  "thresholds": [0.4, 0.6] | null,          from which probability each of several labels is said
  "label_delimiter": "",
  "unknown": {"images": 2000, "split": "train"} | null,   n images: known_p is at least 1 / (n + 1)
  "sets": {"labels", "lac", "aps"} | null,  base64 of int32, float32, float32: see known.conformal.SetScores
  "maps": {"outputs": [{"name", "network", "kind"}], "bias": [...]} | null
}
"""

import base64
import binascii
import json
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ..errors import CheckpointError, SettingsError, quote
from ..images.looks import WHOLE
from ..known.conformal import METHODS, SetScores, least_rate
from ..models.tasks import SINGLE_LABEL, TASKS, Task
from ..runs.category_names import match_category_names
from ..settings_input import LOOKS, InputSpec
from ..settings_networks import AnySpec, join_specs, specs_of
from ..settings_schema import check_choice, check_kind

KEY = "catdog"
FORMAT = 1
WEIGHTS = ("float32", "float16", "int8")
MOST_NETWORKS = 100
MOST_IMAGES = 100_000
IMAGES, PROBABILITIES, LOGITS, KNOWN, MAP = "images", "probabilities", "logits", "known_p", "class_map"


class KnownImages:
    """From how many images' distances the p-values of a file come, and whose they are."""

    def __init__(self, images: int, split: str = "") -> None:
        self.images, self.split = images, split

    def __len__(self) -> int:
        return self.images

    @property
    def least_rate(self) -> float:
        """The smallest rate at which anything can be called unknown."""
        return least_rate(self.images)


class MapOutput(NamedTuple):
    """An output with class maps: of which network, and how the image was cut for it."""

    name: str
    network: int
    kind: str


class Maps(NamedTuple):
    """The outputs with class maps, and each class's bias (C,)."""

    outputs: tuple[MapOutput, ...]
    bias: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Metadata:
    """What an exported file says of itself; it has the fields of a `LoadedModel` that answers need."""

    class_names: list[str]
    input_spec: AnySpec
    arch: str = ""
    weights: str = WEIGHTS[0]
    task: Task = SINGLE_LABEL
    category_names: dict[str, str] = field(default_factory=dict)
    looks: str = LOOKS[0]
    temperature: float = 1.0
    thresholds: list[float] | None = None
    label_delimiter: str = ""
    reference: KnownImages | None = None
    sets: SetScores | None = None
    maps: Maps | None = None
    checkpoint: str = ""  # the name of the file that it was made from
    digest: str = ""  # SHA-256 of that file
    version: str = ""  # of the catdog that made it

    def to_json(self) -> str:
        """Return the text that a file carries, in ASCII."""
        return json.dumps(
            {
                "format": FORMAT,
                "catdog": self.version,
                "checkpoint": {"name": self.checkpoint, "sha256": self.digest},
                "arch": self.arch,
                "weights": self.weights,
                "task": self.task.name,
                "classes": self.class_names,
                "category_names": self.category_names,
                "input_specs": [spec.to_dict() for spec in specs_of(self.input_spec)],
                "looks": self.looks,
                "temperature": self.temperature,
                "thresholds": self.thresholds,
                "label_delimiter": self.label_delimiter,
                "unknown": None if self.reference is None else vars(self.reference),
                "sets": None if self.sets is None else _encode_sets(self.sets),
                "maps": None if self.maps is None else _encode_maps(self.maps),
            }
        )


def read_metadata(text: str, path: str) -> Metadata:
    """Return what `Metadata.to_json` made a text of, checked.

    Raises:
        CheckpointError: it is something else.
    """
    try:
        kept = json.loads(text)
        check_kind("the metadata", kept, dict, "names with values")
        version = kept.get("format")
        if type(version) is int and version > FORMAT:
            raise CheckpointError(
                f"{path!r} was exported in format {version}, this catdog reads up to {FORMAT}: update catdog."
            )
        return _read(kept)
    except (SettingsError, TypeError, ValueError, KeyError, RecursionError, binascii.Error) as error:
        reason = " ".join(str(error).split())[:200].rstrip(".")
        raise CheckpointError(
            f"What {path!r} says of itself makes no sense ({reason}): export it again."
        ) from error


def _read(kept: dict[str, Any]) -> Metadata:
    classes = kept["classes"]
    check_kind("classes", classes, list, "a list of names")
    if not classes or not all(isinstance(name, str) for name in classes) or len(set(classes)) != len(classes):
        raise ValueError("classes are not names that all differ")
    for name in classes:
        name.encode("utf-8", "surrogateescape")  # a ValueError: half a character
    specs = kept["input_specs"]
    check_kind("input_specs", specs, list, "a list")
    if not 1 <= len(specs) <= MOST_NETWORKS:
        raise ValueError(f"there are {len(specs)} input specs")
    check_choice("looks", kept["looks"], LOOKS)
    check_choice("weights", kept["weights"], WEIGHTS)
    check_choice("task", kept["task"], tuple(TASKS))
    task = TASKS[kept["task"]]
    names = kept["category_names"]
    check_kind("category_names", names, dict, "names by class")
    for key in ("arch", "catdog", "label_delimiter"):
        check_kind(key, kept[key], str, "a text")
    made_of = kept["checkpoint"]
    check_kind("checkpoint", made_of, dict, "a name and a digest")
    return Metadata(
        classes,
        join_specs([InputSpec.from_dict(spec) for spec in specs]),
        kept["arch"],
        kept["weights"],
        task,
        match_category_names(names, classes),
        kept["looks"],
        _positive(kept["temperature"]),
        _thresholds(kept["thresholds"], len(classes)) if task.several else None,
        kept["label_delimiter"],
        _read_known(kept["unknown"]),
        None if kept["sets"] is None else _decode_sets(kept["sets"], len(classes)),
        None if kept["maps"] is None else _read_maps(kept["maps"], len(classes), len(specs)),
        str(made_of.get("name", "")),
        str(made_of.get("sha256", "")),
        kept["catdog"],
    )


def _positive(value: Any) -> float:
    found = float(value)
    if not 0 < found < float("inf"):
        raise ValueError(f"temperature is {quote(value)}")
    return found


def _thresholds(values: Any, num_classes: int) -> list[float]:
    numbers = isinstance(values, list) and all(type(each) is float and 0 < each < 1 for each in values)
    if not numbers or len(values) != num_classes:
        raise ValueError(f"thresholds are not {num_classes} numbers between 0 and 1")
    return list(values)


def _read_known(kept: Any) -> KnownImages | None:
    if kept is None:
        return None
    check_kind("unknown", kept, dict, "a number of images")
    number = kept["images"]
    if type(number) is not int or not 1 <= number <= MOST_IMAGES:
        raise ValueError(f"unknown is of {quote(number)} images")
    return KnownImages(number, str(kept.get("split", "")))


def _read_maps(kept: Any, num_classes: int, num_networks: int) -> Maps:
    check_kind("maps", kept, dict, "outputs and biases")
    outputs = tuple(MapOutput(str(each["name"]), each["network"], each["kind"]) for each in kept["outputs"])
    for each in outputs:
        if type(each.network) is not int or not 0 <= each.network < num_networks:
            raise ValueError(f"there is a map of network {quote(each.network)}")
        check_choice("kind", each.kind, ("none", WHOLE))
    bias = tuple(map(float, kept["bias"]))
    if not outputs or len(bias) != num_classes:
        raise ValueError("its maps are not those of its classes")
    return Maps(outputs, bias)


def _encode_maps(maps: Maps) -> dict[str, Any]:
    return {"outputs": [each._asdict() for each in maps.outputs], "bias": list(maps.bias)}


def _encode_sets(sets: SetScores) -> dict[str, str]:
    arrays = {"labels": sets.labels.astype("<i4")}
    arrays |= {name: values.astype("<f4") for name, values in sets.scores.items()}
    return {name: base64.b64encode(values.tobytes()).decode("ascii") for name, values in arrays.items()}


def _decode_sets(kept: Any, num_classes: int) -> SetScores:
    check_kind("sets", kept, dict, "scores by name")
    raw = {name: base64.b64decode(kept[name], validate=True) for name in ("labels", *METHODS)}
    labels = np.frombuffer(raw["labels"], "<i4").astype(np.int32)
    scores = {name: np.frombuffer(raw[name], "<f4").astype(np.float64) for name in METHODS}
    return SetScores(labels, scores).checked(num_classes)
