"""Measures catdog in one run: scripts/bench [ROW...] prints a Markdown table with ratios, and the machine.

Every round measures each row once, so that a slow minute of the machine falls on all of them; shown are
medians over the rounds. Commands run on their own, with feature caches in a temporary folder.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

import machine
import prepare
from groups import BY_DEFAULT, CHOICES, GROUPS
from measure import ROOT, CommandError
from table import Found, Row, gather, markdown


def parse() -> argparse.Namespace:
    """Read the command line.

    Raises:
        SystemExit: an unknown row, a number out of range, or missing photographs.
    """
    parser = argparse.ArgumentParser(
        "scripts/bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("rows", nargs="*", metavar="ROW", help=f"of {' '.join(CHOICES)}; default: {' '.join(BY_DEFAULT)}")
    add("--repeat", type=_count, default=3, metavar="N", help="rounds; 3")
    add("--shared", type=Path, default=ROOT.parent / "shared", metavar="DIR", help="photographs and weights")
    add(
        "--pictures",
        type=_count,
        metavar="N",
        help="use only N pictures to train with (8 or more), N/4 to validate",
    )
    add("--floor-pictures", type=_count, default=512, metavar="N", help="decoded for the floor; 512")
    add("--tutorial-pictures", type=_count, default=320, metavar="N", help="of a tutorial's epoch; 320")
    add("--tutorial-val", type=_count, default=128, metavar="N", help="validated after it; 128")
    add("--tune-seconds", type=_count, default=60, metavar="N", help="of a search; 60")
    add("--full", action="store_true", help="the tutorial's three epochs of all pictures, not scaled up")
    add("--predict-pictures", type=_count, default=1000, metavar="N", help="to predict; 1000")
    add(
        "--growth-pictures",
        type=_counts,
        default=[1000, 10_000, 100_000],
        metavar="N,N",
        help="1000,10000,100000",
    )
    add("--gpu", action="store_true", help="the row gpu, alone or beside those named")
    add("--json", type=Path, metavar="FILE", help="write the numbers of all rounds, too")
    options = parser.parse_args()
    for name in options.rows:
        if name not in CHOICES:
            parser.error(f"{name!r} is no row: choose from {' '.join(CHOICES)}.")
    if options.json and (options.json.is_dir() or not os.access(options.json.resolve().parent, os.W_OK)):
        parser.error(
            f"--json {str(options.json)!r} cannot be written: name a file in a folder that is there."
        )
    if options.pictures is not None and options.pictures < 8:
        parser.error(
            f"--pictures {options.pictures}: give at least 8, so that both classes are in both splits."
        )
    asked = [*options.rows, *["gpu"] * (options.gpu and "gpu" not in options.rows)]
    options.rows = [name for choice in asked or BY_DEFAULT for name in CHOICES[choice]]
    return options


def _count(text: str) -> int:
    """Return a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1.")
    return int(text)


def _counts(text: str) -> list[int]:
    return [_count(part) for part in text.split(",")]


def set_out(options: argparse.Namespace, work: Path) -> None:
    """Add to `options` what the rows work on: folders, weights, numbers of pictures, a checkpoint."""
    options.work = work
    options.data, options.weights = prepare.check_shared(options.shared.resolve())
    if options.pictures:
        some = (options.pictures, max(2, options.pictures // 4))
        options.data = prepare.take_some(options.data, work / "pictures", *some)
    splits = [prepare.list_pictures(options.data, split) for split in ("train", "val")]
    options.num_train, options.num_val = map(len, splits)
    options.num_pictures = options.num_train + options.num_val
    for name, most in (("tutorial_pictures", 0), ("tutorial_val", 1), ("predict_pictures", 0)):
        setattr(options, name, min(getattr(options, name), len(splits[most])))
    for image in (*splits[0], *splits[1]):  # what is cold is catdog's cache, not the disk
        image.read_bytes()
    if {"predict", "start"}.intersection(options.rows):
        log("a checkpoint to predict with ...")
        try:
            options.checkpoint = prepare.make_checkpoint(options)
        except CommandError as error:
            raise SystemExit(str(error)) from error


def run_rounds(options: argparse.Namespace) -> tuple[dict[str, list[dict]], dict[str, str]]:
    """Return each group's numbers a round, and a note for each group that was left out."""
    wanted = {name for row in options.rows for name in (row, *GROUPS[row].needs)}
    rounds: dict[str, list[dict]] = {name: [] for name in GROUPS if name in wanted}
    notes: dict[str, str] = {}
    for number in range(options.repeat):
        for name in [name for name in rounds if name not in notes]:
            try:
                found = GROUPS[name].measure(options)
            except CommandError as error:
                notes[name] = f"failed. {error}"
                continue
            if found is None:
                notes[name] = f"skipped: {GROUPS[name].missing}"
                continue
            rounds[name].append(found)
            shown = ", ".join(f"{key} {value:.4g}" for key, value in found.items())
            log(f"round {number + 1} of {options.repeat}, {name}: {shown}")
    return {name: values for name, values in rounds.items() if name not in notes}, notes


def make_rows(options: argparse.Namespace, found: Found, notes: dict[str, str]) -> list[Row]:
    """Return the rows of all groups that were measured, and note those whose needs were not."""
    rows: list[Row] = []
    for name in found:
        lacking = [need for need in GROUPS[name].needs if need not in found]
        if lacking:
            notes[name] = f"left out: it is compared with {lacking[0]}, which failed."
        else:
            rows += GROUPS[name].rows(options, found)
    return rows


def log(text: str) -> None:
    """Print progress."""
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    """Measure, print, and return 1 if a command failed."""
    options, about = parse(), machine.describe()
    with tempfile.TemporaryDirectory(prefix="catdog-bench-") as work:
        set_out(options, Path(work))
        rounds, notes = run_rounds(options)
    rows = make_rows(options, {name: gather(values) for name, values in rounds.items()}, notes)
    print(markdown(rows), "\n")
    print(f"Medians of {options.repeat}. {options.num_train} + {options.num_val} photographs.", "\n")
    print("\n".join(f"- {name}: {text}" for name, text in {**about, **notes}.items()))
    if options.json:
        document = {
            "machine": about,
            "notes": notes,
            "rows": [row.to_dict() for row in rows],
            "rounds": rounds,
        }
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    return int(any(note.startswith(("failed", "left")) for note in notes.values()))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
