"""The checkpoint file: one plain dict, saved atomically, loaded without running code.

`last.pt` holds everything, `best.pt` only what predicting needs.
"""

import dataclasses
import math
import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .. import __version__
from ..errors import CheckpointError, SettingsError, quote
from ..known.conformal import SetScores
from ..known.reference import Reference
from ..models.classifier import Classifier, build_classifier
from ..models.heads import HeadMisfitError, KeptWeights, check_custom_weights
from ..models.meta import compute_buffers, meta_networks
from ..models.safe_load import load_plain, say_foreign
from ..models.tasks import SINGLE_LABEL, TASKS, Task
from ..models.weights import Origin
from ..models.zoo.registry import check_arch, require_source
from ..settings import LOOKS, HeadSpec
from ..settings_head import CUSTOM
from ..settings_networks import JOIN, AnySpec, read_spec, specs_of, split_arch
from ..settings_schema import check_choice, check_kind, settings_of
from .category_names import match_category_names
from .directory import BEST, find_checkpoint, write_run_file

FORMAT_VERSION = 1
MAX_ORIGIN = 200  # letters of a library's name, of weights' and of their licence
PREDICT_KEYS = (
    "format_version",
    "arch",
    "hidden_layers",
    "dropout",
    "class_to_idx",
    "input_spec",
    "state_dict",
)
FIELD_KINDS = {
    "arch": (str, "a text"),
    "hidden_layers": (list, "a list"),
    "class_to_idx": (dict, "names with numbers"),
    "state_dict": (dict, "names with tensors"),
}
RESUME_KEYS = (
    "epoch",
    "phase",
    "step",
    "optimizer",
    "scheduler",
    "rng",
    "best",
    "patience",
    "history",
    "settings",
    "data_fingerprint",
    "versions",
)


def save_checkpoint(content: dict[str, Any], path: Path) -> None:
    """Save a dict of plain containers and tensors atomically."""
    write_run_file(path, lambda file: torch.save(content, file))


def describe_model(
    classifier: Classifier,
    head: HeadSpec,
    class_names: list[str],
    spec: AnySpec,
    category_names: dict[str, str] | None = None,
    origin: Origin | None = None,
    task: Task = SINGLE_LABEL,
    label_delimiter: str = "",
    looks: str = LOOKS[0],
) -> dict[str, Any]:
    """Return the part of a checkpoint that predicting needs.

    Args:
        category_names: to show for classes, if there are any.
        origin: where the network comes from: whoever predicts may lack the library that has it.
        label_delimiter: what divided labels in the data, if that was said: evaluation reads it likewise.
        looks: over which views of an image answers are means, one of settings.LOOKS.
    """
    return {
        "format_version": FORMAT_VERSION,
        "arch": classifier.arch,
        **head.to_dict(),
        "class_to_idx": {name: index for index, name in enumerate(class_names)},
        "input_spec": spec.to_dict(),
        "state_dict": {name: tensor.cpu() for name, tensor in classifier.state_dict().items()},
        **({"category_names": dict(category_names)} if category_names else {}),
        **({} if origin is None else dataclasses.asdict(origin)),
        **({} if task is SINGLE_LABEL else {"task": task.name}),  # absent in what older ones wrote
        **({"label_delimiter": label_delimiter} if task.several and label_delimiter else {}),
        **({} if looks == LOOKS[0] else {"looks": looks}),
    }


def versions() -> dict[str, str]:
    """Return the versions that a result may depend on."""
    from ..runtime.vision import torchvision

    return {
        "catdog": __version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),  # a class of its own, which a safe load refuses
        "torchvision": str(torchvision.__version__),
    }


def load_checkpoint(
    path: str | Path, name: str = BEST, resume: bool = False, head: nn.Module | None = None
) -> dict[str, Any]:
    """Load a checkpoint and check what it holds; with `resume`, all that resuming needs.

    `head` is the user's own module, which resuming with a custom head needs.

    Raises:
        CheckpointError: missing, damaged, foreign, hostile, of a newer format, or with parts that do not fit.
    """
    path = find_checkpoint(path, name)
    content = load_plain(path)
    if not isinstance(content, dict) or "format_version" not in content:
        raise CheckpointError(f"{str(path)!r} {say_foreign(content)}.")
    version = content["format_version"]
    if type(version) is not int or not 1 <= version <= FORMAT_VERSION:
        raise CheckpointError(
            f"{str(path)!r} has checkpoint format {quote(version)}, this catdog reads up to "
            f"{FORMAT_VERSION}: update catdog."
        )
    _require_keys(path, content, PREDICT_KEYS)
    if resume and any(key not in content for key in RESUME_KEYS):
        raise CheckpointError(
            f"{str(path)!r} holds only what predicting needs: resume from last.pt in its run directory."
        )
    if resume:
        _check_progress(path, content, head)
    return content


def _require_keys(path: Path, content: dict, keys: tuple[str, ...]) -> None:
    missing = [key for key in keys if key not in content]
    if missing:
        raise CheckpointError(f"{str(path)!r} lacks {', '.join(missing)}: it is damaged; give another one.")


def _check_progress(path: Path, content: dict[str, Any], head: nn.Module | None) -> None:
    """Raise CheckpointError unless the weights fit the network and the progress fits the settings."""
    build_from_checkpoint(content, path, head)
    settings = content["settings"]
    phases = settings.get("phases") if isinstance(settings, dict) else None
    counts = {key: content[key] for key in ("epoch", "phase", "step", "patience")}
    wrong = [key for key, count in counts.items() if type(count) is not int or count < 0]
    wrong += [] if isinstance(content["history"], list) else ["history"]
    wrong += [] if _is_fingerprint(content["data_fingerprint"]) else ["data_fingerprint"]
    if not wrong and (not isinstance(phases, list) or content["phase"] >= len(phases)):
        wrong = ["phase"]
    if wrong:
        raise CheckpointError(
            f"The progress in {str(path)!r} makes no sense ({wrong[0]} is {quote(content[wrong[0]])}): it is "
            f"damaged; give another one."
        )


def _is_fingerprint(value: Any) -> bool:
    """Say whether a value may be compared with what `data.digests.fingerprint` returns."""
    if not isinstance(value, dict):
        return value is None
    return all(isinstance(part, (int, str)) for part in value.values())


@dataclass
class LoadedModel:
    """What predicting needs, built from a checkpoint; `class_names[i]` is the label of output i."""

    classifier: Classifier
    class_names: list[str]
    input_spec: AnySpec
    head: HeadSpec
    temperature: float = 1.0
    category_names: dict[str, str] = field(default_factory=dict)
    task: Task = SINGLE_LABEL
    thresholds: list[float] | None = None  # (C,) of several labels, at the temperature
    label_delimiter: str = ""
    origin: Origin = field(default_factory=Origin)
    looks: str = LOOKS[0]  # over which views of an image answers are means
    reference: Reference | None = None  # what tells strangers
    sets: SetScores | None = None  # by which sets of classes are chosen

    @property
    def arch(self) -> str:
        """The network's name, or those of several."""
        return self.classifier.arch


def build_from_checkpoint(
    content: dict[str, Any], path: str | Path, head: nn.Module | None = None, describe: bool = False
) -> LoadedModel:
    """Build the classifier that a loaded checkpoint describes.

    Args:
        head: the user's own module, where the checkpoint has a custom head; it is copied.
        describe: do without it: a network with a custom head then has its weights, but cannot be called.

    Raises:
        CheckpointError: its parts do not fit together, or it needs a head.
        CatdogError: it is a network of a library that is not installed.
    """
    origin = kept_origin(content)
    for source in origin.source.split(JOIN):
        require_source(source, f"The network in {str(path)!r}")
    if not describe:
        check_head(content, path, head)
    try:
        for key, (kind, wanted) in FIELD_KINDS.items():
            check_kind(key, content[key], kind, wanted)
        check_arch(content["arch"])
        head_spec = read_head(content)
        if describe and head_spec.is_custom:
            head = _kept_weights(content["state_dict"])
        spec = _read_spec(content)
        class_names = _class_names(content["class_to_idx"])
        with meta_networks():  # no time for random weights that are replaced at once
            classifier = build_classifier(content["arch"], len(class_names), head_spec, custom_head=head)
        if head is not None:
            check_custom_weights(classifier.head, content["state_dict"])
        _assign(classifier, content["state_dict"])
        compute_buffers(content["arch"], classifier.backbone)
        temperature = _temperature(content)
        category_names = kept_category_names(content, class_names)
        task = _task(content)
        thresholds = _thresholds(content, len(class_names)) if task.several else None
        delimiter = content.get("label_delimiter", "")
        check_kind("label_delimiter", delimiter, str, "a text")
        looks = content.get("looks", LOOKS[0])
        check_choice("looks", looks, LOOKS)
        reference = _reference(content, classifier)
        sets = SetScores.from_dict(content["sets"], len(class_names)) if "sets" in content else None
    except HeadMisfitError as error:
        raise CheckpointError(f"{str(path)!r} cannot be loaded so: {error}") from error
    except (SettingsError, TypeError, ValueError, AttributeError, RuntimeError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"The parts of {str(path)!r} do not fit together ({reason}).") from error
    return LoadedModel(
        classifier.eval(),
        class_names,
        spec,
        head_spec,
        temperature,
        category_names,
        task,
        thresholds,
        delimiter,
        origin,
        looks,
        reference,
        sets,
    )


def kept_origin(content: dict[str, Any]) -> Origin:
    """Return where a checkpoint's network comes from, as far as it says: older ones do not."""
    kept = {key.name: content.get(key.name) for key in dataclasses.fields(Origin)}
    return Origin(**{name: value[:MAX_ORIGIN] for name, value in kept.items() if isinstance(value, str)})


