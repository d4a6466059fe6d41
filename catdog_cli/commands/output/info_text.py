"""The lines that `catdog info` prints; each function takes the facts that --json would print."""

import dataclasses
import datetime
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from ...settings import HeadSpec, Phase
from ...settings_head import CUSTOM
from ...settings_networks import describe_weights
from .table import list_facts, list_rows
from .terminal import counted
from .units import show_size

ARCH_COLUMNS = ("network", "parameters", "features", "input px", "layers", "blocks", "")
NAME_COLUMNS = ("network", "input px", "weights", "licence")
LAYER_COLUMNS = ("N", "block", "layer", "type", "parameters", "trained by N")
CACHE_COLUMNS = ("last used", "size", "rows", "store")


def format_archs(facts: dict[str, Any]) -> Iterator[str]:
    """Yield a table of networks, then the names of the others."""
    yield from list_rows(ARCH_COLUMNS, [_arch_row(row) for row in facts["archs"]])
    if facts["others"]:
        yield ""
        yield f"{len(facts['others'])} other networks of torchvision work too:"
        yield from click.wrap_text(", ".join(facts["others"]), 100, "  ", "  ").splitlines()
    for name, is_installed in facts["large_sources"].items():
        yield ""
        yield (
            f"`catdog info --archs {name}` lists a thousand more, of {name}."
            if is_installed
            else f"`pip install 'catdog[{name}]'` brings a thousand more, of {name}."
        )
    yield ""
    yield "`catdog info NETWORK` lists its layers, which `catdog train --unfreeze N` counts from the end."


def _arch_row(row: dict[str, Any]) -> tuple:
    note = "" if row["imagenet_weights"] else "no ImageNet weights: --weights none"
    counts = row["parameters"], row["feature_dim"], row["input_spec"]["size"], row["num_layers"]
    return (row["arch"], *counts, row["num_blocks"], note)


def format_names(facts: dict[str, Any]) -> Iterator[str]:
    """Yield a table of networks by name: their weights, those weights' licence, and their input."""
    rows = [
        (row["arch"], row["image_size"], row["tag"] or ("yes" if row["imagenet_weights"] else "none"))
        + ((row["licence"],) if row["imagenet_weights"] else ("",))
        for row in facts["archs"]
    ]
    yield from list_rows(NAME_COLUMNS, rows)


def format_arch(facts: dict[str, Any]) -> Iterator[str]:
    """Yield a network's facts and its layers, the last one at the bottom."""
    yield f"{facts['arch']}: {facts['parameters']:,} parameters, {facts['feature_dim']} features"
    yield f"input: {describe_input(facts['input_spec'])}"
    tag = f" {facts['tag']}" if facts["tag"] else ""
    if facts["imagenet_weights"]:
        yield f"weights: {facts['source']}{tag}, licence {facts['licence']}"
    blocks = f"{facts['num_blocks']} blocks" if facts["num_blocks"] > 1 else "one block"
    yield f"{facts['num_layers']} layers in {blocks}; `--unfreeze N` trains row N, all below, and the head:"
    yield ""
    names = ("unfreeze", "block", "name", "type", "parameters", "trained")
    yield from list_rows(LAYER_COLUMNS, [tuple(row[name] for name in names) for row in facts["layers"]])


def format_checkpoint(facts: dict[str, Any]) -> Iterator[str]:
    """Yield what a checkpoint holds, a line for each thing."""
    yield from list_facts(list(_checkpoint_facts(facts)))


