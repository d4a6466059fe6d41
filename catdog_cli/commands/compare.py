"""`catdog compare`: two checkpoints on the same pictures, and whether they differ by more than chance."""

from typing import Any

import click

from ..evaluation.eval_split import SPLITS, choose_images, image_path
from . import options
from .evaluate import build_table
from .evaluation import Answers, ask_network, load_predictor, log
from .output.terminal import echo, echo_json, make_console

LEVEL = 0.05  # chances below it count as evidence
LEAST_SHOWN = 0.001  # a smaller chance is told as less than that


@click.command()
@click.argument("first")
@click.argument("second")
@click.option("--data", required=True, metavar="DATA", help="Labelled pictures, as for evaluate.")
@click.option("--split", type=click.Choice(SPLITS), help="Default: test if there is one, else val, else all.")
@options.exclude_option
@options.device_options
@options.precision_option
@options.json_option
def compare(
    first: str,
    second: str,
    data: str,
    split: str | None,
    exclude: str | None,
    device: str | None,
    precision: str | None,
    as_json: bool,
) -> None:
    """Measure two checkpoints, FIRST and SECOND, on the same pictures, and say whether they differ.

    \b
    Examples:
      catdog compare checkpoints/resnet18-1 checkpoints/mobilenet_v2-2 --data pets
      catdog compare checkpoints/resnet18-1 checkpoints/mobilenet_v2-2 --data pets --exclude bad.txt
    """
    predictors = [load_predictor(path, device, precision) for path in (first, second)]
    names = _join_names(predictors, (first, second))
    dataset, split = choose_images(data, [first, second], names, split, log, exclude)
    _refuse_unknown(dataset, predictors, (first, second))
    log(f"Measuring {' and '.join(p.arch for p in predictors)} on {len(dataset):,} pictures ({split})")
    answers = [ask_network(predictor, dataset, split) for predictor in predictors]
    document = {"first": first, "second": second, "data": data, "split": split}
    document |= _measure(predictors, answers, names, dataset, split)
    if as_json:
        echo_json(document)
    else:
        _print_table(document)


def _join_names(predictors: list[Any], paths: tuple[str, str]) -> list[str]:
    """Return the classes that either checkpoint knows, the first one's in front; say which only one knows."""
    known = [set(predictor.class_names) for predictor in predictors]
    for own, other, path in ((known[0], known[1], paths[0]), (known[1], known[0], paths[1])):
        alone = ", ".join(repr(name) for name in sorted(own - other))
        if alone:
            log(f"Warning: only {path!r} knows {alone}.")
    first, second = (predictor.class_names for predictor in predictors)
    return [*first, *(name for name in second if name not in known[0])]


def _refuse_unknown(dataset: Any, predictors: list[Any], paths: tuple[str, str]) -> None:
    """Raise DataError if a picture shows a class that one of the checkpoints could not name."""
    from ..data.dataset import classes_present
    from ..errors import DataError

    for predictor, path in zip(predictors, paths, strict=True):
        unknown = [name for name in classes_present(dataset) if name not in set(predictor.class_names)]
        if unknown:
            raise DataError(
                f"{str(dataset.root)!r} holds {', '.join(map(repr, unknown))}, which {path!r} does not know: "
                "compare on pictures of classes that both know."
            )


def _measure(
    predictors: list[Any], answers: list[Answers], names: list[str], dataset: Any, split: str
) -> dict[str, Any]:
    """Return the JSON document: each checkpoint's numbers, and how they differ on what both can read."""
    from ..evaluation.metrics import compare_metrics

    both = sorted(set(answers[0].places).intersection(answers[1].places))
    labels = dataset.splits[split].labels[both]
    scores = [_spread(*pair, both, names) for pair in zip(predictors, answers, strict=True)]
    found = compare_metrics(*scores, labels)
    unreadable = {**answers[0].unreadable, **answers[1].unreadable}
    document = {
        **found,
        **_describe_each(scores, labels, found),
        "num_unreadable": len(unreadable),
        "unreadable": [{"path": path, "error": error} for path, error in unreadable.items()],
        "disagreements": _list_disagreements(scores, both, labels, names, dataset, split),
    }
    return document | {"conclusion": conclude(document)}


