"""`catdog data`: get, check, review, split and prepare pictures; each command parses, calls, prints."""

import sys
from typing import Any

import click

from ..runtime.progress import report_progress
from .data_review import review
from .options import PATH, decisions_option, group_by_option, json_option, label_options
from .output.check_table import describe_check
from .output.terminal import echo, echo_json, log

NAMES = "cats-vs-dogs|cats-vs-dogs-filtered|pets|flowers102"
seed_option = click.option("--seed", default=0, show_default=True, help="Seed of all random numbers.")


@click.group()
def data() -> None:
    """Get, check, review, split and prepare pictures.

    \b
    Example:
      catdog data sample pictures
      catdog data check pictures
    """


@data.command()
@click.argument("root", metavar="DIR", type=PATH)
@click.option("--num-per-class", default=100, show_default=True, help="Pictures of each class in train.")
@click.option("--val-per-class", default=25, show_default=True, help="Pictures of each class in val.")
@seed_option
@json_option
def sample(root: str, num_per_class: int, val_per_class: int, seed: int, as_json: bool) -> None:
    """Draw cats and dogs into DIR: no download needed.

    \b
    Example:
      catdog data sample pictures --num-per-class 50
    """
    from ..data.sources.sample import draw_dataset

    with report_progress(None, show=True) as report:
        made = draw_dataset(
            root, num_per_class, val_per_class, seed, lambda done, total: report("drawing", done, total)
        )
    found = {"root": str(made.root), "num_train": made.num_train, "num_val": made.num_val}
    _print(
        found,
        as_json,
        f"{made.root}: {made.num_train} pictures in train, {made.num_val} in val.",
    )


@data.command()
@click.argument("name", metavar=NAMES)
@click.argument("root", metavar="DIR", type=PATH)
@click.option("--breeds", is_flag=True, help="The 37 breeds of pets as classes, instead of cats and dogs.")
@click.option("--yes", is_flag=True, help="Do not ask before it starts.")
@json_option
def download(name: str, root: str, breeds: bool, yes: bool, as_json: bool) -> None:
    """Download public pictures into DIR, as class folders.

    Run it again to continue after a break: what is there is not fetched twice.

    \b
    Example:
      catdog data download cats-vs-dogs-filtered pictures --yes
    """
    from ..data.sources.download import describe_public, download_dataset

    source = describe_public(name)
    size = f"{source.num_bytes / 1e6:,.0f} MB"
    echo(f"{source.title}; about {size} to download; licence: {source.licence}.", err=True)
    if not yes and sys.stdin.isatty():
        click.confirm("Download it?", default=True, abort=True, err=True)
    with report_progress(None, show=True) as report:
        done = download_dataset(name, root, breeds, report=report)
    found = {"root": str(done.root), "num_pictures": done.num_pictures, "already_there": done.already_there}
    note = "were there already" if done.already_there else "downloaded"
    _print(found, as_json, f"{done.root}: {done.num_pictures:,} pictures {note}.")


@data.command()
@click.argument("root", metavar="DATA", type=PATH)
@click.option("--html", "page", type=PATH, metavar="FILE", help="Write a page with thumbnails.")
@click.option("--exclude-list", type=PATH, metavar="FILE", help="Write the paths to leave out.")
@click.option("--checkpoint", type=PATH, metavar="CKPT", help="Look for wrong labels by its network.")
@decisions_option
@label_options
@json_option
def check(
    root: str,
    page: str | None,
    exclude_list: str | None,
    checkpoint: str | None,
    as_json: bool,
    **labels: Any,
) -> None:
    """Decode every picture of DATA and say what is wrong.

    Nothing in DATA is changed. Found are: empty, truncated and damaged files, and those of a kind that is not
    read; flaws that do no harm; wrong suffixes; blank, CMYK, 16-bit, animated, turned, tiny and huge ones;
    copies and look-alikes, labelled differently or in several splits; small and large classes.
    --exclude-list writes what cannot be read, all copies with different labels, the copies in train of what
    is in another split, and repetitions.

    With --checkpoint, pictures that are probably in the wrong class are listed too: those whose class a
    linear classifier, fitted to the network's features of the other pictures, does not believe. They never
    are in the exclude list: look at them first.

    \b
    Examples:
      catdog data check pictures --html check.html --exclude-list leave-out.txt
      catdog data check pictures --checkpoint best.pt --html check.html
    """
    from ..data.api import check_data
    from ..data.quality.check_html import write_exclude_list, write_page

    features = None
    if checkpoint is not None:
        from ..inference.predictor import Predictor
        from ..inference.torch_predictor import require_checkpoint

        features = require_checkpoint(Predictor.load(checkpoint), "--checkpoint").features
    found = check_data(root, features=features, progress=True, **_given(labels))
    _print(found.to_dict(), as_json, *describe_check(found))  # first: a file that fails costs no answer
    if page is not None:
        write_page(found, page)
        echo(f"Page with thumbnails: {page}", err=True)
    if exclude_list is not None:
        write_exclude_list(found, exclude_list)
        echo(f"{len(found.list_excluded())} paths to leave out: {exclude_list}", err=True)


