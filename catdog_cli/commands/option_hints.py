"""What an option that does not exist was meant to be: another tool's word for one of ours, or a slip."""

from collections.abc import Collection, Sequence

# What timm, torchvision's references, Ultralytics, Keras, fastai, Lightning and others call them; of the
# meanings, those that the command has count.
ALIASES: dict[str, tuple[str, ...]] = {
    "accelerator": ("gpu", "cpu"),
    "act": ("activation",),
    "a": ("arch",),
    "amp": ("precision",),
    "architecture": ("arch",),
    "aug": ("augment",),
    "augmentation": ("augment",),
    "b": ("batch-size",),
    "backbone": ("arch",),
    "batch": ("batch-size",),
    "bf16": ("precision",),
    "bs": ("batch-size",),
    "checkpoint": ("resume",),
    "checkpoint-dir": ("output",),
    "ckpt": ("resume",),
    "class-names": ("category-names",),
    "clip-grad": ("clip-norm",),
    "cuda": ("gpu",),
    "decay": ("weight-decay",),
    "delimiter": ("label-delimiter",),
    "dest": ("output",),
    "device": ("cpu", "gpu"),
    "drop": ("dropout",),
    "drop-rate": ("dropout",),
    "e": ("epochs",),
    "early-stopping": ("patience",),
    "ema-decay": ("ema",),
    "ensemble": ("with",),
    "epoch": ("epochs",),
    "fc-layers": ("hidden-layers",),
    "force": ("overwrite",),
    "format": ("json", "output"),
    "fp16": ("precision",),
    "grad-clip": ("clip-norm",),
    "gradient-clip-val": ("clip-norm",),
    "gpus": ("gpu",),
    "half": ("precision",),
    "image-dim": ("image-size",),
    "img": ("image-size",),
    "img-size": ("image-size",),
    "imgsz": ("image-size",),
    "input-size": ("image-size",),
    "iterations": ("epochs",),
    "j": ("workers",),
    "k": ("top-k",),
    "labels": ("category-names",),
    "log-dir": ("tensorboard", "output"),
    "logdir": ("tensorboard", "output"),
    "label-cols": ("label-columns",),
    "label-delim": ("label-delimiter",),
    "l2": ("weight-decay",),
    "lr": ("learning-rate",),
    "lr-scheduler": ("scheduler",),
    "lr0": ("learning-rate",),
    "max-epochs": ("epochs",),
    "model": ("arch",),
    "model-name": ("arch",),
    "models": ("with", "arch"),
    "n-epochs": ("epochs",),
    "name": ("output",),
    "names": ("category-names",),
    "network": ("arch",),
    "no-cuda": ("cpu",),
    "num-epochs": ("epochs",),
    "num-train-epochs": ("epochs",),
    "num-workers": ("workers",),
    "o": ("output",),
    "opt": ("optimizer",),
    "out": ("output",),
    "out-dir": ("output",),
    "output-dir": ("output",),
    "output-file": ("output",),
    "plots": ("plot",),
    "pretrained": ("weights",),
    "project": ("output",),
    "resize": ("image-size",),
    "resolution": ("image-size",),
    "sched": ("scheduler",),
    "save": ("output",),
    "save-dir": ("output",),
    "size": ("image-size",),
    "smoothing": ("label-smoothing",),
    "test-split": ("split",),
    "top": ("top-k",),
    "topk": ("top-k",),
    "unfreeze-layers": ("unfreeze",),
    "val-split": ("val-fraction",),
    "valid-pct": ("val-fraction",),
    "validation-split": ("val-fraction",),
    "warmup": ("warmup-epochs",),
    "wd": ("weight-decay",),
}
DEVICES = {"cpu": "cpu", "cuda": "gpu", "gpu": "gpu", "mps": "gpu"}  # the values of other tools' --device


def explain_unknown(option: str, known: Collection[str], arguments: Sequence[str]) -> str:
    """Return the sentence about an option that a command does not have.

    Args:
        option: as click names it: of `-lr`, the first letter alone.
        known: the options of the command, such as --batch-size.
        arguments: the command line, where the whole of `-lr` and the value stand.
    """
    written = _find_written(option, arguments)
    name = written.lstrip("-").partition("=")[0].lower().replace("_", "-")
    meant = _mean(name, {each.lstrip("-"): each for each in known if each.startswith("--")})
    if name in ("device", "accelerator"):
        meant = _choose_device(meant, _find_value(written, arguments))
    shown = written.partition("=")[0]
    if not meant:
        return f"No such option {shown!r}: `--help` lists all."
    return f"No such option {shown!r}: did you mean {' or '.join(map(repr, meant))}?"


def _mean(name: str, known: dict[str, str]) -> list[str]:
    """Return the options that a name may stand for: the same words, an alias, or what is spelled alike."""
    if name in known:
        return [known[name]]
    aliases = [known[each] for each in ALIASES.get(name, ()) if each in known]
    if aliases or len(name) < 2:
        return aliases
    longer = [known[each] for each in known if each.startswith(name) and len(name) > 2]
    import difflib

    return longer[:3] or [known[each] for each in difflib.get_close_matches(name, known, 3)]


def _find_written(option: str, arguments: Sequence[str]) -> str:
    """Return the argument in which click met an option: `-lr` where it speaks of `-l`."""
    if option.startswith("--"):
        return option
    found = [each for each in arguments if each.startswith("-") and not each.startswith("--")]
    return next((each for each in found if option[1:] in each.partition("=")[0]), option)


def _find_value(written: str, arguments: Sequence[str]) -> str:
    """Return the value that was given with an option, "" without one."""
    for place, each in enumerate(arguments):
        name, _, value = each.partition("=")
        if name == written.partition("=")[0]:
            return value or next(iter(arguments[place + 1 : place + 2]), "")
    return ""


def _choose_device(meant: list[str], value: str) -> list[str]:
    """Return the one of --cpu and --gpu that a value such as cuda:0 means, both where it does not say."""
    kind = "gpu" if value.isdigit() else DEVICES.get(value.partition(":")[0].lower())
    return [each for each in meant if kind is None or each == f"--{kind}"]