def _checkpoint_facts(facts: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for file in facts["files"]:
        yield "file", f"{file['path']}, {show_size(file['bytes'])}"
    yield "format", facts["format_version"]
    source = f" of {facts['source']}" if facts["source"] else ""
    yield "network", f"{facts['arch']}{source}, {facts['parameters']:,} parameters"
    if facts["licence"]:
        tag = f" ({facts['tag']})" if facts["tag"] else ""
        yield "licence", f"{facts['licence']}, of the weights that it began with{tag}"
    yield "head", _head(facts["head"])
    yield "classes", f"{facts['num_classes']}: {', '.join(facts['class_names'])}"
    if facts["category_names"]:
        yield "shown as", ", ".join(f"{key}: {name}" for key, name in facts["category_names"].items())
    yield "input", describe_input(facts["input_spec"])
    if facts["looks"] != "once":
        whole = ", and over the whole of it and the mirror image of that" if facts["looks"] == "whole" else ""
        yield "answers", f"means over each picture and its mirror image{whole}"
    yield "temperature", f"{facts['temperature']:g}"
    if facts["thresholds"] is not None:
        said = ", ".join(f"{name} {value:.3f}" for name, value in facts["thresholds"].items())
        yield "labels", f"several a picture, each said from its threshold on: {said}"
    yield "unknown", _unknown(facts["unknown"])
    if facts["sets"] is not None:
        number, most = facts["sets"]["num_pictures"], int(1e4 * facts["sets"]["most_sure"]) / 1e4
        yield "sets", f"chosen by {number:,} validation pictures; --sure {most:g} at most"
    if facts["best"] is not None:
        yield "best", _best(facts["best"])
    if facts["progress"] is not None:
        yield "reached", _reached(facts["progress"])
    yield from _settings(facts["settings"] or {})
    if facts["versions"] is not None:
        yield "versions", ", ".join(f"{name} {value}" for name, value in facts["versions"].items())
    if facts["data_fingerprint"] is not None:
        data = facts["data_fingerprint"]
        yield "data", f"{data.get('num_files')} pictures, fingerprint {data.get('digest')}"


def _head(head: dict[str, Any]) -> str:
    """Return a head in words: `linear, dropout 0.2`; hidden layers with what stands between them."""
    if head["head"] == CUSTOM:
        return "custom head, a module that Python gives: head=MODULE"
    hidden, norm = ", ".join(map(str, head["hidden_layers"])), head["head_norm"]
    parts = [f"hidden layers {hidden}" if hidden else head["head"]]
    parts += [f"{norm} norm"] if norm != HeadSpec.head_norm else []
    parts += [head["activation"]] if head["activation"] != HeadSpec.activation else []
    dropout = head["dropout"] if isinstance(head["dropout"], list) else [head["dropout"]]
    parts.append(f"dropout {', '.join(f'{share:g}' for share in dropout)}")
    parts += [head["head"]] if hidden and head["head"] != HeadSpec.head else []
    return ", ".join(parts)


def format_cache(facts: dict[str, Any]) -> Iterator[str]:
    """Yield a table of the cache's stores, the one used last first."""
    unpacked = f", {show_size(facts['unpacked_bytes'])} of archives" if facts["unpacked_bytes"] else ""
    stores = counted(len(facts["stores"]), "store")
    yield f"{facts['root']}: {show_size(facts['bytes'])} in {stores}{unpacked}"
    if facts["stores"]:
        yield from list_rows(CACHE_COLUMNS, [_store_row(store) for store in facts["stores"]])
    if facts["bytes"]:
        yield "`catdog info --clear-cache` empties it."


def _store_row(store: dict[str, Any]) -> tuple:
    used = datetime.datetime.fromtimestamp(store["used"]).isoformat(" ", "minutes")
    return used, show_size(store["bytes"]), store["rows"], Path(store["path"]).name


def format_cleared(facts: dict[str, Any]) -> Iterator[str]:
    """Yield how much was freed."""
    left = f"; {show_size(facts['left_bytes'])} could not be deleted" if facts["left_bytes"] else ""
    yield f"{facts['root']}: freed {show_size(facts['freed_bytes'])}{left}"


def describe_input(spec: dict[str, Any] | list[dict[str, Any]]) -> str:
    """Return what a network gets to see, in words; of several side by side, each in its turn."""
    if isinstance(spec, list):
        return "; + ".join(map(describe_input, spec))
    mean, std = (" ".join(f"{value:g}" for value in spec[name]) for name in ("mean", "std"))
    return (
        f"{spec['size']} px, cut from a shorter side of {spec['resize']} px, {spec['interpolation']}; "
        f"mean {mean}, std {std}"
    )


PERCENTAGES = ("val_accuracy", "val_f1", "val_map", "val_subset_accuracy")


def _unknown(facts: dict[str, Any] | None) -> str:
    """Return what a checkpoint tells strangers by."""
    if facts is None:
        return "nothing kept to tell strangers by; `catdog calibrate` adds it"
    of = f" of {facts['drawn_from']:,}" if facts["drawn_from"] != facts["num_pictures"] else ""
    by = f"block {facts['block']}, pooled" if facts["block"] else "what the head gets"
    rate = math.ceil(1e4 * facts["least_rate"]) / 1e4
    return (
        f"told by {facts['num_pictures']:,}{of} pictures ({facts['split']}): {by}, "
        f"{facts['num_features']:,} numbers each; --unknown-rate {rate:g} at least"
    )


def _best(best: dict[str, Any]) -> str:
    parts = [f"{best.get('phase_name')} epoch {best.get('epoch')}"]
    for name, value in best.items():
        if name.startswith("val_") and isinstance(value, float):
            shown = f"{100 * value:.2f} %" if name in PERCENTAGES else f"{value:.4f}"
            parts.append(f"{name.removeprefix('val_')} {shown}")
    return ", ".join(parts)


def _reached(progress: dict[str, Any]) -> str:
    batches = f", {counted(progress['step'], 'batch', 'batches')} more" if progress["step"] else ""
    return (
        f"phase {progress['phase'] + 1} of {progress['num_phases']} ({progress['phase_name']}), "
        f"epoch {progress['epoch']} of {progress['epochs']}{batches}"
    )


def _settings(settings: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the settings: of each phase, those that are not the default."""
    shown = {
        name: value
        for name, value in settings.items()
        if name not in ("phases", "head", "arch") and value != ""
    }
    if "weights" in shown:
        shown["weights"] = describe_weights(shown["weights"])
    if shown:
        yield "settings", ", ".join(f"{name} {value}" for name, value in shown.items())
    defaults = {field.name: field.default for field in dataclasses.fields(Phase)}
    for number, phase in enumerate(settings.get("phases", []), 1):
        shown = {n: v for n, v in phase.items() if n in ("epochs", "learning_rate") or v != defaults.get(n)}
        shown.pop("name", None)
        if shown.get("monitor") in ("accuracy", "map"):  # what the data decides
            del shown["monitor"]
        facts = ", ".join(f"{name} {value}" for name, value in shown.items())
        yield f"phase {number}", f"{phase.get('name')}: {facts}"


def format_recipes(facts: dict[str, Any]) -> Iterator[str]:
    """Yield each recipe's description, options and phases; of a phase, what differs from the defaults."""
    from ...settings import Phase

    plain = Phase("", 0).to_dict()
    for name, recipe in facts.items():
        yield f"{name}: {recipe['description']}"
        options = {key: value for key, value in recipe.items() if key not in ("description", "phases")}
        if options:
            yield "  " + ", ".join(f"{key} {_text(value)}" for key, value in options.items())
        for number, phase in enumerate(recipe["phases"], 1):
            shown = {key: value for key, value in phase.items() if key != "name" and value != plain[key]}
            said = ", ".join(f"{key} {_text(value)}" for key, value in shown.items())
            yield f"  {number}. {phase['name']}: {said}"
        yield ""
    yield "Use one by name, or write your own: catdog train DATA --recipe NAME|FILE.toml"


def _text(value: Any) -> str:
    return (
        ",".join(map(str, value))
        if isinstance(value, list)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )
