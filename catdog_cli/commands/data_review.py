"""`catdog data review`: parse, call `review.api`, say where the page is, print what was decided."""

import dataclasses
import os
import shlex
import sys
import threading
import webbrowser
from typing import Any

import click

from .options import PATH, device_options, exclude_option, json_option, label_options, precision_option
from .output.bars import TaskBar
from .output.terminal import counted, echo, echo_json, log


@click.command()
@click.argument("root", metavar="DATA", type=PATH)
@click.argument("checkpoint", metavar="CKPT", type=PATH)
@click.option(
    "--output",
    type=PATH,
    metavar="FILE",
    help="Where decisions go.  [default: reviewed.csv in the run directory, or here]",
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="Port of the page.  [default: a free one]"
)
@click.option("--no-browser", is_flag=True, help="Do not open the page.")
@exclude_option
@label_options
@device_options
@precision_option
@json_option
def review(
    root: str, checkpoint: str, no_browser: bool, as_json: bool, device: str | None, **given: Any
) -> None:
    """Put labels right: see what is doubtful in DATA on a page, and decide by one key a picture.

    The page is on this machine alone, at an address that nobody guesses. It shows pictures whose label a
    classifier that has not seen them doubts; look-alikes in several splits, or labelled differently; damaged
    ones; the surest mistakes of CKPT (a file or a run directory); and any cell of the confusion matrix.

    Nothing in DATA is changed. Decisions go into a CSV FILE, each as soon as it is taken, which train,
    evaluate, compare and the other data commands take as --decisions FILE. Ctrl-C ends the review; run it
    again to continue.

    \b
    Examples:
      catdog data review pictures checkpoints/mobilenet_v2-1
      catdog train pictures --decisions checkpoints/mobilenet_v2-1/reviewed.csv
      catdog data review pictures best.pt --output reviewed.csv --no-browser
    """
    from ..review.api import review_data
    from ..runs.argument_order import refuse_swapped

    refuse_swapped([root], [checkpoint], "catdog data review {data} {checkpoint}")
    options = {name: value for name, value in given.items() if value is not None}
    with TaskBar() as bar:

        def ready(url: str) -> None:
            bar.stop()
            _announce(url, browser=not no_browser and _has_screen())

        found = review_data(
            root,
            checkpoint,
            device=device or "auto",
            on_ready=ready,
            log=bar.log,
            on_progress=bar.show,
            progress=False,
            **options,
        )
    if as_json:
        echo_json({**dataclasses.asdict(found), "num_decisions": found.num_decisions})
        return
    echo(
        f"{found.output}: {counted(found.num_decisions, 'picture')} looked at: {found.num_right:,} right, "
        f"{counted(found.num_changed, 'label')} changed, {found.num_excluded:,} left out."
    )
    if found.num_changed or found.num_excluded:
        echo(f"Train with it: {shlex.join(['catdog', 'train', root, '--decisions', found.output])}", err=True)


def _announce(url: str, browser: bool) -> None:
    log(f"Review: {url}")
    log("Ctrl-C ends it; every decision is kept as soon as it is taken.")
    if browser:
        threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()


def _has_screen() -> bool:
    """Say whether somebody sits at a terminal that can open a browser beside it."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    own_screen = sys.platform in ("darwin", "win32")
    return own_screen or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