def _spread(predictor: Any, answers: Answers, places: list[int], names: list[str]) -> Any:
    """Return probabilities (N, C) of the pictures at `places`, columns as `names`; 0 for unknown classes."""
    import numpy as np

    from ..evaluation.calibration import calibrate

    row = {place: number for number, place in enumerate(answers.places)}
    logits = answers.logits[[row[place] for place in places]]
    spread = np.zeros((len(places), len(names)))
    spread[:, [names.index(name) for name in predictor.class_names]] = calibrate(
        logits, predictor.temperature
    )
    return spread


def _describe_each(scores: list[Any], labels: Any, found: dict[str, Any]) -> dict[str, Any]:
    from ..evaluation.intervals import wilson_interval
    from ..evaluation.metrics import quick_metrics

    rights = (found["both_right"] + found[f"only_{letter}_right"] for letter in "ab")
    intervals = [wilson_interval(right, len(labels)) for right in rights]
    losses = [quick_metrics(probabilities, labels)["loss"] for probabilities in scores]
    return {
        **{f"accuracy_{letter}_interval": pair for letter, pair in zip("ab", intervals, strict=True)},
        **{f"loss_{letter}": loss for letter, loss in zip("ab", losses, strict=True)},
    }


def _list_disagreements(
    scores: list[Any], places: list[int], labels: Any, names: list[str], dataset: Any, split: str
) -> list[dict[str, str]]:
    """Return each picture that the two name differently: path, true, and what each said."""
    first, second = (probabilities.argmax(1) for probabilities in scores)
    paths = dataset.splits[split].paths
    return [
        {
            "path": image_path(dataset, paths[places[i]]),
            "true": names[labels[i]],
            "first": names[first[i]],
            "second": names[second[i]],
        }
        for i in (first != second).nonzero()[0].tolist()
    ]


def conclude(found: dict[str, Any]) -> str:
    """Return in one sentence what `compare_metrics` found; "first" is a, "second" is b."""
    only_a, only_b, chance = found["only_a_right"], found["only_b_right"], found["mcnemar_p"]
    if not only_a + only_b:
        return "No evidence that they differ: they are right on exactly the same pictures."
    split = (
        f"of the {only_a + only_b:,} pictures that only one of them names right, the first has {only_a:,} "
        f"and the second {only_b:,}"
    )
    if chance >= LEVEL:
        return (
            f"No evidence that they differ: {split}, and two equally good ones would differ so much or more "
            f"with a chance of {_show_chance(chance)}."
        )
    better = "first" if only_a > only_b else "second"
    return (
        f"The {better} is better: {split}, which two equally good ones would show with a chance of "
        f"{'only ' if chance >= LEAST_SHOWN else ''}{_show_chance(chance)}."
    )


def _show_chance(chance: float) -> str:
    return f"{100 * chance:.1f} %" if chance >= LEAST_SHOWN else "less than 0.1 %"


def _show_p(chance: float) -> str:
    return f"{chance:.4f}" if chance >= 0.0001 else "< 0.0001"


def _print_table(document: dict[str, Any]) -> None:
    """Print both checkpoints' numbers, their differences (second minus first), counts and the conclusion."""
    console = make_console()
    header = ("", "accuracy, %", "95 % interval", "loss", "95 % interval")
    rows = [
        (
            name,
            f"{100 * document[f'accuracy_{x}']:.1f}",
            _span(document[f"accuracy_{x}_interval"], 100, ".1f"),
            f"{document[f'loss_{x}']:.4f}",
            "",
        )
        for name, x in (("first", "a"), ("second", "b"))
    ]
    accuracy, loss = document["accuracy_difference"], document["loss_difference"]
    spans = _span(document["accuracy_interval"], 100, "+.1f"), _span(document["loss_interval"], 1, "+.4f")
    rows.append(("second - first", f"{100 * accuracy:+.1f}", spans[0], f"{loss:+.4f}", spans[1]))
    console.print(build_table(header, rows))
    counts = ("both_right", "only_a_right", "only_b_right", "both_wrong")
    names = ("both right", "only first right", "only second right", "both wrong", "McNemar's p")
    cells = *(f"{document[name]:,}" for name in counts), _show_p(document["mcnemar_p"])
    console.print(build_table(("of the pictures", "number"), list(zip(names, cells, strict=True))))
    if document["num_unreadable"]:
        echo(f"{document['num_unreadable']:,} unreadable pictures were left out.")
    echo(f"{document['num_samples']:,} pictures. {document['conclusion']}")


def _span(pair: list[float] | None, scale: float, form: str) -> str:
    return "-" if pair is None else " to ".join(f"{scale * end:{form}}" for end in pair)