@data.command()
@click.argument("root", metavar="DATA", type=PATH)
@click.argument("manifest", metavar="FILE", type=PATH)
@click.option("--val-fraction", default=0.2, show_default=True, help="Share of pictures in val.")
@click.option("--test-fraction", default=0.0, show_default=True, help="Share of pictures in test.")
@group_by_option
@decisions_option
@seed_option
@label_options
@json_option
def split(root: str, manifest: str, as_json: bool, **given: Any) -> None:
    """Divide DATA into train, val and test: a CSV FILE.

    FILE lists path, class and split, and every command takes it as DATA; nothing is copied. Sides follow
    from the content of the pictures, so that adding some moves hardly any other; copies and look-alikes stay
    together. --group-by keeps more together, such as the pictures of one animal.

    \b
    Example:
      catdog data split pictures split.csv --test-fraction 0.1 --group-by '(.*)_[0-9]+'
    """
    from ..data.api import split_data
    from ..data.scan import describe_scan

    drawn = split_data(root, manifest, progress=True, **_given(given))
    for text in [*describe_scan(drawn), *(f"Warning: {warning}" for warning in drawn.warnings)]:
        echo(text, err=True)
    counts = {name: len(part) for name, part in drawn.splits.items()}
    text = ", ".join(f"{count:,} in {name}" for name, count in counts.items())
    _print({"manifest": manifest, "counts": counts}, as_json, f"{manifest}: {text}.")


@data.command()
@click.argument("root", metavar="DATA", type=PATH)
@click.argument("target", metavar="DIR", type=PATH)
@click.option("--size", default=128, show_default=True, metavar="PX", help="Width and height of a picture.")
@click.option("--normalise", is_flag=True, help="Store float32 from 0 to 1 instead of bytes.")
@click.option("--exclude-list", type=PATH, metavar="FILE", help="Paths to leave out, one a line.")
@decisions_option
@label_options
@json_option
def prepare(
    root: str,
    target: str,
    size: int,
    normalise: bool,
    exclude_list: str | None,
    as_json: bool,
    **labels: Any,
) -> None:
    """Decode and resize DATA once, into arrays in DIR.

    Every command takes DIR as DATA. Run it again after a break, and it continues. DIR gets images.npy,
    labels.npy, files.csv and classes.json. Damaged files are named and left out.

    \b
    Example:
      catdog data prepare pictures prepared --size 128
    """
    from ..data.api import prepare_data

    made = prepare_data(
        root,
        target,
        size=size,
        normalise=normalise,
        exclude=exclude_list,
        log=log,
        progress=True,
        **_given(labels),
    )
    for path, reason in made.skipped:
        echo(f"Skipped {path!r}: {reason}", err=True)
    found = {
        "root": str(made.root),
        "num_pictures": made.num_pictures,
        "skipped": [{"path": path, "error": reason} for path, reason in made.skipped],
        "num_resumed": made.num_resumed,
    }
    text = f"{made.root}: {made.num_pictures:,} pictures of {size} x {size} px, {len(made.skipped)} skipped."
    _print(found, as_json, text)


data.add_command(review)


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that were given."""
    return {name: value for name, value in options.items() if value is not None}


def _print(found: dict[str, Any], as_json: bool, *lines: str) -> None:
    if as_json:
        echo_json(found)
    else:
        for line in lines:
            echo(line)
