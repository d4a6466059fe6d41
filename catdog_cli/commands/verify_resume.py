"""`catdog verify-resume`: parse, call `training.resume.verify_resume`, say in plain words what came of it."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import SettingsError
from . import options
from .grouped_help import GroupedCommand
from .output.terminal import counted, echo, echo_json

if TYPE_CHECKING:
    from ..settings import TrainSettings
    from ..training.resume.verify_resume import Verdict

SHOWN = 10  # differences


@click.command(
    "verify-resume",
    cls=GroupedCommand,
    first=("--pictures", "--kills", "--arch", "--weights", "--recipe", "--config"),
)
@click.argument("data", type=options.PATH)
@options.trial_options
@click.option("--pictures", type=click.IntRange(min=4), help="To train on.  [default: 4 batches]")
@click.option("--kills", type=click.IntRange(min=1), default=3, help="How often to kill.  [default: 3]")
@options.json_option
def verify_resume(
    data: str,
    config: str | None,
    recipe: str | None,
    pictures: int | None,
    kills: int,
    as_json: bool,
    **given: Any,
) -> int:
    """Train a little, kill it, resume it, and compare with a training that nobody disturbed: bit for bit.

    DATA and the options are those of `catdog train`, or DATA is a run directory, whose settings are taken.
    Two epochs of each phase are trained on a few pictures, saved after every batch, in a temporary folder
    that is deleted. Exit 1 if anything differs.

    \b
    Examples:
      catdog verify-resume pets
      catdog verify-resume checkpoints/resnet18-1
      catdog verify-resume pets --recipe two-phase --kills 5
    """
    settings = _settings(data, config, recipe, given)
    from ..training.resume.verify_resume import verify_resume as verify
    from ..training.setup import check_settings

    check_settings(settings)
    with tempfile.TemporaryDirectory(prefix="catdog-verify-", ignore_cleanup_errors=True) as folder:
        verdict = verify(settings, Path(folder), kills, pictures or 0, lambda text: echo(text, err=True))
    if as_json:
        echo_json(_document(verdict))
    else:
        for line in _sentences(verdict):
            echo(line)
    return int(bool(verdict.differences))


def _settings(data: str, config: str | None, recipe: str | None, given: dict[str, Any]) -> "TrainSettings":
    """Return what a run directory says, or what the options say."""
    from ..runs.directory import RunDirectory

    directory = RunDirectory(Path(data))
    if not directory.settings.is_file():
        return options.trial_settings(data, config, recipe, given)
    asked = [
        name for name, value in {**given, "recipe": recipe, "config": config}.items() if value is not None
    ]
    if asked:
        option = "--" + asked[0].replace("_", "-")
        raise SettingsError(
            f"{option} was given, but {data!r} is a run with settings of its own: leave it out."
        )
    return directory.read_settings()


def _document(verdict: "Verdict") -> dict[str, Any]:
    return {
        "identical": not verdict.differences,
        "pictures": verdict.num_pictures,
        "epochs": verdict.epochs,
        "kills": verdict.kills,
        "files_compared": verdict.files,
        "differences": verdict.differences,
        "reproducible": verdict.reproducible,
    }


def _sentences(verdict: "Verdict") -> list[str]:
    """Return the outcome for people."""
    counts = verdict.num_pictures
    lines = [
        f"Trained {counted(verdict.epochs, 'epoch')} on {counts['train']} pictures, measured on "
        f"{counts['val']}, twice: undisturbed, and killed {counted(len(verdict.kills), 'time')}.",
        f"Compared {verdict.files} files: the weights, the optimizer, the history without its times, the "
        f"best checkpoints, the split and the reports.",
    ]
    if not verdict.differences:
        return [*lines, "Identical, bit for bit: with these settings a run survives being killed."]
    more = len(verdict.differences) - SHOWN
    lines += [f"They differ at {len(verdict.differences)} places:"]
    lines += [f"  {text}" for text in verdict.differences[:SHOWN]]
    lines += [f"  and {more} more"] if more > 0 else []
    if not verdict.reproducible:
        return [
            *lines,
            "Two undisturbed trainings differ here, too: this device does not repeat its computations (on "
            "a GPU that is usual: add --deterministic), so that a resumed run is as good as another one, but "
            "not the same.",
        ]
    return [*lines, "Two undisturbed trainings are identical, so the resume is to blame: please report this."]