def read_head(content: dict[str, Any]) -> HeadSpec:
    """Return what a checkpoint says of its head; what an older catdog did not write has its default.

    Raises:
        SettingsError: it makes no sense.
    """
    return HeadSpec.from_dict({name: content[name] for name in settings_of(HeadSpec) if name in content})


def _read_spec(content: dict[str, Any]) -> AnySpec:
    """Return what the network, or each of several side by side, gets to see."""
    spec = read_spec(content["input_spec"])
    wanted, found = len(split_arch(content["arch"])), len(specs_of(spec))
    if wanted != found:
        raise ValueError(f"there are {found} input specs for {wanted} networks")
    return spec


def _kept_weights(state_dict: dict[str, torch.Tensor]) -> KeptWeights:
    start = "head.custom."
    return KeptWeights(
        {name.removeprefix(start): kept for name, kept in state_dict.items() if name.startswith(start)}
    )


def check_head(content: dict[str, Any], path: str | Path, head: nn.Module | None) -> None:
    """Raise CheckpointError unless `head` is there where, and only where, a checkpoint has a custom head."""
    is_custom = content.get("head") == CUSTOM
    if is_custom and head is None:
        raise CheckpointError(
            f"{str(path)!r} has a custom head, a module whose weights alone it holds: load it from Python "
            f"with head=MODULE, such as catdog_cli.Predictor.load({str(path)!r}, head=MODULE)."
        )
    if not is_custom and head is not None:
        raise CheckpointError(
            f"A head was given for {str(path)!r}, which has one of catdog's own: leave out head=."
        )


def _class_names(class_to_idx: dict[str, int]) -> list[str]:
    if not all(isinstance(name, str) for name in class_to_idx):
        raise ValueError("class_to_idx has a class whose name is not text")
    names = sorted(class_to_idx, key=class_to_idx.__getitem__)
    if [class_to_idx[name] for name in names] != list(range(len(names))) or not names:
        raise ValueError("class_to_idx does not number the classes from 0 on")
    for name in names:
        name.encode("utf-8", "surrogateescape")  # a ValueError: half a character, which no file can hold
    return names


def kept_category_names(content: dict[str, Any], class_names: list[str]) -> dict[str, str]:
    """Return the names to show for classes that a checkpoint has kept; older ones have none.

    Raises:
        SettingsError: they are no names.
    """
    kept = content.get("category_names", {})
    check_kind("category_names", kept, dict, "names by class")
    return match_category_names({name: kept[name] for name in class_names if name in kept}, class_names)


def _temperature(content: dict[str, Any]) -> float:
    temperature = float(content.get("temperature", 1.0))
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature is {temperature}")
    return temperature


def _task(content: dict[str, Any]) -> Task:
    """Return what the outputs mean; checkpoints of one class an image do not say it."""
    name = content.get("task", SINGLE_LABEL.name)
    if not isinstance(name, str) or name not in TASKS:
        raise ValueError(f"task is {quote(name)}, but must be one of: {', '.join(TASKS)}")
    return TASKS[name]


def _thresholds(content: dict[str, Any], num_classes: int) -> list[float]:
    """Return from which probability each label is said: a half where nothing was measured yet."""
    kept = content.get("thresholds", [0.5] * num_classes)
    numbers = isinstance(kept, list) and all(type(value) is float and 0 < value < 1 for value in kept)
    if not numbers or len(kept) != num_classes:
        raise ValueError(f"thresholds are not {num_classes} numbers between 0 and 1")
    return kept


def _reference(content: dict[str, Any], classifier: Classifier) -> Reference | None:
    """Return what tells strangers, None where an older catdog kept nothing."""
    if "unknown" not in content:
        return None
    blocks = [name for name, _ in classifier.blocks]
    return Reference.from_dict(content["unknown"], blocks, classifier.feature_dim)


def _assign(classifier: Classifier, state_dict: dict[str, torch.Tensor]) -> None:
    """Put the tensors in place of the empty ones, refusing other shapes, dtypes and numbers that are none."""
    for name, tensor in classifier.state_dict().items():
        given = state_dict.get(name)
        if given is None:
            continue  # load_state_dict names all that are missing
        if given.shape != tensor.shape:  # before its numbers are looked at: a file can declare any shape
            raise ValueError(f"{name} is {tuple(given.shape)} instead of {tuple(tensor.shape)}")
        if given.dtype != tensor.dtype or given.layout != tensor.layout or given.is_meta:
            raise ValueError(f"{name} is {given.dtype} on {given.device} instead of {tensor.dtype}")
        if given.is_floating_point() and not torch.isfinite(given).all():
            raise ValueError(f"{name} holds numbers that are not finite")
    classifier.load_state_dict(state_dict, strict=True, assign=True)
